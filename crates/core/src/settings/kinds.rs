//! Kinds of values: how each is read, and what the reference says of it.

mod scalar;

pub use self::scalar::*;
use super::node::Node;
use super::reader::Section;
use super::setting::{KeySlot, Preset, SectionKeys, Shape};
use super::shown::ShownKey;
use super::values::Read;
use super::{Declared, Limit};

/// A kind of value for a setting of type `T`.
pub trait SettingKind<T> {
    /// Overwrites `setting` if `key` is written and right; reports it if it is wrong.
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut T);

    /// Adds the key at `place` to the reference.
    fn describe(&self, place: KeySlot<'_>, default: &T);

    /// Adds `setting`, which is in force, at `place`.
    fn show_in(&self, place: ShownKey<'_>, setting: &T);
}

/// A declaration of a key whose value is read by hand.
pub trait DescribedKey {
    /// Adds the key at `place` to the reference.
    fn add(self, place: KeySlot<'_>);
}

/// A kind of value that is one node.
pub trait ScalarKind {
    /// The type of the setting.
    type Value;

    /// Reads the value of `node`.
    fn read(&self, node: &Node) -> Read<Self::Value>;

    /// Returns the form of the value.
    fn shape(&self) -> Shape;

    /// Returns a sentence about the range of the value, or nothing.
    fn limit(&self) -> String {
        String::new()
    }

    /// Returns the value as it is written; `None` if it cannot be shown.
    fn show(&self, _: &Self::Value) -> Option<String> {
        None
    }
}

impl<S: ScalarKind> SettingKind<S::Value> for S {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut S::Value) {
        section.set(key, setting, |node| self.read(node));
    }

    fn describe(&self, place: KeySlot<'_>, default: &S::Value) {
        place.add(self.shape(), self.show(default).map_or(Preset::None, Preset::Value), &self.limit());
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &S::Value) {
        place.value(self.show(setting));
    }
}

/// A value that must be written. The default of its setting is never used.
pub struct Required<S>(pub S);

impl<S: ScalarKind> SettingKind<S::Value> for Required<S> {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut S::Value) {
        if let Some(value) = section.require(key, |node| self.0.read(node)) {
            *setting = value;
        }
    }

    fn describe(&self, place: KeySlot<'_>, _: &S::Value) {
        place.add(self.0.shape(), Preset::Required, &self.0.limit());
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &S::Value) {
        place.value(self.0.show(setting));
    }
}

/// A value that may be left out.
pub struct Maybe<S>(pub S);

impl<S: ScalarKind> SettingKind<Option<S::Value>> for Maybe<S> {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut Option<S::Value>) {
        section.set(key, setting, |node| self.0.read(node).map(Some));
    }

    fn describe(&self, place: KeySlot<'_>, default: &Option<S::Value>) {
        let shown = default.as_ref().and_then(|value| self.0.show(value));
        place.add(self.0.shape(), shown.map_or(Preset::None, Preset::Value), &self.0.limit());
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &Option<S::Value>) {
        place.value(setting.as_ref().and_then(|value| self.0.show(value)));
    }
}

/// A value that may be left out or empty, so that `${env:NAME:-}` can be written.
pub struct OrNone<S>(pub S);

impl<S: ScalarKind> ScalarKind for OrNone<S> {
    type Value = Option<S::Value>;

    fn read(&self, node: &Node) -> Read<Option<S::Value>> {
        if node.is_null() { Ok(None) } else { self.0.read(node).map(Some) }
    }

    fn shape(&self) -> Shape {
        Shape::OrNothing(Box::new(self.0.shape()))
    }

    fn show(&self, value: &Option<S::Value>) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn limit(&self) -> String {
        self.0.limit()
    }
}

/// A value that may be empty, which stands for the default of its type, so that `${env:NAME:-}` can be written.
pub struct OrEmpty<S>(pub S);

impl<S: ScalarKind<Value: Default>> ScalarKind for OrEmpty<S> {
    type Value = S::Value;

    fn read(&self, node: &Node) -> Read<S::Value> {
        if node.is_null() { Ok(S::Value::default()) } else { self.0.read(node) }
    }

