//! A configuration of Spansieve that is being made: its keys in order, each with the place that it comes from.

mod write;

use super::foreign::Foreign;
use super::scalar;
use crate::settings::diagnostic::Position;

pub(super) use write::Written;

/// A whole configuration, by section.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) sections: Vec<(String, Item)>,
}

/// A value with what its comment says.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    /// The part of the file that it comes from.
    pub(super) origin: Option<Origin>,
    /// True if its parts have comments, so that it needs none.
    is_quiet: bool,
    /// A remark for its comment.
    remark: Option<&'static str>,
    /// True if it can be taken out alone when Spansieve's reader refuses it.
    is_unit: bool,
    /// The reason why it is taken out. It is then written as a comment.
    pub(super) refused: Option<String>,
    /// The value that stands in its place when it, or all that is in it, is taken out.
    fallback: Option<Box<Item>>,
}

/// A place in the file.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) path: String,
    pub(super) id: u64,
    /// True if all that is in that part is carried with it. False for a single value that stands for a section.
    pub(super) is_whole: bool,
    pub(super) at: Position,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// YAML text of one line.
    Scalar(String),
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
}

impl Item {
    fn new(value: Value) -> Self {
        Item { value, origin: None, is_quiet: false, remark: None, is_unit: false, refused: None, fallback: None }
    }

    /// Returns a scalar from its YAML text.
    pub(super) fn yaml(text: impl Into<String>) -> Self {
        Item::new(Value::Scalar(text.into()))
    }

    /// Returns a string.
    pub(super) fn text(text: &str) -> Self {
        Item::yaml(scalar::quoted(text))
    }

    pub(super) fn list(items: Vec<Item>) -> Self {
        Item::new(Value::List(items))
    }

    pub(super) fn map(entries: Vec<(&str, Item)>) -> Self {
        Item::new(Value::Map(entries.into_iter().map(|(key, item)| (key.to_owned(), item)).collect()))
    }

    /// Names the part of the file that it comes from, and lets it be taken out alone.
    pub(super) fn from(mut self, part: &Foreign<'_>) -> Self {
        let is_whole = part.is_leaf() || !matches!(self.value, Value::Scalar(_));
        self.origin = Some(Origin { path: part.path.clone(), id: part.id, is_whole, at: part.at });
        self.is_unit = true;
        self
    }

    /// Does the same as [`Item::from`] for a section or a list whose parts have comments of their own.
    pub(super) fn parts_of(self, part: &Foreign<'_>) -> Self {
        Item { is_quiet: true, ..self.from(part) }
    }

    /// Lets it be taken out alone.
    pub(super) fn unit(mut self) -> Self {
        self.is_unit = true;
        self
    }

    pub(super) fn remark(mut self, remark: &'static str) -> Self {
        self.remark = Some(remark);
        self
    }

    pub(super) fn or(mut self, fallback: Item) -> Self {
        self.fallback = Some(Box::new(fallback));
        self
    }

    /// Returns the values directly within it.
    fn children(&self) -> Box<dyn Iterator<Item = &Item> + '_> {
        match &self.value {
            Value::Scalar(_) => Box::new(std::iter::empty()),
            Value::List(items) => Box::new(items.iter()),
            Value::Map(entries) => Box::new(entries.iter().map(|(_, item)| item)),
        }
    }

    fn children_mut(&mut self) -> Box<dyn Iterator<Item = &mut Item> + '_> {
        match &mut self.value {
            Value::Scalar(_) => Box::new(std::iter::empty()),
            Value::List(items) => Box::new(items.iter_mut()),
            Value::Map(entries) => Box::new(entries.iter_mut().map(|(_, item)| item)),
        }
    }

    /// Returns true if it, or something in it, is written as more than a comment.
    fn is_live(&self) -> bool {
        self.refused.is_none() && self.has_value() || self.fallback.is_some()
    }

    /// Returns true if it is more than lists and sections with nothing in them, which are not written.
    fn has_value(&self) -> bool {
        matches!(self.value, Value::Scalar(_)) || self.children().any(Item::is_live)
    }

    fn has_units(&self) -> bool {
        self.children().any(|child| child.is_unit || child.has_units())
    }
}

impl Draft {
    /// Adds a section, unless it is empty.
    pub(super) fn section(&mut self, name: &str, entries: Vec<(&str, Item)>) {
        if !entries.is_empty() {
            self.sections.push((name.to_owned(), Item::map(entries).unit()));
        }
    }

    /// Gives the last section, if it is `name`, entries that stand in its place when it is taken out.
    pub(super) fn fall_back(&mut self, name: &str, entries: Vec<(&str, Item)>) {
        if let Some((_, section)) = self.sections.last_mut().filter(|(last, _)| last == name) {
            section.fallback = Some(Box::new(Item::map(entries)));
        }
    }

    /// Takes out the unit with this number, in the order in which units are written. Returns where it comes from, or `None`
    /// if it is taken out already.
    pub(super) fn refuse(&mut self, unit: usize, reason: &str) -> Option<Option<Origin>> {
        let mut left = unit;
        let item = self.sections.iter_mut().find_map(|(_, section)| nth_unit(section, &mut left))?;
        if item.refused.is_some() {
            return None;
        }
        item.refused = Some(reason.to_owned());
        Some(item.origin.clone())
    }

    /// Returns where the unit with this number comes from.
    pub(super) fn origin(&mut self, unit: usize) -> Option<Origin> {
        let mut left = unit;
        self.sections.iter_mut().find_map(|(_, section)| nth_unit(section, &mut left))?.origin.clone()
    }

    /// Takes out the last of the policies. Returns where it comes from, or `None` if there is none.
    pub(super) fn refuse_last_policy(&mut self, reason: &str) -> Option<Option<Origin>> {
        let (_, section) = self.sections.iter_mut().find(|(name, _)| name == "tail_sampling")?;
        let Value::Map(entries) = &mut section.value else { return None };
        let (_, policies) = entries.iter_mut().find(|(key, _)| key == "policies")?;
        let last = policies.children_mut().filter(|policy| policy.refused.is_none()).last()?;
        last.refused = Some(reason.to_owned());
        Some(last.origin.clone())
    }

    /// Calls `visit` with each value that comes from the file and is written, and its path in the configuration.
    pub(super) fn each_carried(&self, visit: &mut impl FnMut(&Origin, &str)) {
        for (name, section) in &self.sections {
            carried(section, name, visit);
        }
    }
}

/// Returns the unit in `item` that has `left` others before it. If there are fewer, subtracts their number from `left`.
fn nth_unit<'a>(item: &'a mut Item, left: &mut usize) -> Option<&'a mut Item> {
    if item.is_unit {
        if *left == 0 {
            return Some(item);
        }
        *left -= 1;
    }
    item.children_mut().find_map(|child| nth_unit(child, left))
}

fn carried(item: &Item, path: &str, visit: &mut impl FnMut(&Origin, &str)) {
    if item.refused.is_some() || !item.has_value() {
        return;
    }
    if let Some(origin) = item.origin.as_ref().filter(|_| !item.is_quiet) {
        visit(origin, path);
    }
    match &item.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            let live = items.iter().filter(|item| item.refused.is_none());
            live.enumerate().for_each(|(index, item)| carried(item, &format!("{path}[{index}]"), visit));
        }
        Value::Map(entries) => {
            entries.iter().for_each(|(key, item)| carried(item, &format!("{path}.{key}"), visit));
        }
    }
}
