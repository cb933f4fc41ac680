//! A value of the imported file, with its path, such as `processors.batch.timeout`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::settings::diagnostic::{Diagnostic, Position, SettingError, printable};
use crate::settings::node::{Node, NodeKey, NodeValue, ScalarNode, ScalarType};

/// The most characters of a name in a path. The rest is cut off, because a path is repeated in many messages.
const NAME_CHARS_MAX: usize = 60;
/// The most bytes of a path, without the dots that end a longer one. Many values can stand deep below long names.
const PATH_BYTES_MAX: usize = 300;
/// The most bytes of all scalars and keys of a file, with every alias written out.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The key that adds the entries of its value to its section (YAML 1.1, "merge"). The Collector's reader supports it.
const MERGE: &str = "<<";

/// A value with its place and its path.
#[derive(Clone)]
pub(super) struct Foreign<'a> {
    pub(super) path: String,
    /// A hash of all keys and indices on the way to the value.
    pub(super) id: u64,
    /// The place of the value's key, or of the value itself if it is an item of a list.
    pub(super) at: Position,
    node: &'a Node,
}

/// Returns an error if the text of the tree, with every alias written out, is too long.
pub(super) fn refuse_too_long(root: &Node) -> Result<(), Diagnostic> {
    let mut left = TEXT_BYTES_MAX;
    if spend(root, &mut left).is_some() {
        return Ok(());
    }
    let fault = SettingError::new(format!("more than {TEXT_BYTES_MAX} bytes, with every alias written out"));
    Err(fault.help("import the part that is about traces").error(root.at))
}

/// Subtracts the bytes of `node` from `left`. Returns `None` if fewer are left.
fn spend(node: &Node, left: &mut usize) -> Option<()> {
    match &node.value {
        NodeValue::Scalar(scalar) => *left = left.checked_sub(scalar.text.len())?,
        NodeValue::Seq(items) => items.iter().try_for_each(|item| spend(item, left))?,
        NodeValue::Map(entries) => {
            for (key, value) in entries {
                *left = left.checked_sub(key.name.len())?;
                spend(value, left)?;
            }
        }
        NodeValue::Broken => {}
    }
    Some(())
}

/// Returns a name as paths show it: without control characters, and not too long.
pub(super) fn shown(name: &str) -> String {
    let dots = if name.chars().count() > NAME_CHARS_MAX { "..." } else { "" };
    name.chars().take(NAME_CHARS_MAX).map(printable).chain(dots.chars()).collect()
}

impl<'a> Foreign<'a> {
    /// Returns the whole file.
    pub(super) fn root(node: &'a Node) -> Self {
        Foreign { path: String::new(), id: 0, at: node.at, node }
    }

    /// Returns the same value with the path `path`.
    pub(super) fn called(self, path: &str) -> Self {
        Foreign { path: path.to_owned(), ..self }
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    fn entry(&self, key: &'a NodeKey, node: &'a Node) -> Self {
        let name = shown(&key.name);
        let path = if self.path.is_empty() { name } else { self.longer(&format!(".{name}")) };
        Foreign { path, id: self.inner_id(&key.name), at: key.at, node }
    }

    /// Returns the path of a value within this one.
    fn longer(&self, step: &str) -> String {
        if self.path.len() + step.len() <= PATH_BYTES_MAX {
            format!("{}{step}", self.path)
        } else if self.path.ends_with("...") {
            self.path.clone()
        } else {
            format!("{}...", self.path)
        }
    }

    fn inner_id(&self, step: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.id, step).hash(&mut hasher);
        hasher.finish()
    }

    fn raw_entries(&self) -> Vec<(&'a NodeKey, &'a Node)> {
        let mut entries = Vec::new();
        merged(self.node, &mut entries, &mut HashSet::new());
        entries
    }

