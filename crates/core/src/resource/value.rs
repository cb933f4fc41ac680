//! Encoded `AnyValue` messages: literals, hashes, conversions.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::condition::DoubleText;
use crate::otlp::fields::{any_value, array_value, key_value, key_value_list};
use crate::otlp::view::AnyValue;
use crate::otlp::write;
use crate::resource::settings::{ConvertedType, LiteralValue};

/// Encodes a literal of the configuration.
pub(super) fn literal(value: &LiteralValue) -> Vec<u8> {
    match value {
        LiteralValue::String(text) => string(text),
        LiteralValue::Int(number) => int(*number),
        LiteralValue::Double(number) => double(*number),
        LiteralValue::Bool(value) => varint(any_value::BOOL_VALUE, u64::from(*value)),
        LiteralValue::List(values) => {
            submessages(any_value::ARRAY_VALUE, array_value::VALUES, values.iter().map(literal))
        }
        LiteralValue::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| entry(key, value));
            submessages(any_value::KVLIST_VALUE, key_value_list::VALUES, entries)
        }
        LiteralValue::Nothing => Vec::new(),
    }
}

/// Encodes a list or a map. Each of its elements is a field `number` of the message in `field`.
fn submessages(field: u32, number: u32, elements: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let (mut inner, mut message) = (Vec::new(), Vec::new());
    elements.for_each(|element| write::bytes(&mut inner, number, &element));
    write::bytes(&mut message, field, &inner);
    message
}

/// Encodes a `KeyValue` message.
fn entry(key: &str, value: &LiteralValue) -> Vec<u8> {
    let mut message = Vec::new();
    write::bytes(&mut message, key_value::KEY, key.as_bytes());
    write::bytes(&mut message, key_value::VALUE, &literal(value));
    message
}

pub(super) fn string(text: &str) -> Vec<u8> {
    bytes_as_string(text.as_bytes())
}

/// Encodes a string, or a part of one, that a sender sent. It may contain invalid UTF-8.
pub(super) fn bytes_as_string(text: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(text.len() + 6);
    write::bytes(&mut message, any_value::STRING_VALUE, text);
    message
}

fn int(number: i64) -> Vec<u8> {
    varint(any_value::INT_VALUE, number.cast_unsigned())
}

fn double(number: f64) -> Vec<u8> {
    let mut message = Vec::with_capacity(9);
    write::double(&mut message, any_value::DOUBLE_VALUE, number);
    message
}

fn varint(field: u32, value: u64) -> Vec<u8> {
    let mut message = Vec::new();
    write::varint(&mut message, field, value);
    message
}

/// Returns the SHA-256 of a value as lower-case hex, like the Collector's `hash` (`attraction/hasher.go`). The hash
/// covers the bytes of a string, one byte for a boolean, and eight little-endian bytes for a number. Bytes, lists, maps
/// and an empty value become an empty string.
pub(super) fn hashed(value: AnyValue<'_>) -> Vec<u8> {
    let eight;
    let bytes = match value {
        AnyValue::String(text) => text,
        AnyValue::Bool(false) => &[0],
        AnyValue::Bool(true) => &[1],
        AnyValue::Int(number) => {
            eight = number.to_le_bytes();
            &eight
        }
        AnyValue::Double(number) => {
            eight = number.to_le_bytes();
            &eight
        }
        _ => return string(""),
    };
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    string(&hex)
}

/// Converts a value to another type (`attraction/type_converter.go`). Returns `None` if the value has that type already
/// or cannot be converted. Lists and maps are not converted: Cloud Trace shows them as text anyway.
pub(super) fn converted(value: AnyValue<'_>, to: ConvertedType) -> Option<Vec<u8>> {
    match to {
        ConvertedType::String => as_text(value).map(|text| string(&text)),
        ConvertedType::Int => as_int(value).map(int),
        ConvertedType::Double => as_double(value).map(double),
    }
}

fn as_text(value: AnyValue<'_>) -> Option<String> {
    match value {
        AnyValue::Bool(value) => Some(value.to_string()),
        AnyValue::Int(number) => Some(number.to_string()),
        AnyValue::Double(number) => Some(DoubleText(number).to_string()),
        AnyValue::Bytes(bytes) => Some(STANDARD.encode(bytes)),
        AnyValue::Empty => Some(String::new()),
        _ => None,
    }
}

fn as_int(value: AnyValue<'_>) -> Option<i64> {
    match value {
        AnyValue::Bool(value) => Some(i64::from(value)),
        // Rounds towards zero, and saturates if the number does not fit.
        AnyValue::Double(number) => Some(number as i64),
        AnyValue::String(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn as_double(value: AnyValue<'_>) -> Option<f64> {
    match value {
        AnyValue::Bool(value) => Some(f64::from(u8::from(value))),
        AnyValue::Int(number) => Some(number as f64),
        AnyValue::String(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
