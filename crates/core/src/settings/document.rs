//! Parses YAML text into the tree of [`crate::settings::node`].
//!
//! One document of mappings, lists and scalars is accepted. Aliases are resolved; tags and merge keys are refused. The
//! text, its nesting, the nodes with aliases written out, and the bytes after expansion are bounded, so that no text can
//! exhaust memory or stack.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::expand::{Env, Expanded, expand};
use super::quotes::{LongQuote, long_quote};
use crate::settings::diagnostic::{Diagnostic, Position, SettingError, quote};
use crate::settings::node::{Node, NodeKey, NodeValue, Quotes, ScalarNode, ScalarType};

/// Bytes of text. A configuration needs far fewer; a larger file is the wrong file.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Levels of nesting. The settings need six.
const NESTING_MAX: usize = 32;
/// The number of nodes with every alias written out. Chains of aliases stay below a depth of its square root.
const NODE_COUNT_MAX: usize = 100_000;
/// Bytes of all scalars with references to the environment, after expansion.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// Returns the tree of `text`; `None` if the text is empty. Without `env`, references to the environment stay as they are
/// written. Duplicate keys and bad references go to `problems`.
///
/// # Errors
/// The problem that ended the reading: bad syntax, or a limit.
pub fn parse(text: &str, env: Option<Env<'_>>, problems: &mut Vec<Diagnostic>) -> Result<Option<Rc<Node>>, Diagnostic> {
    let start = Position { line: 1, column: 1, length: 1 };
    if text.len() > TEXT_BYTES_MAX {
        let fault = SettingError::new(format!("longer than {TEXT_BYTES_MAX} bytes"));
        return Err(fault.help("split it: tests can stand in several files of their own").error(start));
    }
    let options = granit_parser::options! {
        flow_nesting_limit: NESTING_MAX,
        block_nesting_limit: NESTING_MAX,
    };
    let mut builder = NodeBuilder {
        text,
        env,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        started: false,
        node_count: 0,
        expanded_bytes: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(&error, text))?;
        builder.take(event, position(&span))?;
    }
    Ok(builder.root)
}

/// A list or mapping whose end is not yet read.
struct OpenNode {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Rc<Node>>),
    Map { entries: Vec<(NodeKey, Rc<Node>)>, key: Option<NodeKey> },
}

struct NodeBuilder<'a> {
    text: &'a str,
    env: Option<Env<'a>>,
    problems: &'a mut Vec<Diagnostic>,
    open: Vec<OpenNode>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    started: bool,
    node_count: usize,
    expanded_bytes: usize,
}

