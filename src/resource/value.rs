//! Encoded `AnyValue` messages: literals, hashes, conversions.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, encode_key, encode_varint};
use sha2::{Digest, Sha256};

use crate::condition::DoubleText;
use crate::otlp::view::AnyValue;
use crate::otlp::write;
use crate::resource::settings::{AttributeValue, ConvertedType};

// The fields of `AnyValue` (opentelemetry-proto `common.proto`).
const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;
const DOUBLE: u32 = 4;
const LIST: u8 = 5;
const MAP: u8 = 6;

/// Encodes a literal of the configuration.
pub(super) fn literal(value: &AttributeValue) -> Vec<u8> {
    match value {
        AttributeValue::String(text) => string(text),
        AttributeValue::Int(number) => int(*number),
        AttributeValue::Double(number) => double(*number),
        AttributeValue::Bool(value) => varint(BOOL, u64::from(*value)),
        AttributeValue::List(values) => submessages(LIST, values.iter().map(literal)),
        AttributeValue::Map(entries) => submessages(MAP, entries.iter().map(|(key, value)| entry(key, value))),
        AttributeValue::Nothing => Vec::new(),
    }
}

/// Encodes a list or a map. Each of its elements is field 1 of the message in `field`.
fn submessages(field: u8, elements: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let (mut inner, mut message) = (Vec::new(), Vec::new());
    elements.for_each(|element| write::bytes(&mut inner, 1, &element));
    write::bytes(&mut message, field, &inner);
    message
}

/// Encodes a `KeyValue` message.
fn entry(key: &str, value: &AttributeValue) -> Vec<u8> {
    let mut message = Vec::new();
    write::bytes(&mut message, 1, key.as_bytes());
    write::bytes(&mut message, 2, &literal(value));
    message
}

pub(super) fn string(text: &str) -> Vec<u8> {
    bytes_as_string(text.as_bytes())
}

/// Encodes a string, or a part of one, that a sender sent. It may contain invalid UTF-8.
pub(super) fn bytes_as_string(text: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(text.len() + 6);
    encode_key(STRING, WireType::LengthDelimited, &mut message);
    encode_varint(text.len() as u64, &mut message);
    message.extend_from_slice(text);
    message
}

fn int(number: i64) -> Vec<u8> {
    varint(INT, number.cast_unsigned())
}

fn double(number: f64) -> Vec<u8> {
    let mut message = Vec::with_capacity(9);
    encode_key(DOUBLE, WireType::SixtyFourBit, &mut message);
    message.extend_from_slice(&number.to_le_bytes());
    message
}

fn varint(field: u32, value: u64) -> Vec<u8> {
    let mut message = Vec::new();
    encode_key(field, WireType::Varint, &mut message);
    encode_varint(value, &mut message);
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