    fn shape(&self) -> Shape {
        Shape::OrNothing(Box::new(self.0.shape()))
    }

    fn limit(&self) -> String {
        self.0.limit()
    }
}

/// Different values of one kind.
pub struct List<S> {
    /// The kind of the items.
    pub of: S,
    /// The number of items.
    pub count: Limit<usize>,
}

impl<S: ScalarKind> List<S> {
    fn shape(&self) -> Shape {
        self.of.shape().list(self.count.min, self.count.max)
    }

    fn limit(&self) -> String {
        let items = count_of_items(&self.count);
        [self.of.limit(), items].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl<S: ScalarKind<Value: PartialEq>> SettingKind<Vec<S::Value>> for List<S> {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut Vec<S::Value>) {
        section.set_list(key, &self.count, setting, |node| self.of.read(node));
    }

    fn describe(&self, place: KeySlot<'_>, default: &Vec<S::Value>) {
        let items: Option<Vec<String>> = default.iter().map(|item| self.of.show(item)).collect();
        let preset = items.map_or(Preset::None, |items| Preset::Value(format!("[{}]", items.join(", "))));
        place.add(self.shape(), preset, &self.limit());
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &Vec<S::Value>) {
        place.list(setting.iter().map(|item| self.of.show(item)).collect());
    }
}

/// Different values of one kind, which must be written, and an example of them.
pub struct RequiredList<S>(pub List<S>, pub &'static str);

impl<S: ScalarKind<Value: PartialEq>> SettingKind<Vec<S::Value>> for RequiredList<S> {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut Vec<S::Value>) {
        *setting = section.require_list(key, self.1, &self.0.count, |node| self.0.of.read(node));
    }

    fn describe(&self, place: KeySlot<'_>, _: &Vec<S::Value>) {
        place.add(self.0.shape(), Preset::Required, &self.0.limit());
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &Vec<S::Value>) {
        place.list(setting.iter().map(|item| self.0.of.show(item)).collect());
    }
}

/// A section within the section.
pub struct Sub;

impl<T: Declared> SettingKind<T> for Sub {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut T) {
        if let Some(mut section) = section.section(key) {
            setting.read(&mut section);
        }
    }

    fn describe(&self, place: KeySlot<'_>, _: &T) {
        T::describe(&mut place.add_section(Shape::Section, Preset::None, ""));
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &T) {
        setting.show(&mut place.section());
    }
}

/// A section that has an effect only if this is true of it.
pub struct SubIf<T>(pub fn(&T) -> bool);

impl<T: Declared> SettingKind<Option<T>> for SubIf<T> {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut Option<T>) {
        if let Some(mut section) = section.section(key) {
            let mut read = T::default();
            read.read(&mut section);
            *setting = Some(read).filter(self.0);
        }
    }

    fn describe(&self, place: KeySlot<'_>, _: &Option<T>) {
        T::describe(&mut place.add_section(Shape::Section, Preset::None, ""));
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &Option<T>) {
        show_optional(place, setting.as_ref());
    }
}

/// Adds a section that is off without a value.
fn show_optional<T: Declared>(place: ShownKey<'_>, setting: Option<&T>) {
    match setting {
        Some(section) => section.show(&mut place.section()),
        None => place.off(),
    }
}

/// A section that has an effect if it is written, and that must not be empty then.
pub struct Filled;

impl<T: Declared> SettingKind<Option<T>> for Filled {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut Option<T>) {
        if let Some(mut section) = section.filled_section(key) {
            let mut read = T::default();
            read.read(&mut section);
            *setting = Some(read);
        }
    }

    fn describe(&self, place: KeySlot<'_>, _: &Option<T>) {
        T::describe(&mut place.add_section(Shape::Section, Preset::None, ""));
    }

    fn show_in(&self, place: ShownKey<'_>, setting: &Option<T>) {
        show_optional(place, setting.as_ref());
    }
}

