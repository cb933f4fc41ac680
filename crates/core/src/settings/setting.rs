//! Keys as the reference and the schema describe them.

use super::suggest::join;

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its path; `[]` stands for each item of a list.
    pub path: String,
    /// The form of its value.
    pub shape: Shape,
    /// The value if the key is not written.
    pub preset: Preset,
    /// Its meaning, with the range and the reason for it.
    pub text: String,
}

/// The value of a key that is not written.
#[derive(Clone, Debug, PartialEq)]
pub enum Preset {
    /// No value.
    None,
    /// An error: the key must be written.
    Required,
    /// An error for the policies of the type that is called like the key.
    RequiredByType,
    /// This, as it would be written.
    Value(String),
    /// This, in words.
    Words(&'static str),
}

/// The form of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A section with the keys below this one.
    Section,
    /// A section with the keys of another path.
    Like(&'static str),
    /// A section of strings with keys that the operator chooses.
    OwnKeys,
    /// A list with a number of items in this range.
    List(Box<Shape>, usize, usize),
    /// One of two forms.
    Either(Box<Shape>, Box<Shape>),
    /// Any value.
    Any,
    /// True or false.
    Boolean,
    /// A whole number in this range.
    Integer(u64, u64),
    /// A number in this range.
    Number(f64, f64),
    /// A number in this range, which `%` may follow.
    Percentage(f64, f64),
    /// A time with its unit.
    Duration,
    /// An amount of bytes with its unit.
    Bytes,
    /// Bytes, or a percentage with `%`.
    Size,
    /// One of these names.
    Choice(Vec<&'static str>),
    /// One of these names, in lower or upper case.
    AnyCase(Vec<&'static str>),
    /// Text, and the word for it.
    Text(&'static str),
    /// As this, or nothing.
    OrNothing(Box<Shape>),
    /// As this. No message repeats the value.
    Secret(Box<Shape>),
}

impl Shape {
    /// Returns a list of up to `max` values of this shape.
    pub fn list(self, min: usize, max: usize) -> Shape {
        Shape::List(Box::new(self), min, max)
    }

    /// Returns true if no message may repeat the value.
    pub fn is_secret(&self) -> bool {
        match self {
            Shape::Secret(_) => true,
            Shape::List(item, ..) => item.is_secret(),
            _ => false,
        }
    }

    /// Returns the word for the form.
    pub fn word(&self) -> String {
        match self {
            Shape::Section | Shape::Like(_) | Shape::OwnKeys => "section".to_owned(),
            Shape::List(item, ..) => format!("list of {}", item.plural()),
            Shape::Either(one, other) => format!("{} or {}", one.word(), other.word()),
            Shape::Any => "any".to_owned(),
            Shape::Boolean => "boolean".to_owned(),
            Shape::Integer(..) => "whole number".to_owned(),
            Shape::Number(..) => "number".to_owned(),
            Shape::Percentage(..) => "percentage".to_owned(),
            Shape::Duration => "duration".to_owned(),
            Shape::Bytes => "size".to_owned(),
            Shape::Size => "size or percentage".to_owned(),
            Shape::Choice(_) | Shape::AnyCase(_) => "string".to_owned(),
            Shape::Text(word) => (*word).to_owned(),
            Shape::OrNothing(shape) | Shape::Secret(shape) => shape.word(),
        }
    }

    fn plural(&self) -> String {
        let word = self.word();
        if word.ends_with('s') { format!("{word}es") } else { format!("{word}s") }
    }
}

/// The keys of a section, in the order of their declaration.
pub struct SectionKeys<'a> {
    path: String,
    all: &'a mut Vec<Setting>,
}

impl<'a> SectionKeys<'a> {
    /// Returns the keys of the top level, which are added to `all`.
    pub fn top(all: &'a mut Vec<Setting>) -> Self {
        SectionKeys { path: String::new(), all }
    }

    /// Returns the place of the key `name` with the meaning `text`.
    pub fn at(&mut self, name: &str, text: &str) -> KeySlot<'_> {
        let words: Vec<&str> = text.split_whitespace().collect();
        KeySlot { path: join(&self.path, name), text: words.join(" "), all: self.all }
    }
}

/// The place of one key among all others.
pub struct KeySlot<'a> {
    path: String,
    text: String,
    all: &'a mut Vec<Setting>,
}

impl<'a> KeySlot<'a> {
    /// Adds the key. `limit` is a sentence about its range, or empty.
    pub fn add(self, shape: Shape, preset: Preset, limit: &str) {
        let text =
            [self.text.as_str(), limit].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
        self.all.push(Setting { path: self.path, shape, preset, text });
    }

    /// Adds the key, and returns the keys below it, or below each of its items.
    pub(crate) fn add_section(self, shape: Shape, preset: Preset, limit: &str) -> SectionKeys<'a> {
        let items = if matches!(shape, Shape::List(..)) { "[]" } else { "" };
        let path = format!("{}{items}", self.path);
        let text =
            [self.text.as_str(), limit].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
        self.all.push(Setting { path: self.path, shape, preset, text });
        SectionKeys { path, all: self.all }
    }
}
