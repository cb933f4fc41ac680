//! Views over the bytes of scanned OTLP messages. A view reads only the fields that the caller needs, and copies
//! nothing.
//!
//! A view never fails, because the scan has checked the framing. On bytes that were not scanned, it stops at the first
//! malformed field.

#[cfg(test)]
mod tests;

use super::fields::{
    any_value, array_value, event, instrumentation_scope, key_value as pair, key_value_list, link, resource, span,
    status as span_status,
};
use super::wire::WireType::{Fixed64, Len, Varint};
use super::wire::{Reader, WireValue, key};

// The keys of the fields of a `KeyValue`.
const KEY: u8 = key(pair::KEY, Len) as u8;
const VALUE: u8 = key(pair::VALUE, Len) as u8;
// The keys of the fields of an `AnyValue`.
const STRING: u8 = key(any_value::STRING_VALUE, Len) as u8;
const BOOL: u8 = key(any_value::BOOL_VALUE, Varint) as u8;
const INT: u8 = key(any_value::INT_VALUE, Varint) as u8;
const DOUBLE: u8 = key(any_value::DOUBLE_VALUE, Fixed64) as u8;

/// An `AnyValue`. Strings are raw bytes, not checked for UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyValue<'a> {
    /// No value, or a value of an unknown kind.
    Empty,
    /// A `string_value` as raw bytes.
    String(&'a [u8]),
    /// A `bool_value`; any varint but 0 is true.
    Bool(bool),
    /// An `int_value` of 64 bits.
    Int(i64),
    /// A `double_value`, which may be NaN or infinite.
    Double(f64),
    /// An `array_value`, whose elements may be of different kinds.
    Array(Array<'a>),
    /// A `kvlist_value`, whose keys may repeat.
    KeyValues(Attributes<'a>),
    /// A `bytes_value`, which need not be text.
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// Returns true if there is no value or the value is an empty string or empty bytes.
    #[must_use]
    #[inline]
    pub fn is_blank(self) -> bool {
        matches!(self, AnyValue::String(b"") | AnyValue::Bytes(b"") | AnyValue::Empty)
    }

    /// Reads the message `AnyValue`. If it has several values, the last counts.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Reader::new(bytes);
        let mut value = AnyValue::Empty;
        while let Ok(Some(field)) = reader.field() {
            value = match field {
                (any_value::STRING_VALUE, WireValue::Len(v)) => AnyValue::String(v),
                (any_value::BOOL_VALUE, WireValue::Varint(v)) => AnyValue::Bool(v != 0),
                (any_value::INT_VALUE, WireValue::Varint(v)) => AnyValue::Int(v.cast_signed()),
                (any_value::DOUBLE_VALUE, WireValue::Fixed64(v)) => AnyValue::Double(f64::from_bits(v)),
                (any_value::ARRAY_VALUE, WireValue::Len(v)) => AnyValue::Array(Array { bytes: v }),
                (any_value::KVLIST_VALUE, WireValue::Len(v)) => {
                    AnyValue::KeyValues(Attributes { bytes: v, field: key_value_list::VALUES })
                }
                (any_value::BYTES_VALUE, WireValue::Len(v)) => AnyValue::Bytes(v),
                // An index into a table that only profiles have.
                (any_value::STRING_VALUE_STRINDEX, WireValue::Varint(_)) => AnyValue::Empty,
                _ => continue,
            };
        }
        value
    }
}

/// The elements of an `ArrayValue`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Returns the elements in the order of the message.
    pub fn iter(self) -> impl Iterator<Item = AnyValue<'a>> + Clone {
        submessages(self.bytes, array_value::VALUES).map(AnyValue::new)
    }
}

/// A list of `KeyValue`: the attributes of a message, or the pairs of a `KeyValueList`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    field: u32,
}

impl<'a> Attributes<'a> {
    /// Returns the attributes of a `Resource`.
    #[must_use]
    pub fn of_resource(resource: &'a [u8]) -> Self {
        Attributes { bytes: resource, field: resource::ATTRIBUTES }
    }

    /// Returns the attributes of an `InstrumentationScope`.
    #[must_use]
    pub fn of_scope(scope: &'a [u8]) -> Self {
        Attributes { bytes: scope, field: instrumentation_scope::ATTRIBUTES }
    }

