//! The values of terms during the evaluation of a formula.

use std::borrow::Cow;
use std::fmt::Write;

use super::{Constant, FieldType};
use crate::condition::DoubleText;
use crate::otlp::view::{AnyValue, Array, Attributes};

/// The most elements of a list that a function makes, and the most entries of a map that is compared. More are an
/// error, because an element can take about ten times as much memory as its encoded bytes.
pub(super) const ELEMENTS_MAX: usize = 1024;

/// The most bytes of a text that a function makes; more are an error. Cloud Trace accepts values of this size.
pub(super) const TEXT_BYTES_MAX: usize = 65_536;

/// An iterator over the entries of a map.
type MapEntries<'v, 'a> = Box<dyn Iterator<Item = (&'a [u8], Val<'a>)> + 'v>;

/// A value. Strings are raw bytes as the sender sent them; they may be invalid UTF-8.
#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Nil,
    /// A time that is not set. It compares as 0, and arithmetic with it gives nil.
    Unset,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, [u8]>),
    Bytes(&'a [u8]),
    List(Array<'a>),
    MadeList(Vec<Val<'a>>),
    Map(Attributes<'a>),
    MadeMap(Vec<(&'a [u8], Val<'a>)>),
    /// A time, in nanoseconds since 1970.
    Time(i64),
    /// A duration, in nanoseconds.
    Duration(i64),
    Id(&'a [u8]),
}

impl<'a> Val<'a> {
    pub(super) fn of_constant(constant: &'a Constant) -> Self {
        match constant {
            Constant::Nil => Val::Nil,
            Constant::Bool(value) => Val::Bool(*value),
            Constant::Int(value) => Val::Int(*value),
            Constant::Double(value) => Val::Double(*value),
            Constant::Text(text) => Val::text(text.as_bytes()),
            Constant::Bytes(bytes) => Val::Bytes(bytes),
            Constant::Duration(nanoseconds) => Val::Duration(*nanoseconds),
            Constant::Id(bytes) => Val::Id(bytes),
        }
    }

    pub(super) fn of_field(value: AnyValue<'a>, field_type: FieldType) -> Self {
        match (field_type, value) {
            (FieldType::Attribute, value) => Val::of(value),
            (FieldType::Text, AnyValue::String(text)) => Val::text(text),
            (FieldType::Text, _) => Val::text(b""),
            (FieldType::UnixNano | FieldType::Time, AnyValue::Int(0)) => Val::Unset,
            (FieldType::Int | FieldType::UnixNano, AnyValue::Int(value)) => Val::Int(value),
            (FieldType::Int, _) => Val::Int(0),
            (FieldType::Time, AnyValue::Int(value)) => Val::Time(value),
            (FieldType::UnixNano | FieldType::Time, _) => Val::Unset,
            (FieldType::Id(length), AnyValue::Bytes(bytes)) if bytes.len() == length => Val::Id(bytes),
            (FieldType::Id(length), _) => Val::Id(&[0; 16][..length.min(16)]),
            (FieldType::IdText(length), AnyValue::Bytes(bytes)) if bytes.len() == length => hexadecimal(bytes),
            (FieldType::IdText(length), _) => hexadecimal(&[0; 16][..length.min(16)]),
            (FieldType::Name(names), AnyValue::Int(number)) => {
                let name = usize::try_from(number).ok().and_then(|number| names.get(number).copied());
                Val::text(name.unwrap_or_default().as_bytes())
            }
            (FieldType::Name(names), _) => Val::text(names[0].as_bytes()),
        }
    }

    pub(super) fn of(value: AnyValue<'a>) -> Self {
        match value {
            AnyValue::Empty => Val::Nil,
            AnyValue::String(text) => Val::text(text),
            AnyValue::Bool(value) => Val::Bool(value),
            AnyValue::Int(value) => Val::Int(value),
            AnyValue::Double(value) => Val::Double(value),
            AnyValue::Array(list) => Val::List(list),
            AnyValue::KeyValues(map) => Val::Map(map),
            AnyValue::Bytes(bytes) => Val::Bytes(bytes),
        }
    }

    pub(super) fn text(text: &'a [u8]) -> Self {
        Val::Text(Cow::Borrowed(text))
    }

    /// Makes the value of a text that a function made. It is an error if the text is too long.
    pub(super) fn made_text(text: Vec<u8>) -> Option<Self> {
        (text.len() <= TEXT_BYTES_MAX).then_some(Val::Text(Cow::Owned(text)))
    }

    /// Makes a list. It is an error if the list is too long or an element is an error.
    pub(super) fn made_list(elements: impl Iterator<Item = Option<Val<'a>>>) -> Option<Self> {
        let elements: Vec<Val<'a>> = elements.take(ELEMENTS_MAX + 1).collect::<Option<_>>()?;
        (elements.len() <= ELEMENTS_MAX).then_some(Val::MadeList(elements))
    }

    /// Returns the value under a key of a map; nil if the map does not have the key, or if the value is nil and not a
    /// map. Any other type is an error.
    pub(super) fn key(self, key: &str) -> Option<Self> {
        let key = key.as_bytes();
        match self {
            Val::Nil => Some(Val::Nil),
            Val::Map(map) => {
                Some(map.iter().find(|(own, _)| *own == key).map_or(Val::Nil, |(_, value)| Val::of(value)))
            }
            Val::MadeMap(map) => {
                Some(map.into_iter().find(|(own, _)| *own == key).map_or(Val::Nil, |(_, value)| value))
            }
            _ => None,
        }
    }

    /// Returns an element of a list; nil if the value is nil and not a list. An index beyond the end and any other type
    /// are errors.
    pub(super) fn element(self, index: usize) -> Option<Self> {
        match self {
            Val::Nil => Some(Val::Nil),
            Val::List(list) => list.iter().nth(index).map(Val::of),
            Val::MadeList(list) => list.into_iter().nth(index),
            _ => None,
        }
    }

    /// Returns the elements of a list; `None` if the value is not a list.
    pub(super) fn elements(&self) -> Option<Box<dyn Iterator<Item = Val<'a>> + '_>> {
        match self {
            Val::List(list) => Some(Box::new(list.iter().map(Val::of))),
            Val::MadeList(list) => Some(Box::new(list.iter().cloned())),
            _ => None,
        }
    }

    /// Returns the entries of a map; `None` if the value is not a map.
    pub(super) fn entries(&self) -> Option<MapEntries<'_, 'a>> {
        match self {
            Val::Map(map) => Some(Box::new(map.iter().map(|(key, value)| (key, Val::of(value))))),
            Val::MadeMap(map) => Some(Box::new(map.iter().cloned())),
            _ => None,
        }
    }

    /// Returns the text of a value, as `StandardStringLikeGetter` writes it; `Some(None)` for nil. Lists, maps, bytes,
    /// ids, times and durations have no text here: `None`.
    pub(super) fn as_text(&self) -> Option<Option<Cow<'a, [u8]>>> {
        let owned = |text: String| Some(Some(Cow::Owned(text.into_bytes())));
        match self {
            Val::Nil => Some(None),
            Val::Text(text) => Some(Some(text.clone())),
            Val::Bool(value) => owned(value.to_string()),
            Val::Int(value) => owned(value.to_string()),
            Val::Double(value) => owned(DoubleText(*value).to_string()),
            Val::Unset => owned("0".to_owned()),
            _ => None,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> Val<'static> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Val::Text(Cow::Owned(text.into_bytes()))
}