impl NodeBuilder<'_> {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), at)?;
                if let Some(OpenNode { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
                    *key = Some(NodeKey { at, name: text.into_owned() });
                    return Ok(());
                }
                let value = self.scalar(text.into_owned(), style, at);
                self.place(value, 1, anchor, at)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(Content::Seq(Vec::new()), anchor, tag.is_some(), at),
            Event::MappingStart(_, anchor, tag) => {
                self.begin(Content::Map { entries: Vec::new(), key: None }, anchor, tag.is_some(), at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::DocumentStart(..) if std::mem::replace(&mut self.started, true) => {
                Err(SettingError::new("a second document")
                    .help("a configuration is one document: remove `---`")
                    .error(at))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, content: Content, anchor: usize, tagged: bool, at: Position) -> Result<(), Diagnostic> {
        refuse_tag(tagged, at)?;
        self.refuse_as_key(at)?;
        self.open.push(OpenNode { at, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Diagnostic> {
        let Some(OpenNode { at, anchor, content }) = self.open.pop() else { return Ok(()) };
        match content {
            Content::Seq(items) => {
                let node_count = items.iter().map(|item| item.node_count).sum::<usize>() + 1;
                self.place(NodeValue::Seq(items), node_count, anchor, at)
            }
            Content::Map { entries, .. } => {
                let node_count = entries.iter().map(|(_, value)| value.node_count).sum::<usize>() + 1;
                self.report_duplicates(&entries);
                self.place(NodeValue::Map(entries), node_count, anchor, at)
            }
        }
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Diagnostic> {
        self.refuse_as_key(at)?;
        let target = self.anchors.get(&anchor).cloned();
        let target = target.ok_or_else(|| SettingError::new("an alias inside of what it stands for").error(at))?;
        self.count(target.node_count, at)?;
        self.attach(target);
        Ok(())
    }

    fn place(&mut self, value: NodeValue, node_count: usize, anchor: usize, at: Position) -> Result<(), Diagnostic> {
        self.count(1, at)?;
        let node = Rc::new(Node { at, value, node_count });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node);
        Ok(())
    }

    fn attach(&mut self, node: Rc<Node>) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::Seq(items)) => items.push(node),
            Some(Content::Map { entries, key }) => entries.extend(key.take().map(|key| (key, node))),
        }
    }

    fn count(&mut self, node_count: usize, at: Position) -> Result<(), Diagnostic> {
        self.node_count += node_count;
        if self.node_count <= NODE_COUNT_MAX {
            return Ok(());
        }
        Err(SettingError::new(format!("more than {NODE_COUNT_MAX} values, with every alias written out")).error(at))
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, at: Position) -> NodeValue {
        let expanded = text.contains('$');
        let written = (expanded && self.env.is_some() && text.contains("${")).then(|| text.clone());
        let text = match self.env.filter(|_| expanded) {
            Some(env) => expand(&text, env, EXPANDED_BYTES_MAX - self.expanded_bytes),
            None => Ok(Expanded { text, is_from_environment: false }),
        };
        match text {
            Ok(Expanded { text, is_from_environment }) => {
                self.expanded_bytes += if expanded && self.env.is_some() { text.len() } else { 0 };
                let kind = if style == ScalarStyle::Plain { ScalarType::of_plain(&text) } else { ScalarType::Text };
                let is_literal = style == ScalarStyle::Literal && !expanded;
                let block = if is_literal { block_start(self.text, &text, at) } else { None };
                NodeValue::Scalar(ScalarNode {
                    text,
                    kind,
                    expanded,
                    is_from_environment,
                    written,
                    quotes: quotes(style),
                    block,
                })
            }
            Err(fault) => {
                self.problems.push(fault.error(at));
                NodeValue::Broken
            }
        }
    }

    fn refuse_as_key(&self, at: Position) -> Result<(), Diagnostic> {
        match self.open.last() {
            Some(OpenNode { content: Content::Map { key: None, .. }, .. }) => {
                Err(SettingError::new("a key must be a word")
                    .help("quote values that start with `{`, `[` or `*`")
                    .error(at))
            }
            _ => Ok(()),
        }
    }

    fn report_duplicates(&mut self, entries: &[(NodeKey, Rc<Node>)]) {
        let mut lines = HashMap::new();
        for (key, _) in entries {
            if let Some(line) = lines.insert(key.name.as_str(), key.at.line) {
                let fault = SettingError::new(format!("the key {} is given twice", quote(&key.name)));
                self.problems.push(fault.help(format!("it stands on line {line} as well: keep one")).error(key.at));
            }
        }
    }
}

/// Returns the place of the first character of `text`, the block scalar (`|`) whose key is at `at` in `source`.
fn block_start(source: &str, text: &str, at: Position) -> Option<Position> {
    let before = text.lines().take_while(|line| line.is_empty()).count();
    let first = text.lines().nth(before)?;
    let mut lines = source.lines().enumerate().skip(at.line.saturating_sub(1));
    // Only empty lines and comments may stand between the key and the text.
    let (index, line) = lines.find(|(_, line)| line.trim_start() == first.trim_start())?;
    let indent = line.chars().count() - first.chars().count();
    Some(Position { line: (index + 1).checked_sub(before)?, column: indent + 1, length: 1 })
}

fn quotes(style: ScalarStyle) -> Quotes {
    match style {
        ScalarStyle::Plain => Quotes::None,
        ScalarStyle::SingleQuoted => Quotes::Single,
        ScalarStyle::DoubleQuoted => Quotes::Double,
        _ => Quotes::Block,
    }
}

fn refuse_tag(tagged: bool, at: Position) -> Result<(), Diagnostic> {
    if !tagged {
        return Ok(());
    }
    Err(SettingError::new("tags have no meaning here")
        .help("leave the tag out; quotes make a value a string")
        .error(at))
}

fn position(span: &Span) -> Position {
    let (start, end) = (span.start, span.end);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Position { line: start.line(), column: start.col() + 1, length: length.max(1) }
}

/// Returns the error of a quoted text that runs over several lines, at its beginning. The parser would report it at its end.
fn missing_quote(quote: &LongQuote) -> Diagnostic {
    let LongQuote { line, column, quote, end } = quote;
    let end = end.map_or_else(|| "has no end".to_owned(), |end| format!("ends only on line {end}"));
    let fault = SettingError::new(format!("not valid YAML: the quoted text that begins here {end}"));
    fault.help(format!("close it with `{quote}` on this line")).error(Position {
        line: *line,
        column: *column,
        length: 1,
    })
}

fn syntax(error: &ScanError, text: &str) -> Diagnostic {
    if let Some(quote) = long_quote(text, error.marker().line()) {
        return missing_quote(&quote);
    }
    let at = Position { line: error.marker().line(), column: error.marker().col() + 1, length: 1 };
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let fault = SettingError::new(format!("not valid YAML: {}", error.info()));
    let fault = if line.contains('\t') {
        fault.help("indent with spaces, not with tabs")
    } else if line.contains("${") {
        fault.help("inside `{}` and `[]`, quote values that contain `${...}`")
    } else {
        fault
    };
    fault.error(at)
}
