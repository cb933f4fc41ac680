//! Walks one section of the tree: returns its values and collects everything that is wrong on the way.

use std::rc::Rc;

use super::diagnostic::{Diagnostic, Position, SettingError};
use super::node::{Node, NodeKey, NodeValue};
use super::suggest::{self, join};
use super::values::{A_SECTION, Read, not_a_list, not_a_section};
use super::{Files, Limit};

/// The surroundings of a configuration.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The paths of all keys that exist.
    pub paths: &'a [String],
    /// The names of the keys whose values are secrets: no message repeats these values.
    pub secrets: &'a [String],
    /// Reads the files that settings name.
    pub files: Files<'a>,
}

impl ReadContext<'_> {
    /// Returns true if a key in the section `path`, at any depth, is a secret. A single value in place of the section is
    /// likely to be that secret.
    fn has_secret_below(&self, path: &str) -> bool {
        let below = self
            .paths
            .iter()
            .filter(|known| path.is_empty() || known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
        let mut names = below.filter_map(|known| known.rsplit('.').next());
        names.any(|name| self.secrets.iter().any(|secret| secret == name))
    }
}

/// Returns the fault of a secret in the wrong form; the message does not repeat it.
fn secret_not(expected: &str, form: &str) -> SettingError {
    SettingError::new(format!("expected {expected}, found something else")).help(format!("write `{form}`"))
}

/// A mapping with the keys of one section.
pub struct Section<'a> {
    context: ReadContext<'a>,
    path: String,
    at: Position,
    entries: &'a [(NodeKey, Rc<Node>)],
    problems: &'a mut Vec<Diagnostic>,
}

impl<'a> Section<'a> {
    /// Returns the section at `path`; `None`, and a problem, if `node` is not a mapping. Unknown keys are problems.
    pub fn open(
        context: ReadContext<'a>,
        node: &'a Node,
        path: String,
        problems: &'a mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let mut section = Section::open_lenient(context, node, path, problems)?;
        section.refuse_unknown(&[]);
        Some(section)
    }

    /// Does the same as [`Section::open`], except that the caller looks for unknown keys.
    fn open_lenient(
        context: ReadContext<'a>,
        node: &'a Node,
        path: String,
        problems: &'a mut Vec<Diagnostic>,
    ) -> Option<Self> {
        match &node.value {
            NodeValue::Map(entries) => Some(Section { context, path, at: node.at, entries, problems }),
            NodeValue::Broken => None,
            _ => {
                let fault = match context.has_secret_below(&path) && node.is_scalar() {
                    true => secret_not(A_SECTION, "{key: value}"),
                    false => not_a_section(node),
                };
                problems.push(fault.error(node.at));
                None
            }
        }
    }

    /// Reports keys that neither exist in this section nor are in `also_known`.
    pub fn refuse_unknown(&mut self, also_known: &[&str]) {
        for (key, _) in self.entries {
            let name = key.name.as_str();
            if !suggest::of_section(self.context.paths, &self.path).any(|known| known == name)
                && !also_known.contains(&name)
            {
                let is_written = |known: &str| self.entries.iter().any(|(key, _)| key.name == known);
                let fault = suggest::unknown(self.context.paths, &self.path, name, is_written);
                self.problems.push(fault.error(key.at));
            }
        }
    }

