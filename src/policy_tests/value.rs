//! Values of attributes as people write and read them: `504`, `0.5`, `true`, `text`, `"504"`, `[1, 2]`, `{"a": 1}`,
//! `base64:AQID`, `null`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::otlp::view::AnyValue;
use crate::policy_tests::trace_text::is_word;
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::node::{Node, NodeValue, ScalarType};
use crate::settings::values::{self, Read};

/// The prefix of bytes.
const BYTES: &str = "base64:";

/// The value of an attribute, of any type that OTLP has.
#[derive(Clone, Debug, PartialEq)]
pub enum TextValue {
    /// No value: an `AnyValue` in which no field is set.
    Empty,
    /// A string.
    String(String),
    /// A boolean.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<TextValue>),
    /// A map.
    Map(Vec<(String, TextValue)>),
}

impl TextValue {
    /// Reads a value as it stands behind `=`.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingError> {
        if let Some(encoded) = text.strip_prefix(BYTES) {
            let bytes = STANDARD.decode(encoded);
            return bytes.map(TextValue::Bytes).map_err(|_| {
                SettingError::new(format!("{} is not base64", quote(encoded)))
                    .help("quote the value if it is a text that begins with `base64:`")
            });
        }
        if text.starts_with(['"', '[', '{']) {
            let json = serde_json::from_str(text).map_err(|_| {
                SettingError::new(format!("{} is not valid JSON", quote(text)))
                    .help("texts, lists and maps are written as in JSON: `\"a\"`, `[1, 2]`, `{\"a\": 1}`")
            })?;
            return Ok(TextValue::of_json(json));
        }
        Ok(TextValue::of_scalar(text, ScalarType::of_plain(text)))
    }

    /// Reads a value of the configuration.
    pub(crate) fn of_node(node: &Node) -> Read<Self> {
        match &node.value {
            NodeValue::Scalar(scalar) if scalar.kind != ScalarType::Null => {
                Ok(TextValue::of_scalar(&scalar.text, values::kind(node)))
            }
            NodeValue::Scalar(_) | NodeValue::Broken => {
                Err(values::expected("a value", node).help("write `\"\"` for an empty text"))
            }
            NodeValue::Seq(items) => {
                items.iter().map(|item| TextValue::of_node(item)).collect::<Read<_>>().map(TextValue::List)
            }
            NodeValue::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| Ok((key.name.clone(), TextValue::of_node(value)?)));
                entries.collect::<Read<_>>().map(TextValue::Map)
            }
        }
    }

    fn of_scalar(text: &str, kind: ScalarType) -> Self {
        match kind {
            ScalarType::Bool(value) => TextValue::Bool(value),
            ScalarType::Int(value) => TextValue::Int(value),
            ScalarType::Float(value) => TextValue::Double(value),
            ScalarType::Null => TextValue::Empty,
            ScalarType::Text => TextValue::String(text.to_owned()),
        }
    }

    fn of_json(json: Json) -> Self {
        match json {
            Json::Null => TextValue::Empty,
            Json::Bool(value) => TextValue::Bool(value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => TextValue::Int(value),
                None => TextValue::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => TextValue::String(text),
            Json::Array(items) => TextValue::List(items.into_iter().map(TextValue::of_json).collect()),
            Json::Object(entries) => {
                TextValue::Map(entries.into_iter().map(|(key, value)| (key, TextValue::of_json(value))).collect())
            }
        }
    }

    /// Returns the value of an encoded attribute. Text that is not UTF-8 is mended.
    #[must_use]
    pub fn of_any_value(value: AnyValue<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match value {
            AnyValue::Empty => TextValue::Empty,
            AnyValue::String(v) => TextValue::String(text(v)),
            AnyValue::Bool(v) => TextValue::Bool(v),
            AnyValue::Int(v) => TextValue::Int(v),
            AnyValue::Double(v) => TextValue::Double(v),
            AnyValue::Bytes(v) => TextValue::Bytes(v.to_vec()),
            AnyValue::Array(v) => TextValue::List(v.iter().map(TextValue::of_any_value).collect()),
            AnyValue::KeyValues(v) => {
                TextValue::Map(v.iter().map(|(key, value)| (text(key), TextValue::of_any_value(value))).collect())
            }
        }
    }

    /// Returns the bytes that the value takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            TextValue::String(text) => text.len(),
            TextValue::Bytes(bytes) => bytes.len(),
            TextValue::Empty | TextValue::Bool(_) | TextValue::Int(_) | TextValue::Double(_) => 0,
            TextValue::List(items) => items.iter().map(|item| size_of::<TextValue>() + item.heap_bytes()).sum(),
            TextValue::Map(entries) => entries
                .iter()
                .map(|(key, value)| size_of::<(String, TextValue)>() + key.len() + value.heap_bytes())
                .sum(),
        }
    }

    /// Returns the value as JSON. Bytes become text in base64.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            TextValue::Empty => Json::Null,
            TextValue::String(text) => Json::from(text.as_str()),
            TextValue::Bool(value) => Json::from(*value),
            TextValue::Int(value) => Json::from(*value),
            // JSON has no infinite numbers.
            TextValue::Double(value) if !value.is_finite() => Json::from(value.to_string()),
            TextValue::Double(value) => Json::from(*value),
            TextValue::Bytes(bytes) => Json::from(format!("{BYTES}{}", STANDARD.encode(bytes))),
            TextValue::List(items) => items.iter().map(TextValue::to_json).collect(),
            TextValue::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
        }
    }
}

impl fmt::Display for TextValue {
    /// Writes the value as it can stand behind `=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextValue::String(text) => {
                let is_plain = !text.is_empty()
                    && !text.starts_with(['"', '[', '{'])
                    && !text.starts_with(BYTES)
                    && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
                    && is_word(text)
                    && ScalarType::of_plain(text) == ScalarType::Text;
                if is_plain { f.write_str(text) } else { write!(f, "{}", Json::from(text.as_str())) }
            }
            TextValue::Bytes(bytes) => write!(f, "{BYTES}{}", STANDARD.encode(bytes)),
            TextValue::Double(value) if value.is_nan() => f.write_str(".nan"),
            TextValue::Double(value) if value.is_infinite() => f.write_str(if *value > 0.0 { ".inf" } else { "-.inf" }),
            TextValue::Double(value) if value.fract() == 0.0 => write!(f, "{value:.1}"),
            TextValue::Double(value) => write!(f, "{value}"),
            _ => write!(f, "{}", self.to_json()),
        }
    }
}
