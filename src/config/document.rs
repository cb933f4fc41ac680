//! YAML text to a small tree in which every value knows its place.
//!
//! One document of mappings, lists and scalars; aliases are resolved, tags and merge keys refused. Bounded in text,
//! nesting, nodes after aliases and bytes after expansion, so that no text can exhaust memory or stack.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::expand::{Env, expand};
use super::problem::{Fault, Position, Problem, quote};

/// Far more than a configuration needs; a larger file is the wrong file.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The settings nest six deep.
const NESTING_MAX: usize = 32;
/// Nodes when every alias is written out. Chains of aliases stay below a depth of its square root.
const NODE_COUNT_MAX: usize = 100_000;
/// Scalars that took in environment variables, all together.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
    /// Nodes in it, itself included and aliases written out.
    node_count: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    Seq(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>),
    /// Reported already.
    Broken,
}

/// The key of a mapping's entry.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) name: String,
}

/// A scalar after expansion.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// The environment had a part in it, so quotes do not tell what was meant.
    pub(super) expanded: bool,
    style: ScalarStyle,
}

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

impl Kind {
    /// The type of an unquoted scalar (YAML 1.2.2, section 10.3.2, the core schema). Whole numbers beyond 64 bits are
    /// floats.
    pub(super) fn of_plain(text: &str) -> Kind {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
            "true" | "True" | "TRUE" => return Kind::Bool(true),
            "false" | "False" | "FALSE" => return Kind::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
            _ => {}
        }
        let unsigned = text.trim_start_matches(['+', '-']);
        if matches!(unsigned, ".inf" | ".Inf" | ".INF") && text.len() - unsigned.len() <= 1 {
            return Kind::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        let based = |prefix, radix| {
            let digits = text.strip_prefix(prefix).filter(|digits| !digits.starts_with(['+', '-']))?;
            i64::from_str_radix(digits, radix).ok()
        };
        // Rust also takes `inf` and `nan`, which are plain text in YAML.
        let digits_first = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let int = text.parse().ok().or_else(|| based("0x", 16)).or_else(|| based("0o", 8)).or_else(|| grouped(text));
        let float = || text.parse().ok().filter(|_| digits_first).map(Kind::Float);
        int.map(Kind::Int).or_else(float).unwrap_or(Kind::Text)
    }
}

/// The columns that a character takes in a scalar of this style.
fn columns_written(c: char, style: ScalarStyle) -> usize {
    match (style, c) {
        (ScalarStyle::SingleQuoted, '\'') | (ScalarStyle::DoubleQuoted, '"' | '\\') => 2,
        _ => 1,
    }
}

/// Digits in groups, such as `100_000`: the Collector's YAML has them.
fn grouped(text: &str) -> Option<i64> {
    let is_grouped = text.contains('_')
        && text.split('_').all(|group| group.bytes().all(|b| b.is_ascii_digit()))
        && !text.starts_with('_')
        && !text.ends_with('_');
    is_grouped.then(|| text.replace('_', "").parse().ok())?
}

impl Node {
    /// The value under these keys, each one a section deeper.
    pub(super) fn find(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| match &node.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.name == *key).map(|(_, node)| node.as_ref()),
            _ => None,
        })
    }

    /// One value, and not nothing.
    pub(super) fn is_scalar(&self) -> bool {
        matches!(&self.value, Value::Scalar(_)) && !self.is_null()
    }

    /// Where the byte at `offset` of a scalar's text stands; the whole scalar if its text is not written as it is.
    pub(super) fn at_byte(&self, offset: usize) -> Position {
        let Value::Scalar(Scalar { text, style, .. }) = &self.value else { return self.at };
        let quote = match style {
            ScalarStyle::Plain => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            _ => return self.at,
        };
        let columns = |text: &str| text.chars().map(|c| columns_written(c, *style)).sum::<usize>();
        // Other escapes, several lines and references to the environment move what follows.
        match text.get(..offset) {
            Some(before) if columns(text) + 2 * quote == self.at.length => {
                Position { column: self.at.column + quote + columns(before), length: 1, ..self.at }
            }
            _ => self.at,
        }
    }

    /// Returns true if this is a scalar whose text ends with `suffix`.
    pub(super) fn ends_with(&self, suffix: char) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.text.trim_end().ends_with(suffix))
    }

    /// The items of a list; none if it is something else.
    pub(super) fn items(&self) -> impl Iterator<Item = &Node> {
        let items: &[Rc<Node>] = if let Value::Seq(items) = &self.value { items } else { &[] };
        items.iter().map(Rc::as_ref)
    }

    /// Nothing was written.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { kind: Kind::Null, .. }))
    }
}