/// A list of sections, each of which a function reads.
pub struct Items<T> {
    /// The number of items.
    pub count: Limit<usize>,
    /// Reads an item; looks for unknown keys itself. `None` if the item is wrong.
    pub read: fn(Section<'_>) -> Option<T>,
    /// Adds the keys of an item.
    pub keys: fn(&mut SectionKeys<'_>),
}

impl<T> SettingKind<Vec<T>> for Items<T> {
    fn set(&self, section: &mut Section<'_>, key: &str, setting: &mut Vec<T>) {
        for node in section.items(key, &self.count).unwrap_or_default() {
            setting.extend(section.item(key, node).and_then(self.read));
        }
    }

    fn describe(&self, place: KeySlot<'_>, _: &Vec<T>) {
        let shape = Shape::Section.list(self.count.min, self.count.max);
        (self.keys)(&mut place.add_section(shape, Preset::Value("[]".to_owned()), &count_of_items(&self.count)));
    }

    fn show_in(&self, place: ShownKey<'_>, _: &Vec<T>) {
        place.written();
    }
}

/// A value that the check of its section reads by itself; only its form is declared.
pub struct ByHand {
    shape: Shape,
    preset: Preset,
    limit: String,
}

impl ByHand {
    /// Returns the kind of values of this `shape`.
    pub fn of(shape: Shape) -> Self {
        ByHand { shape, preset: Preset::None, limit: String::new() }
    }

    /// Returns the kind of lists of values of this `shape`.
    pub fn list(shape: Shape, count: &Limit<usize>) -> Self {
        let limit = count_of_items(count);
        ByHand { shape: shape.list(count.min, count.max), preset: Preset::None, limit }
    }

    /// Returns the kind of values that `kind` reads.
    pub fn like(kind: &impl ScalarKind) -> Self {
        ByHand { shape: kind.shape(), preset: Preset::None, limit: kind.limit() }
    }

    /// Returns this kind for a key that must be written.
    pub fn required(self) -> Self {
        self.or(Preset::Required)
    }

    /// Adds the value of a key that is not written.
    #[expect(clippy::needless_pass_by_value, reason = "a reference to each literal would not be easier to read")]
    pub fn default(self, value: impl ToString) -> Self {
        self.or(Preset::Value(value.to_string()))
    }

    /// Adds what the reference says of a key that is not written.
    pub fn or(self, preset: Preset) -> Self {
        ByHand { preset, ..self }
    }
}

impl DescribedKey for ByHand {
    fn add(self, place: KeySlot<'_>) {
        place.add(self.shape, self.preset, &self.limit);
    }
}

/// A section, or a list of sections, that is read by hand and has these keys.
pub struct NestedKeys(pub ByHand, pub fn(&mut SectionKeys<'_>));

impl DescribedKey for NestedKeys {
    fn add(self, place: KeySlot<'_>) {
        self.1(&mut place.add_section(self.0.shape, self.0.preset, &self.0.limit));
    }
}

impl<T> SettingKind<T> for NestedKeys {
    fn set(&self, _: &mut Section<'_>, _: &str, _: &mut T) {}

    fn describe(&self, place: KeySlot<'_>, _: &T) {
        self.1(&mut place.add_section(self.0.shape.clone(), self.0.preset.clone(), &self.0.limit));
    }

    fn show_in(&self, place: ShownKey<'_>, _: &T) {
        place.written();
    }
}

impl<T> SettingKind<T> for ByHand {
    fn set(&self, _: &mut Section<'_>, _: &str, _: &mut T) {}

    fn describe(&self, place: KeySlot<'_>, _: &T) {
        place.add(self.shape.clone(), self.preset.clone(), &self.limit);
    }

    fn show_in(&self, place: ShownKey<'_>, _: &T) {
        place.written();
    }
}

/// Returns a sentence about the number of items in a list.
fn count_of_items(count: &Limit<usize>) -> String {
    match count.min {
        0 => format!("At most {} items: {}.", count.max, count.why),
        min => format!("{min} to {} items: {}.", count.max, count.why),
    }
}

/// Returns a sentence about a range and the reason for it.
pub(crate) fn of_range<T: Copy + Default + PartialEq>(limit: &Limit<T>, display: impl Fn(T) -> String) -> String {
    let Limit { min, max, why } = *limit;
    match min == T::default() {
        true => format!("At most {}: {why}.", display(max)),
        false => format!("{} to {}: {why}.", display(min), display(max)),
    }
}