    /// Returns the attributes of a `Span`.
    #[must_use]
    pub fn of_span(span: &'a [u8]) -> Self {
        Attributes { bytes: span, field: span::ATTRIBUTES }
    }

    /// Returns the attributes of a `Span.Event`.
    #[must_use]
    pub fn of_event(event: &'a [u8]) -> Self {
        Attributes { bytes: event, field: event::ATTRIBUTES }
    }

    /// Returns the attributes of a `Span.Link`.
    #[must_use]
    pub fn of_link(link: &'a [u8]) -> Self {
        Attributes { bytes: link, field: link::ATTRIBUTES }
    }

    /// Returns keys (raw bytes) and values in the order of the message. A key that was sent twice is returned twice.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], AnyValue<'a>)> + Clone {
        submessages(self.bytes, self.field).map(key_value)
    }
}

/// Reads the message `KeyValue` into its key (raw bytes) and value.
#[must_use]
#[inline]
pub fn key_value(bytes: &[u8]) -> (&[u8], AnyValue<'_>) {
    plain_key_value(bytes).unwrap_or_else(|| any_key_value(bytes))
}

/// Reads a `KeyValue` in the form that nearly all senders write: first the key, then a value that is a string, a bool
/// or a number. Key and value must be under 128 bytes, so that each length is one byte. Returns `None` for any other
/// form. The function is always inlined, so that the result is not returned through memory.
#[inline(always)]
#[must_use]
pub fn plain_key_value(bytes: &[u8]) -> Option<(&[u8], AnyValue<'_>)> {
    let [KEY, key_len @ ..0x80, rest @ ..] = bytes else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let [VALUE, value_len @ ..0x80, value @ ..] = rest else { return None };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let value = match value {
        [STRING, len, text @ ..] if text.len() == usize::from(*len) => AnyValue::String(text),
        [BOOL, v @ ..2] => AnyValue::Bool(*v == 1),
        [INT, varint @ ..] => {
            let mut reader = Reader::new(varint);
            let v = reader.varint().ok().filter(|_| reader.is_empty())?;
            AnyValue::Int(v.cast_signed())
        }
        [DOUBLE, fixed64 @ ..] => AnyValue::Double(f64::from_le_bytes(fixed64.try_into().ok()?)),
        _ => return None,
    };
    Some((key, value))
}

fn any_key_value(bytes: &[u8]) -> (&[u8], AnyValue<'_>) {
    let mut reader = Reader::new(bytes);
    let (mut key, mut value) = (&[][..], AnyValue::Empty);
    while let Ok(Some(field)) = reader.field() {
        match field {
            (pair::KEY, WireValue::Len(v)) => key = v,
            (pair::VALUE, WireValue::Len(v)) => value = AnyValue::new(v),
            _ => {}
        }
    }
    (key, value)
}

/// Returns the first `max` bytes of a string, or no bytes for any other value.
#[must_use]
pub fn text_start(value: AnyValue<'_>, max: usize) -> &[u8] {
    if let AnyValue::String(text) = value { &text[..text.len().min(max)] } else { &[] }
}

/// The fields of a span that show its place in its trace. Each is 0 if it is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The `span_id`, read as a big-endian number.
    pub span_id: u64,
    /// The `parent_span_id`, read as a big-endian number; 0 for a root.
    pub parent_span_id: u64,
    /// The `kind`: a number of `SpanKind`, or any other number that the sender wrote.
    pub kind: i32,
    /// The `flags`: the W3C trace flags and the bits that OTLP adds.
    pub flags: u32,
    /// The `start_time_unix_nano`: nanoseconds since 1970.
    pub start_unix_nano: u64,
}

/// Returns the id of a `Span` and the id of its parent, which is 0 if it has none. It stops reading once it has both,
/// which is early, because senders write them first. It does not see repeated fields after that point, but no sender
/// repeats these fields.
#[must_use]
pub fn ids(span: &[u8]) -> (u64, u64) {
    let mut reader = Reader::new(span);
    let (mut span_id, mut parent_span_id) = (0, 0);
    while span_id == 0 || parent_span_id == 0 {
        // A root span is read to its end.
        reader.skip_short(ATTRIBUTES, |_| true);
        match reader.field() {
            Ok(Some((span::SPAN_ID, WireValue::Len(v)))) => span_id = id(v),
            Ok(Some((span::PARENT_SPAN_ID, WireValue::Len(v)))) => parent_span_id = id(v),
            Ok(Some(_)) => {}
            _ => break,
        }
    }
    (span_id, parent_span_id)
}