/// The tree of `text`; `None` if there is nothing in it. Duplicate keys and bad references go to `problems`.
///
/// # Errors
/// The problem that ended the reading: bad syntax, or a limit.
pub(super) fn parse(text: &str, env: Env<'_>, problems: &mut Vec<Problem>) -> Result<Option<Rc<Node>>, Problem> {
    let start = Position { line: 1, column: 1, length: 1 };
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::new(format!("longer than {TEXT_BYTES_MAX} bytes")).error(start));
    }
    let options = granit_parser::options! {
        flow_nesting_limit: NESTING_MAX,
        block_nesting_limit: NESTING_MAX,
    };
    let mut builder = Builder {
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

/// A collection whose end has not come.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Rc<Node>>),
    Map { entries: Vec<(Key, Rc<Node>)>, key: Option<Key> },
}

struct Builder<'a> {
    env: Env<'a>,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    started: bool,
    node_count: usize,
    expanded_bytes: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), at)?;
                if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
                    *key = Some(Key { at, name: text.into_owned() });
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
                Err(Fault::new("a second document").help("a configuration is one document: remove `---`").error(at))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, content: Content, anchor: usize, tagged: bool, at: Position) -> Result<(), Problem> {
        refuse_tag(tagged, at)?;
        self.refuse_as_key(at)?;
        self.open.push(Open { at, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { at, anchor, content }) = self.open.pop() else { return Ok(()) };
        match content {
            Content::Seq(items) => {
                let node_count = items.iter().map(|item| item.node_count).sum::<usize>() + 1;
                self.place(Value::Seq(items), node_count, anchor, at)
            }
            Content::Map { entries, .. } => {
                let node_count = entries.iter().map(|(_, value)| value.node_count).sum::<usize>() + 1;
                self.report_duplicates(&entries);
                self.place(Value::Map(entries), node_count, anchor, at)
            }
        }
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        self.refuse_as_key(at)?;
        let target = self.anchors.get(&anchor).cloned();
        let target = target.ok_or_else(|| Fault::new("an alias inside of what it stands for").error(at))?;
        self.count(target.node_count, at)?;
        self.attach(target);
        Ok(())
    }

    fn place(&mut self, value: Value, node_count: usize, anchor: usize, at: Position) -> Result<(), Problem> {
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

    fn count(&mut self, node_count: usize, at: Position) -> Result<(), Problem> {
        self.node_count += node_count;
        if self.node_count <= NODE_COUNT_MAX {
            return Ok(());
        }
        Err(Fault::new(format!("more than {NODE_COUNT_MAX} values, with every alias written out")).error(at))
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, at: Position) -> Value {
        let expanded = text.contains('$');
        let text = if expanded { expand(&text, self.env, EXPANDED_BYTES_MAX - self.expanded_bytes) } else { Ok(text) };
        match text {
            Ok(text) => {
                self.expanded_bytes += if expanded { text.len() } else { 0 };
                let kind = if style == ScalarStyle::Plain { Kind::of_plain(&text) } else { Kind::Text };
                Value::Scalar(Scalar { text, kind, expanded, style })
            }
            Err(fault) => {
                self.problems.push(fault.error(at));
                Value::Broken
            }
        }
    }

    fn refuse_as_key(&self, at: Position) -> Result<(), Problem> {
        match self.open.last() {
            Some(Open { content: Content::Map { key: None, .. }, .. }) => {
                Err(Fault::new("a key must be a word").help("quote values that start with `{`, `[` or `*`").error(at))
            }
            _ => Ok(()),
        }
    }

    fn report_duplicates(&mut self, entries: &[(Key, Rc<Node>)]) {
        let mut lines = HashMap::new();
        for (key, _) in entries {
            if let Some(line) = lines.insert(key.name.as_str(), key.at.line) {
                let fault = Fault::new(format!("the key {} is given twice", quote(&key.name)));
                self.problems.push(fault.help(format!("it stands on line {line} as well: keep one")).error(key.at));
            }
        }
    }
}

fn refuse_tag(tagged: bool, at: Position) -> Result<(), Problem> {
    if !tagged {
        return Ok(());
    }
    Err(Fault::new("tags have no meaning here").help("leave the tag out; quotes make a value a string").error(at))
}

fn position(span: &Span) -> Position {
    let (start, end) = (span.start, span.end);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Position { line: start.line(), column: start.col() + 1, length: length.max(1) }
}

fn syntax(error: &ScanError, text: &str) -> Problem {
    let at = Position { line: error.marker().line(), column: error.marker().col() + 1, length: 1 };
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let fault = Fault::new(format!("not valid YAML: {}", error.info()));
    let fault = if line.contains('\t') {
        fault.help("indent with spaces, not with tabs")
    } else if line.contains("${") {
        fault.help("inside `{}` and `[]`, quote values that contain `${...}`")
    } else {
        fault
    };
    fault.error(at)
}
