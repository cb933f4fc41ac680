//! Kinds of values that are one node: booleans, numbers, sizes, durations, names and texts.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{ScalarKind, of_range};
use crate::settings::node::Node;
use crate::settings::setting::Shape;
use crate::settings::units::{display_bytes, display_duration};
use crate::settings::values::{self, Read};
use crate::settings::{Limit, Size};

/// True or false.
pub struct Bool;

impl ScalarKind for Bool {
    type Value = bool;

    fn read(&self, node: &Node) -> Read<bool> {
        values::boolean(node)
    }

    fn shape(&self) -> Shape {
        Shape::Boolean
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

/// A whole number.
pub struct WholeNumber<T>(Limit<u64>, PhantomData<T>);

impl<T> WholeNumber<T> {
    /// Returns the kind of numbers within `limit`.
    pub const fn within(limit: Limit<u64>) -> Self {
        WholeNumber(limit, PhantomData)
    }
}

impl<T: TryFrom<u64> + Display> ScalarKind for WholeNumber<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Read<T> {
        values::integer(node, &self.0).and_then(values::narrow)
    }

    fn shape(&self) -> Shape {
        Shape::Integer(self.0.min, self.0.max)
    }

    fn limit(&self) -> String {
        // The largest number that can be written is not a limit to speak of.
        if self.0.max >= i64::MAX as u64 { String::new() } else { of_range(&self.0, |value| value.to_string()) }
    }

    fn show(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

/// A number of bytes.
pub struct ByteCount<T>(Limit<u64>, PhantomData<T>);

impl<T> ByteCount<T> {
    /// Returns the kind of sizes within `limit`.
    pub const fn within(limit: Limit<u64>) -> Self {
        ByteCount(limit, PhantomData)
    }
}

impl<T: TryFrom<u64> + TryInto<u64> + Copy> ScalarKind for ByteCount<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Read<T> {
        values::bytes(node, &self.0).and_then(values::narrow)
    }

    fn shape(&self) -> Shape {
        Shape::Bytes
    }

    fn limit(&self) -> String {
        of_range(&self.0, display_bytes)
    }

    fn show(&self, value: &T) -> Option<String> {
        (*value).try_into().ok().map(display_bytes)
    }
}

/// A number of bytes, or a percentage.
pub struct Amount {
    /// The range of an amount in bytes.
    pub bytes: Limit<u64>,
    /// The range of a percentage.
    pub percents: RangeInclusive<f64>,
}

impl ScalarKind for Amount {
    type Value = Size;

    fn read(&self, node: &Node) -> Read<Size> {
        values::size(node, &self.bytes, &self.percents)
    }

    fn shape(&self) -> Shape {
        Shape::Size
    }

    fn limit(&self) -> String {
        let (start, end) = (self.percents.start(), self.percents.end());
        format!(
            "{start}% to {end}%, or {} to {}: {}.",
            display_bytes(self.bytes.min),
            display_bytes(self.bytes.max),
            self.bytes.why
        )
    }

    fn show(&self, value: &Size) -> Option<String> {
        Some(match value {
            Size::Bytes(bytes) => display_bytes(*bytes),
            Size::Percent(percent) => format!("{percent}%"),
        })
    }
}

/// A number, whole or not.
pub struct Decimal(pub Limit<f64>);

impl ScalarKind for Decimal {
    type Value = f64;

    fn read(&self, node: &Node) -> Read<f64> {
        values::decimal(node, &self.0)
    }

    fn shape(&self) -> Shape {
        Shape::Number(self.0.min, self.0.max)
    }

    fn limit(&self) -> String {
        of_range(&self.0, |value| value.to_string())
    }
}

/// A percentage; `%` may follow.
pub struct Percent(pub RangeInclusive<f64>);

impl ScalarKind for Percent {
    type Value = f64;

    fn read(&self, node: &Node) -> Read<f64> {
        values::percentage_within(node, &self.0)
    }

    fn shape(&self) -> Shape {
        Shape::Percentage(*self.0.start(), *self.0.end())
    }

    fn limit(&self) -> String {
        format!("{}% to {}%.", self.0.start(), self.0.end())
    }
}

/// A duration with its unit.
pub struct DurationKind(pub Limit<Duration>);

impl ScalarKind for DurationKind {
    type Value = Duration;

    fn read(&self, node: &Node) -> Read<Duration> {
        values::duration(node, &self.0)
    }

    fn shape(&self) -> Shape {
        Shape::Duration
    }

    fn limit(&self) -> String {
        of_range(&self.0, display_duration)
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some(display_duration(*value))
    }
}

/// One of several names, each of which stands for a value.
pub struct Choice<T: 'static> {
    what: &'static str,
    names: &'static [(&'static str, T)],
}

impl<T> Choice<T> {
    /// Returns the kind of the values with these `names`. Messages call them `what`.
    pub const fn of(what: &'static str, names: &'static [(&'static str, T)]) -> Self {
        Choice { what, names }
    }
}

impl<T: Copy + PartialEq> ScalarKind for Choice<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Read<T> {
        values::choice(node, self.what, self.names)
    }

    fn shape(&self) -> Shape {
        Shape::Choice(self.names.iter().map(|(name, _)| *name).collect())
    }

    fn show(&self, value: &T) -> Option<String> {
        self.names.iter().find(|(_, known)| known == value).map(|(name, _)| (*name).to_owned())
    }
}

/// A text that a function reads.
pub struct ParsedText<T> {
    /// The word for it in the reference.
    pub word: &'static str,
    /// Reads a value, or says what is wrong with it.
    pub read: fn(&Node) -> Read<T>,
}

impl<T: AsText> ScalarKind for ParsedText<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Read<T> {
        (self.read)(node)
    }

    fn shape(&self) -> Shape {
        Shape::Text(self.word)
    }

    fn show(&self, value: &T) -> Option<String> {
        value.as_text()
    }
}

/// A value that [`ParsedText`] shows as a text.
pub trait AsText {
    /// Returns the value as it is written; `None` if it cannot be shown.
    fn as_text(&self) -> Option<String> {
        None
    }
}

impl AsText for std::path::PathBuf {}

impl AsText for String {
    fn as_text(&self) -> Option<String> {
        let is_plain = self.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
        Some(if is_plain { self.clone() } else { format!("\"{self}\"") })
    }
}

/// An address to listen on.
pub const ADDRESS: ParsedText<String> = ParsedText { word: "address", read: values::address };

/// The key of an attribute.
pub const ATTRIBUTE_KEY: ParsedText<String> = ParsedText { word: "string", read: values::attribute_key };

/// A directory, which need not exist yet.
pub const DIRECTORY: ParsedText<std::path::PathBuf> = ParsedText { word: "path", read: values::directory };