    /// Returns the reader of files that settings name.
    pub fn files(&self) -> Files<'a> {
        self.context.files
    }

    /// Returns the position at which the section starts.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Returns the position and the value of `key`, if it is written and readable.
    pub fn entry(&self, key: &str) -> Option<(Position, &'a Node)> {
        let (key, node) = self.entries.iter().find(|(k, _)| k.name == key)?;
        (!matches!(node.value, NodeValue::Broken)).then_some((key.at, node))
    }

    /// Returns true if a value of the section, or an item of a list in it, is reported as unreadable, such as a variable of
    /// the environment that is not set.
    pub fn has_unreadable(&self) -> bool {
        let is_broken = |node: &Node| matches!(node.value, NodeValue::Broken);
        self.entries.iter().any(|(_, node)| is_broken(node) || node.items().any(is_broken))
    }

    /// Returns true if a value in the section, at any depth, is reported as unreadable, so that the section is not what the
    /// operator wrote.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.entries.iter().any(|(_, node)| node.has_broken())
    }

    /// Returns true if nothing is written in the section.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns true if `key` is written, readable or not.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.name == key)
    }

    fn is_secret(&self, key: &str) -> bool {
        self.context.secrets.iter().any(|secret| secret == key)
    }

    /// Reports an error.
    pub fn error(&mut self, at: Position, fault: SettingError) {
        self.problems.push(fault.error(at));
    }

    /// Reports a warning.
    pub fn warn(&mut self, at: Position, fault: SettingError) {
        self.problems.push(fault.warning(at));
    }

    /// Returns the number of problems that are reported so far, for [`Section::problems_since`].
    pub(crate) fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// Returns the problems that were reported after the first `count` ones.
    pub(crate) fn problems_since(&self, count: usize) -> &[Diagnostic] {
        self.problems.get(count..).unwrap_or_default()
    }

    /// Returns the value of `key`; `None` if it is not written or wrong.
    pub fn read<T>(&mut self, key: &str, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        let (_, node) = self.entry(key)?;
        self.check(node, read)
    }

    /// Returns the value of `key`. A missing key is an error.
    pub fn require<T>(&mut self, key: &str, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        if !self.has(key) {
            self.error(self.at, SettingError::new(format!("the key `{key}` is missing")));
        }
        self.read(key, read)
    }

    /// Overwrites `setting` if `key` is written and right.
    pub fn set<T>(&mut self, key: &str, setting: &mut T, read: impl FnOnce(&Node) -> Read<T>) {
        if let Some(value) = self.read(key, read) {
            *setting = value;
        }
    }

    /// Returns the section under `key`; `None` if it is not written, empty or wrong.
    pub fn section(&mut self, key: &str) -> Option<Section<'_>> {
        let (_, node) = self.entry(key).filter(|(_, node)| !node.is_null())?;
        Section::open(self.context, node, join(&self.path, key), self.problems)
    }

    /// Returns the section under `key`. A key with nothing in it is an error.
    pub(crate) fn filled_section(&mut self, key: &str) -> Option<Section<'_>> {
        if let Some((at, _)) = self.entry(key).filter(|(_, node)| node.is_null()) {
            self.error(at, SettingError::new(format!("there is nothing in `{key}`")).help("fill it, or leave it out"));
        }
        self.section(key)
    }

    /// Returns the readable items of the list under `key`; `None` if it is not written or wrong.
    pub fn items(&mut self, key: &str, limit: &Limit<usize>) -> Option<Vec<&'a Node>> {
        let (at, node) = self.entry(key)?;
        let items = match &node.value {
            NodeValue::Seq(items) => items.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let fault = if self.is_secret(key) { secret_not("a list", "[...]") } else { not_a_list(node) };
                self.error(node.at, fault);
                return None;
            }
        };
        if items.len() < limit.min {
            self.error(
                at,
                SettingError::new(format!("`{key}` is an empty list")).help("write an item, or leave the key out"),
            );
            return None;
        }
        if items.len() > limit.max {
            let fault = SettingError::new(format!("{} items in `{key}`", items.len()));
            self.error(at, fault.help(format!("at most {}: {}", limit.max, limit.why)));
            return None;
        }
        Some(items.iter().map(Rc::as_ref).filter(|item| !matches!(item.value, NodeValue::Broken)).collect())
    }

    /// Returns the entries of the section under `key`, whose keys the operator chooses; none if it is not written or wrong.
    pub fn own_entries(&mut self, key: &str) -> &'a [(NodeKey, Rc<Node>)] {
        let Some((_, node)) = self.entry(key).filter(|(_, node)| !node.is_null()) else { return &[] };
        match &node.value {
            NodeValue::Map(entries) => entries,
            _ => {
                let fault =
                    if self.is_secret(key) { secret_not(A_SECTION, "{name: value}") } else { not_a_section(node) };
                self.error(node.at, fault);
                &[]
            }
        }
    }

    /// Overwrites `setting` if `key` is written and all its items are right. An item that equals an earlier one is left out, with a warning.
    pub(crate) fn set_list<T: PartialEq>(
        &mut self,
        key: &str,
        limit: &Limit<usize>,
        setting: &mut Vec<T>,
        read: impl Fn(&Node) -> Read<T>,
    ) {
        if let Some((_, node)) = self.entry(key)
            && node.is_scalar()
            && !self.is_secret(key)
            && let Err(fault) = read(node)
        {
            // The item is wrong as well, and its message says more.
            self.error(node.at, fault);
            return;
        }
        let Some(items) = self.items(key, limit) else { return };
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match self.check(item, &read) {
                Some(value) if values.contains(&value) => {
                    self.warn(item.at, SettingError::new("given twice").help("keep one"));
                }
                value => values.extend(value),
            }
        }
        *setting = values;
    }

    /// Returns the item `node` of the list under `key` as a section.
    pub fn item<'b>(&'b mut self, key: &str, node: &'b Node) -> Option<Section<'b>> {
        self.like(&(join(&self.path, key) + "[]"), node)
    }

    /// Returns `node`, which is part of this section, as a section with the keys of `path`. The caller looks for unknown
    /// keys.
    pub fn like<'b>(&'b mut self, path: &str, node: &'b Node) -> Option<Section<'b>> {
        Section::open_lenient(self.context, node, path.to_owned(), self.problems)
    }

    /// Returns the values of the list under `key`, without repetitions; none if it is not written or wrong.
    pub fn list<T: PartialEq>(&mut self, key: &str, limit: &Limit<usize>, read: impl Fn(&Node) -> Read<T>) -> Vec<T> {
        let mut values = Vec::new();
        self.set_list(key, limit, &mut values, read);
        values
    }

    /// Returns the values of the list under `key`. A missing key is an error.
    pub(crate) fn require_list<T: PartialEq>(
        &mut self,
        key: &str,
        example: &str,
        limit: &Limit<usize>,
        read: impl Fn(&Node) -> Read<T>,
    ) -> Vec<T> {
        if !self.has(key) {
            let fault = SettingError::new(format!("the key `{key}` is missing"));
            self.error(self.at, fault.help(format!("write `{key}: {example}`")));
        }
        self.list(key, limit, read)
    }

    /// Returns the value of `node`, which is part of this section; `None` if it is wrong.
    pub fn check<T>(&mut self, node: &Node, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        // The problem of a node that could not be read is reported already.
        let node = Some(node).filter(|node| !matches!(node.value, NodeValue::Broken))?;
        read(node).map_err(|fault| self.problems.push(fault.error(node.at))).ok()
    }
}
