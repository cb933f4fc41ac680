//! Protobuf messages and spans written by hand, with content that no library would write.

use crate::support::{MS, now_ns};

pub const TRACE: [u8; 16] = [0x5a; 16];
pub const SPAN: [u8; 8] = [0x77; 8];

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn key(number: u64, wire_type: u64) -> Vec<u8> {
    varint(number << 3 | wire_type)
}

/// Encodes a length-delimited field.
pub fn len(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [key(number, 2), varint(content.len() as u64), content.to_vec()].concat()
}

pub fn int(number: u64, value: u64) -> Vec<u8> {
    [key(number, 0), varint(value)].concat()
}

pub fn fixed64(number: u64, value: u64) -> Vec<u8> {
    [&key(number, 1)[..], &value.to_le_bytes()].concat()
}

/// Encodes an empty group: its start tag and its end tag.
pub fn group(number: u64) -> Vec<u8> {
    [key(number, 3), key(number, 4)].concat()
}

pub fn ids(trace: &[u8], span: &[u8]) -> Vec<u8> {
    [len(1, trace), len(2, span)].concat()
}

pub fn name(name: impl AsRef<[u8]>) -> Vec<u8> {
    len(5, name)
}

pub fn times(start: u64, end: u64) -> Vec<u8> {
    [fixed64(7, start), fixed64(8, end)].concat()
}

pub fn recent() -> Vec<u8> {
    times(now_ns() - 5 * MS, now_ns())
}

/// Encodes the content of a valid span, followed by `more`.
pub fn good_and(more: impl AsRef<[u8]>) -> Vec<u8> {
    [&ids(&TRACE, &SPAN)[..], &name("good"), &recent(), more.as_ref()].concat()
}

/// Encodes an attribute of a span. `value` is an encoded `AnyValue`.
pub fn attribute(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    len(9, [len(1, key), len(2, value)].concat())
}

/// Encodes an `AnyValue` that is a string.
pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    len(1, text)
}

pub fn double(value: f64) -> Vec<u8> {
    fixed64(4, value.to_bits())
}

/// Encodes an `AnyValue` of `depth` nested lists.
pub fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(text("core"), |value, _| len(5, len(1, value)))
}

/// Encodes a request with these spans. `beside` stands before them in their `ResourceSpans`.
pub fn request_of(spans: &[Vec<u8>], beside: impl AsRef<[u8]>) -> Vec<u8> {
    let spans = spans.iter().map(|span| len(2, span)).collect::<Vec<_>>().concat();
    len(1, [beside.as_ref(), &len(2, spans)].concat())
}

pub fn request(spans: &[Vec<u8>]) -> Vec<u8> {
    request_of(spans, [])
}

/// Returns a span in OTLP/JSON whose attribute `a` is `value`.
pub fn json(value: &str) -> Vec<u8> {
    let (start, end) = (now_ns() - 5 * MS, now_ns());
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","name":"good",
        "startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","attributes":[{{"key":"a","value":{value}}}]}}]}}]}}]}}"#,
        "5a".repeat(16),
        "77".repeat(8)
    )
    .into()
}
