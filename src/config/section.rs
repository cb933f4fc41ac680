//! Walks a section of the tree: hands out its values and collects everything that is wrong on the way.

use std::rc::Rc;

use super::document::{Key, Node, Value};
use super::keys;
use super::limits::Limit;
use super::problem::{Fault, Position, Problem};
use super::secrets::is_secret;
use super::values::{Read, not_a_list, not_a_section};

/// The fault of a secret in the wrong form, which the message must not repeat.
fn secret_not(expected: &str, form: &str) -> Fault {
    Fault::new(format!("expected {expected}, found something else")).help(format!("write `{form}`"))
}

/// A mapping whose keys are those of one section.
pub(super) struct Section<'a> {
    path: String,
    at: Position,
    entries: &'a [(Key, Rc<Node>)],
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// The section at `path`; `None`, and a problem, if `node` is no mapping. Unknown keys are problems.
    pub(super) fn open(node: &'a Node, path: String, problems: &'a mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::open_lenient(node, path, problems)?;
        section.refuse_unknown(&[]);
        Some(section)
    }

    /// As [`Section::open`], but the caller looks for unknown keys.
    pub(super) fn open_lenient(node: &'a Node, path: String, problems: &'a mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Section { path, at: node.at, entries, problems }),
            Value::Broken => None,
            _ => {
                problems.push(not_a_section(node).error(node.at));
                None
            }
        }
    }

    /// Reports keys that are neither in the table nor in `also_known`.
    pub(super) fn refuse_unknown(&mut self, also_known: &[&str]) {
        for (key, _) in self.entries {
            let name = key.name.as_str();
            if !keys::of_section(&self.path).any(|known| known == name) && !also_known.contains(&name) {
                let is_written = |known: &str| self.entries.iter().any(|(key, _)| key.name == known);
                self.problems.push(keys::unknown(&self.path, name, is_written).error(key.at));
            }
        }
    }

    /// Where the section starts.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// The key and value of `key`, if it is written and readable.
    pub(super) fn entry(&self, key: &str) -> Option<(Position, &'a Node)> {
        let (key, node) = self.entries.iter().find(|(k, _)| k.name == key)?;
        (!matches!(node.value, Value::Broken)).then_some((key.at, node))
    }

    /// Whether `key` is written, readable or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.name == key)
    }

    /// Reports an error.
    pub(super) fn error(&mut self, at: Position, fault: Fault) {
        self.problems.push(fault.error(at));
    }

    /// Reports a warning.
    pub(super) fn warn(&mut self, at: Position, fault: Fault) {
        self.problems.push(fault.warning(at));
    }

    /// The value of `key`; `None` if it is not written or wrong.
    pub(super) fn read<T>(&mut self, key: &str, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        let (_, node) = self.entry(key)?;
        self.check(node, read)
    }

    /// As [`Section::read`]; it is an error if `key` is not written.
    pub(super) fn require<T>(&mut self, key: &str, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        if !self.has(key) {
            self.error(self.at, Fault::new(format!("the key `{key}` is missing")));
        }
        self.read(key, read)
    }

    /// Overwrites `setting` if `key` is written and right.
    pub(super) fn set<T>(&mut self, key: &str, setting: &mut T, read: impl FnOnce(&Node) -> Read<T>) {
        if let Some(value) = self.read(key, read) {
            *setting = value;
        }
    }

    /// The section under `key`; `None` if it is not written, empty or wrong.
    pub(super) fn section(&mut self, key: &str) -> Option<Section<'_>> {
        let (_, node) = self.entry(key).filter(|(_, node)| !node.is_null())?;
        Section::open(node, keys::join(&self.path, key), self.problems)
    }

    /// As [`Section::section`]; it is an error if `key` is written with nothing in it.
    pub(super) fn filled_section(&mut self, key: &str) -> Option<Section<'_>> {
        if let Some((at, _)) = self.entry(key).filter(|(_, node)| node.is_null()) {
            self.error(at, Fault::new(format!("there is nothing in `{key}`")).help("fill it, or leave it out"));
        }
        self.section(key)
    }

    /// The readable items of the list under `key`; `None` if it is not written or wrong.
    pub(super) fn items(&mut self, key: &str, limit: &Limit<usize>) -> Option<Vec<&'a Node>> {
        let (at, node) = self.entry(key)?;
        let items = match &node.value {
            Value::Seq(items) => items.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let fault = if is_secret(key) { secret_not("a list", "[...]") } else { not_a_list(node) };
                self.error(node.at, fault);
                return None;
            }
        };
        if items.len() < limit.min {
            self.error(at, Fault::new(format!("`{key}` is an empty list")).help("write an item, or leave the key out"));
            return None;
        }
        if items.len() > limit.max {
            let fault = Fault::new(format!("{} items in `{key}`", items.len()));
            self.error(at, fault.help(format!("at most {}: {}", limit.max, limit.why)));
            return None;
        }
        Some(items.iter().map(Rc::as_ref).filter(|item| !matches!(item.value, Value::Broken)).collect())
    }

    /// The entries of the section under `key`, whose keys are the operator's own; none if it is not written or wrong.
    pub(super) fn own_entries(&mut self, key: &str) -> &'a [(Key, Rc<Node>)] {
        let Some((_, node)) = self.entry(key).filter(|(_, node)| !node.is_null()) else { return &[] };
        match &node.value {
            Value::Map(entries) => entries,
            _ => {
                let form = "a section of `key: value` lines";
                let fault = if is_secret(key) { secret_not(form, "{name: value}") } else { not_a_section(node) };
                self.error(node.at, fault);
                &[]
            }
        }
    }

    /// Overwrites `setting` if `key` is written and all its items are right. Of equal items the first counts, with a warning.
    pub(super) fn set_list<T: PartialEq>(
        &mut self,
        key: &str,
        limit: &Limit<usize>,
        setting: &mut Vec<T>,
        read: impl Fn(&Node) -> Read<T>,
    ) {
        let Some(items) = self.items(key, limit) else { return };
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match self.check(item, &read) {
                Some(value) if values.contains(&value) => {
                    self.warn(item.at, Fault::new("given twice").help("keep one"));
                }
                value => values.extend(value),
            }
        }
        *setting = values;
    }

    /// The item `node` of the list under `key`, as a section.
    pub(super) fn item<'b>(&'b mut self, key: &str, node: &'b Node) -> Option<Section<'b>> {
        self.like(&(keys::join(&self.path, key) + "[]"), node)
    }

    /// `node`, which stands somewhere in this section, as a section with the keys of `path`. The caller looks for unknown
    /// ones.
    pub(super) fn like<'b>(&'b mut self, path: &str, node: &'b Node) -> Option<Section<'b>> {
        Section::open_lenient(node, path.to_owned(), self.problems)
    }

    /// The values of the list under `key`, all of them different; none if it is not written or wrong.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &str,
        limit: &Limit<usize>,
        read: impl Fn(&Node) -> Read<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        self.set_list(key, limit, &mut values, read);
        values
    }

    /// As [`Section::list`]; it is an error if `key` is not written.
    pub(super) fn require_list<T: PartialEq>(
        &mut self,
        key: &str,
        example: &str,
        limit: &Limit<usize>,
        read: impl Fn(&Node) -> Read<T>,
    ) -> Vec<T> {
        if !self.has(key) {
            let fault = Fault::new(format!("the key `{key}` is missing"));
            self.error(self.at, fault.help(format!("write `{key}: {example}`")));
        }
        self.list(key, limit, read)
    }

    /// What `node`, which stands somewhere in this section, says; `None` if it is wrong.
    pub(super) fn check<T>(&mut self, node: &Node, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        read(node).map_err(|fault| self.problems.push(fault.error(node.at))).ok()
    }
}