    /// Returns the entries of a section: its own, then the merged ones. Returns none if the value is not a section.
    pub(super) fn entries(&self) -> Vec<(&'a str, Foreign<'a>)> {
        self.raw_entries().into_iter().map(|(key, node)| (key.name.as_str(), self.entry(key, node))).collect()
    }

    /// Returns the value under `key`. Returns `None` if the key is absent or the value is not a section.
    pub(super) fn get(&self, key: &str) -> Option<Foreign<'a>> {
        self.raw_entries().into_iter().find(|(k, _)| k.name == key).map(|(key, node)| self.entry(key, node))
    }

    /// Returns the value under `key`, unless it is null.
    pub(super) fn filled(&self, key: &str) -> Option<Foreign<'a>> {
        self.get(key).filter(|value| !value.node.is_null())
    }

    /// Returns the value at the end of `keys`, each of which is one section deeper than the one before.
    pub(super) fn find(&self, keys: &[&str]) -> Option<Foreign<'a>> {
        keys.iter().try_fold(self.clone(), |value, key| value.get(key))
    }

    /// Returns the items of a list. Returns none if the value is not a list.
    pub(super) fn items(&self) -> Vec<Foreign<'a>> {
        let items: &'a [Rc<Node>] = if let NodeValue::Seq(items) = &self.node.value { items } else { &[] };
        let item = |(index, node): (usize, &'a Rc<Node>)| Foreign {
            path: self.longer(&format!("[{index}]")),
            id: self.inner_id(index),
            at: node.at,
            node: node.as_ref(),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// Returns the items of a list. A scalar counts as a list with one item.
    pub(super) fn one_or_more(&self) -> Vec<Foreign<'a>> {
        if self.node.is_scalar() { vec![self.clone()] } else { self.items() }
    }

    /// Returns true if there are no values within this one.
    pub(super) fn is_leaf(&self) -> bool {
        match &self.node.value {
            NodeValue::Seq(items) => items.is_empty(),
            NodeValue::Map(entries) => entries.is_empty(),
            NodeValue::Scalar(_) | NodeValue::Broken => true,
        }
    }

    /// Returns the values directly within this one.
    pub(super) fn children(&self) -> Vec<Foreign<'a>> {
        if self.is_list() {
            return self.items();
        }
        self.entries().into_iter().map(|(_, value)| value).collect()
    }

    pub(super) fn is_section(&self) -> bool {
        matches!(self.node.value, NodeValue::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, NodeValue::Seq(_))
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    pub(super) fn scalar(&self) -> Option<&'a ScalarNode> {
        match &self.node.value {
            NodeValue::Scalar(scalar) if !self.node.is_null() => Some(scalar),
            _ => None,
        }
    }

    /// Returns the text of a scalar that is not null, as it is written.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    pub(super) fn is_text(&self, text: &str) -> bool {
        self.text() == Some(text)
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.scalar()?.kind {
            ScalarType::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self.scalar()?.kind {
            ScalarType::Int(value) => Some(value as f64),
            ScalarType::Float(value) if value.is_finite() => Some(value),
            _ => None,
        }
    }

    /// Returns a whole number that is not negative.
    pub(super) fn count(&self) -> Option<u64> {
        match self.scalar()?.kind {
            ScalarType::Int(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }
}

/// Adds the entries of `node`, then those that it merges, to `entries`. Leaves out keys that have been added before.
fn merged<'a>(node: &'a Node, entries: &mut Vec<(&'a NodeKey, &'a Node)>, seen: &mut HashSet<&'a str>) {
    let NodeValue::Map(own) = &node.value else { return };
    for (key, value) in own.iter().filter(|(key, _)| key.name != MERGE) {
        if seen.insert(&key.name) {
            entries.push((key, value));
        }
    }
    for (_, value) in own.iter().filter(|(key, _)| key.name == MERGE) {
        match &value.value {
            NodeValue::Seq(items) => items.iter().for_each(|item| merged(item, entries, seen)),
            _ => merged(value, entries, seen),
        }
    }
}
