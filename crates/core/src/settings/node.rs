//! A configuration as a tree in which every value knows its place. It has no trace of the syntax that it was written in.

use std::rc::Rc;

use super::diagnostic::Position;

/// A value and its position.
#[derive(Debug)]
pub struct Node {
    /// The place of the value.
    pub at: Position,
    /// The value.
    pub value: NodeValue,
    /// The number of nodes in it, including itself, with every alias written out.
    #[cfg_attr(not(any(test, feature = "yaml")), expect(dead_code, reason = "only the reader of YAML counts nodes"))]
    pub(crate) node_count: usize,
}

/// A value.
#[derive(Debug)]
pub enum NodeValue {
    /// One value.
    Scalar(ScalarNode),
    /// A list.
    Seq(Vec<Rc<Node>>),
    /// A section: keys and their values, in the order in which they are written.
    Map(Vec<(NodeKey, Rc<Node>)>),
    /// A value that could not be read; the problem is already reported.
    Broken,
}

/// The key of a mapping's entry.
#[derive(Debug)]
pub struct NodeKey {
    /// The place of the key.
    pub at: Position,
    /// The key.
    pub name: String,
}

/// A scalar, after references to the environment are expanded.
#[derive(Debug)]
pub struct ScalarNode {
    /// The text without quotes.
    pub text: String,
    /// The type that the text has without quotes; text, if it has quotes.
    pub kind: ScalarType,
    /// True if the text has references to the environment, so that quotes do not tell the type.
    pub(crate) expanded: bool,
    /// True if a variable of these references is set. Otherwise the text is that of their defaults.
    pub(crate) is_from_environment: bool,
    /// The text as it is written, if part of it comes from the environment.
    pub written: Option<String>,
    /// The quotes around the text.
    pub quotes: Quotes,
    /// The place of the first character, if the text stands as it is on lines of its own.
    pub block: Option<Position>,
}

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarType {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number that is not whole, or is beyond 64 bits.
    Float(f64),
    /// Any other text.
    Text,
}

impl ScalarType {
    /// Returns the type of an unquoted scalar (YAML 1.2.2, section 10.3.2, the core schema). Whole numbers beyond 64 bits are
    /// floats.
    pub fn of_plain(text: &str) -> ScalarType {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return ScalarType::Null,
            "true" | "True" | "TRUE" => return ScalarType::Bool(true),
            "false" | "False" | "FALSE" => return ScalarType::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return ScalarType::Float(f64::NAN),
            _ => {}
        }
        let unsigned = text.trim_start_matches(['+', '-']);
        if matches!(unsigned, ".inf" | ".Inf" | ".INF") && text.len() - unsigned.len() <= 1 {
            return ScalarType::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        let based = |prefix, radix| {
            let digits = text.strip_prefix(prefix).filter(|digits| !digits.starts_with(['+', '-']))?;
            i64::from_str_radix(digits, radix).ok()
        };
        // Rust also takes `inf` and `nan`, which are plain text in YAML.
        let digits_first = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let int = text.parse().ok().or_else(|| based("0x", 16)).or_else(|| based("0o", 8)).or_else(|| grouped(text));
        let float = || text.parse().ok().filter(|_| digits_first).map(ScalarType::Float);
        int.map(ScalarType::Int).or_else(float).unwrap_or(ScalarType::Text)
    }
}

/// The form in which the text of a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quotes {
    /// No quotes.
    None,
    /// Single quotes.
    Single,
    /// Double quotes.
    Double,
    /// On lines of its own, below the key.
    Block,
}

impl Quotes {
    /// Returns the columns that a character takes.
    fn columns(self, c: char) -> usize {
        match (self, c) {
            (Quotes::Single, '\'') | (Quotes::Double, '"' | '\\') => 2,
            _ => 1,
        }
    }
}

/// Returns the value of digits in groups, such as `100_000`, which the Collector's YAML allows.
fn grouped(text: &str) -> Option<i64> {
    let is_grouped = text.contains('_')
        && text.split('_').all(|group| group.bytes().all(|b| b.is_ascii_digit()))
        && !text.starts_with('_')
        && !text.ends_with('_');
    is_grouped.then(|| text.replace('_', "").parse().ok())?
}

impl Node {
    /// Returns the value under these keys, each one section deeper.
    pub fn find(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| match &node.value {
            NodeValue::Map(entries) => entries.iter().find(|(k, _)| k.name == *key).map(|(_, node)| node.as_ref()),
            _ => None,
        })
    }

    /// Returns the position of the key `name`, if this is a section that has it.
    pub fn position_of(&self, name: &str) -> Option<Position> {
        let NodeValue::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(key, _)| key.at)
    }

    /// Returns true if this is a scalar that is not null.
    pub fn is_scalar(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(_)) && !self.is_null()
    }

    /// Returns true if this is a scalar with the text `text`.
    pub fn is_text(&self, text: &str) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.text == text)
    }

    /// Returns the position of the byte at `offset` of a scalar's text, or that of the whole scalar if the text is not written as it is.
    pub fn at_byte(&self, offset: usize) -> Position {
        let NodeValue::Scalar(ScalarNode { text, quotes, block, .. }) = &self.value else { return self.at };
        if let (Some(block), Some(before)) = (block, text.get(..offset)) {
            let in_line = before.rsplit('\n').next().unwrap_or_default().chars().count();
            return Position {
                line: block.line + before.matches('\n').count(),
                column: block.column + in_line,
                length: 1,
            };
        }
        let quote = match quotes {
            Quotes::None => 0,
            Quotes::Single | Quotes::Double => 1,
            Quotes::Block => return self.at,
        };
        let columns = |text: &str| text.chars().map(|c| quotes.columns(c)).sum::<usize>();
        // Other escapes, several lines and references to the environment move what follows.
        match text.get(..offset) {
            Some(before) if columns(text) + 2 * quote == self.at.length => {
                Position { column: self.at.column + quote + columns(before), length: 1, ..self.at }
            }
            _ => self.at,
        }
    }

    /// Returns true if this is a scalar whose text ends with `suffix`.
    pub fn ends_with(&self, suffix: char) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.text.trim_end().ends_with(suffix))
    }

    /// Returns the items of a list; none if this is not a list.
    pub fn items(&self) -> impl Iterator<Item = &Node> {
        let items: &[Rc<Node>] = if let NodeValue::Seq(items) = &self.value { items } else { &[] };
        items.iter().map(Rc::as_ref)
    }

    /// Returns true if the node, or one in it, could not be read.
    #[must_use]
    pub fn has_broken(&self) -> bool {
        match &self.value {
            NodeValue::Broken => true,
            NodeValue::Scalar(_) => false,
            NodeValue::Seq(items) => items.iter().any(|item| item.has_broken()),
            NodeValue::Map(entries) => entries.iter().any(|(_, value)| value.has_broken()),
        }
    }

    /// Returns true if nothing is written.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(ScalarNode { kind: ScalarType::Null, .. }))
    }
}
