//! Writes a draft as YAML in the style of the repository's `config.yaml`: short sections on one line, comments that say
//! where each value comes from.

use super::{Draft, Item, Value};
use crate::import::scalar::quoted;
use crate::settings::diagnostic::printable;

/// Characters of a line that has a whole list or section, without its comment.
const FLOW_CHARS_MAX: usize = 110;
const INDENT: usize = 2;

/// The text of a draft, and the units that its lines belong to.
pub(in crate::import) struct Written {
    pub(in crate::import) text: String,
    /// The innermost unit of each line.
    units: Vec<Option<usize>>,
    /// The unit around each unit.
    parents: Vec<Option<usize>>,
}

impl Written {
    /// Returns the innermost unit that has the line, counted from 1.
    pub(in crate::import) fn unit_at(&self, line: usize) -> Option<usize> {
        self.units.get(line.checked_sub(1)?).copied().flatten()
    }

    pub(in crate::import) fn parent(&self, unit: usize) -> Option<usize> {
        self.parents.get(unit).copied().flatten()
    }

    /// Returns the unit around all others that have this one.
    pub(in crate::import) fn outermost(&self, unit: usize) -> usize {
        std::iter::successors(Some(unit), |unit| self.parent(*unit)).last().unwrap_or(unit)
    }

    /// Returns the lines of a unit.
    pub(in crate::import) fn lines(&self, unit: usize) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().zip(&self.units);
        lines.filter(move |(_, of)| **of == Some(unit)).map(|(line, _)| line)
    }
}

impl Draft {
    /// Writes the draft.
    pub(in crate::import) fn written(&self) -> Written {
        let mut writer = Writer::default();
        for (index, (name, section)) in self.sections.iter().enumerate() {
            if index > 0 {
                writer.line(0, "");
            }
            writer.item(&Head::key(name, 0), section);
        }
        Written { text: writer.text, units: writer.units, parents: writer.parents }
    }
}

/// The start of an entry: its key or dash, where it stands, and where what it holds stands.
struct Head {
    text: String,
    indent: usize,
    inner: usize,
}

impl Head {
    fn key(key: &str, indent: usize) -> Self {
        Head { text: format!("{}:", quoted(key)), indent, inner: indent + INDENT }
    }

    fn dash(indent: usize) -> Self {
        Head { text: "-".to_owned(), indent, inner: indent + INDENT }
    }

    fn is_dash(&self) -> bool {
        self.text == "-"
    }

    /// Returns the head of an entry of the section that this head begins.
    fn entry(&self, key: &str, index: usize) -> Self {
        if !self.is_dash() {
            return Head::key(key, self.inner);
        }
        let head = Head::key(key, self.inner);
        // The first key of a section in a list stands on the line of the dash.
        if index == 0 { Head { text: format!("- {}", head.text), indent: self.indent, ..head } } else { head }
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    units: Vec<Option<usize>>,
    parents: Vec<Option<usize>>,
    open: Vec<usize>,
    /// True while something is written that will be a comment.
    is_comment: bool,
}

impl Writer {
    fn line(&mut self, indent: usize, line: &str) {
        if !line.is_empty() {
            self.text.extend(std::iter::repeat_n(' ', indent));
            self.text.push_str(line);
        }
        self.text.push('\n');
        self.units.push(self.open.last().copied());
    }

    fn item(&mut self, head: &Head, item: &Item) {
        if item.is_unit {
            self.parents.push(self.open.last().copied());
            self.open.push(self.parents.len() - 1);
        }
        match item.refused.as_ref().filter(|_| !self.is_comment) {
            Some(reason) => self.refused(head, item, reason),
            None => self.body(head, item),
        }
        if item.is_unit {
            self.open.pop();
        }
    }

    /// Writes what was taken out as comments, and what stands in its place.
    fn refused(&mut self, head: &Head, item: &Item, reason: &str) {
        let path = item.origin.as_ref().map(|origin| format!("{}: ", origin.path)).unwrap_or_default();
        let reason: String = format!("{path}{reason}").chars().map(printable).collect();
        self.line(head.indent, &format!("# not carried: {reason}"));
        let mut inner = Writer { is_comment: true, ..Writer::default() };
        inner.body(&Head { text: head.text.clone(), indent: 0, inner: INDENT }, item);
        for line in inner.text.lines() {
            self.line(head.indent, &format!("# {line}"));
        }
        self.skip_units(item);
        self.fallback(head, item);
    }

    fn fallback(&mut self, head: &Head, item: &Item) {
        if let Some(fallback) = item.fallback.as_ref().filter(|_| !self.is_comment) {
            self.body(head, fallback);
        }
    }

    /// Gives numbers to the units in `item`, as if they were written.
    fn skip_units(&mut self, item: &Item) {
        for child in item.children() {
            if child.is_unit {
                self.parents.push(self.open.last().copied());
                self.open.push(self.parents.len() - 1);
            }
            self.skip_units(child);
            if child.is_unit {
                self.open.pop();
            }
        }
    }

    fn body(&mut self, head: &Head, item: &Item) {
        let is_empty = !self.is_comment && !item.children().any(Item::is_live);
        if is_empty && !matches!(item.value, Value::Scalar(_)) {
            self.children(head, item);
            return self.fallback(head, item);
        }
        let must_be_block = head.indent == 0 && !self.is_comment;
        let flow = flow(item).filter(|flow| !must_be_block && head.inner + flow.len() <= FLOW_CHARS_MAX);
        let is_line = matches!(item.value, Value::Scalar(_)) || head.is_dash() && matches!(item.value, Value::List(_));
        let text = if is_line { Some(yaml(item)) } else { flow };
        match text {
            Some(text) => self.line(head.indent, &format!("{} {text}{}", head.text, self.comment(item))),
            None => self.block(head, item),
        }
    }

    fn block(&mut self, head: &Head, item: &Item) {
        let comment = self.comment(item);
        if !head.is_dash() {
            self.line(head.indent, &format!("{}{comment}", head.text));
        } else if !comment.is_empty() {
            self.line(head.indent, comment.trim_start());
        }
        self.children(head, item);
    }

    fn children(&mut self, head: &Head, item: &Item) {
        match &item.value {
            Value::Scalar(_) => {}
            Value::List(items) => items.iter().for_each(|item| self.item(&Head::dash(head.inner), item)),
            Value::Map(entries) => {
                for (index, (key, item)) in entries.iter().enumerate() {
                    self.item(&head.entry(key, index), item);
                }
            }
        }
    }

    fn comment(&self, item: &Item) -> String {
        if self.is_comment {
            return String::new();
        }
        match (item.origin.as_ref().filter(|_| !item.is_quiet), item.remark) {
            (Some(origin), Some(remark)) => format!(" # {}: {remark}", origin.path),
            (Some(origin), None) => format!(" # {}", origin.path),
            (None, Some(remark)) => format!(" # {remark}"),
            (None, None) => String::new(),
        }
    }
}

/// Returns a value on one line, unless parts of it must stand on lines of their own.
fn flow(item: &Item) -> Option<String> {
    (!item.has_units()).then(|| yaml(item))
}

fn yaml(item: &Item) -> String {
    match &item.value {
        Value::Scalar(text) => text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, item)| format!("{}: {}", quoted(key), yaml(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}