/// The key of an attribute of a `Span`.
const ATTRIBUTES: u8 = key(span::ATTRIBUTES, Len) as u8;

fn id(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// Reads the lineage of a `Span`.
#[must_use]
pub fn lineage(span: &[u8]) -> Lineage {
    let mut reader = Reader::new(span);
    let mut lineage = Lineage::default();
    while let Ok(Some(field)) = reader.field() {
        match field {
            (span::SPAN_ID, WireValue::Len(v)) => lineage.span_id = id(v),
            (span::PARENT_SPAN_ID, WireValue::Len(v)) => lineage.parent_span_id = id(v),
            (span::KIND, WireValue::Varint(v)) => lineage.kind = v as i32,
            (span::START_TIME_UNIX_NANO, WireValue::Fixed64(v)) => lineage.start_unix_nano = v,
            (span::FLAGS, WireValue::Fixed32(v)) => lineage.flags = v,
            _ => {}
        }
    }
    lineage
}

/// Returns the contents of every length-delimited field `number` of a message, in the order of the message.
pub fn submessages(bytes: &[u8], number: u32) -> impl Iterator<Item = &[u8]> + Clone {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        loop {
            match reader.field() {
                Ok(Some((n, WireValue::Len(v)))) if n == number => return Some(v),
                Ok(Some(_)) => {}
                _ => return None,
            }
        }
    })
}

/// Returns the name and version (raw bytes) of an `InstrumentationScope`.
#[must_use]
pub fn scope_name_version(scope: &[u8]) -> (&[u8], &[u8]) {
    let mut reader = Reader::new(scope);
    let (mut name, mut version) = (&[][..], &[][..]);
    while let Ok(Some(field)) = reader.field() {
        match field {
            (instrumentation_scope::NAME, WireValue::Len(v)) => name = v,
            (instrumentation_scope::VERSION, WireValue::Len(v)) => version = v,
            _ => {}
        }
    }
    (name, version)
}

/// Returns the time (nanoseconds since 1970; 0 if not set) and the name (raw bytes) of a `Span.Event`.
#[must_use]
pub fn event_time_name(event: &[u8]) -> (u64, &[u8]) {
    let mut reader = Reader::new(event);
    let (mut time_unix_nano, mut name) = (0, &[][..]);
    while let Ok(Some(field)) = reader.field() {
        match field {
            (event::TIME_UNIX_NANO, WireValue::Fixed64(v)) => time_unix_nano = v,
            (event::NAME, WireValue::Len(v)) => name = v,
            _ => {}
        }
    }
    (time_unix_nano, name)
}

/// The field `Status.code` of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusCode {
    /// `STATUS_CODE_UNSET`, or a code that OTLP does not define.
    #[default]
    Unset,
    /// `STATUS_CODE_OK` (1).
    Ok,
    /// `STATUS_CODE_ERROR` (2).
    Error,
}

/// Returns the code and the message (raw bytes) of a `Status`.
#[must_use]
pub fn status(bytes: &[u8]) -> (StatusCode, &[u8]) {
    let mut reader = Reader::new(bytes);
    let (mut code, mut message) = (StatusCode::Unset, &[][..]);
    while let Ok(Some(field)) = reader.field() {
        match field {
            (span_status::MESSAGE, WireValue::Len(v)) => message = v,
            (span_status::CODE, WireValue::Varint(v)) => code = status_code(v),
            _ => {}
        }
    }
    (code, message)
}

/// Returns the status code for the varint `v`. The value of a protobuf enum is the low 32 bits of its varint.
#[must_use]
#[inline]
pub fn status_code(v: u64) -> StatusCode {
    match v & 0xffff_ffff {
        1 => StatusCode::Ok,
        2 => StatusCode::Error,
        _ => StatusCode::Unset,
    }
}
