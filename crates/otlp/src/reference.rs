//! A second implementation of the scan, for tests and fuzzing. It reads the same facts from messages that prost
//! decoded.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod messages;

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use prost::Message;

pub use self::messages::*;
use super::scan::{Bits, Probe, RejectReason, Scan, SpanFact, SpanFields, scan};
use super::view::{self, Attributes, StatusCode};
use super::wire::WireError;
use super::{TraceId, trace_state};

/// Scans `body` and decodes it with prost. Returns true if both accept it, and panics if the two do not agree.
///
/// There is one known difference: the scan refuses groups, while prost skips groups in unknown fields.
pub fn assert_agreement(body: &[u8]) -> bool {
    let mut result = Scan::default();
    let scanned = scan(Bytes::copy_from_slice(body), &Fingerprint, &mut result);
    if scanned == Err(WireError::Group) {
        return false;
    }
    match (scanned, Request::decode(body)) {
        (Ok(canonical), Ok(request)) => {
            assert!(canonical.len() <= body.len());
            assert_same(&canonical, &result, &request);
            true
        }
        (Err(_), Err(_)) => {
            assert_eq!((result.span_count(), result.scopes.len()), (0, 0), "an error leaves nothing behind");
            false
        }
        (scanned, decoded) => panic!("scan: {:?}, prost: {:?}", scanned.map(|_| ()), decoded.map(|_| ())),
    }
}

fn assert_same(body: &[u8], result: &Scan, request: &Request) {
    let mut facts = result.facts.iter();
    let mut rejected = [0; RejectReason::ALL.len()];
    let mut scope = 0;
    for resource_spans in &request.resource_spans {
        let resource = resource_spans.resource.clone().unwrap_or_default();
        let resource_bits = bits_of(0, &resource.attributes);
        for scope_spans in &resource_spans.scope_spans {
            let group_bits = resource_bits | message_bit(3, &scope_spans.scope.clone().unwrap_or_default());
            let fact_count = facts.len();
            for span in &scope_spans.spans {
                match ids(span) {
                    Ok((trace_id, root)) => {
                        let fact = *facts.next().expect("a fact for each accepted span");
                        assert_eq!(fact, fact_of(span, trace_id, root, group_bits, scope, fact));
                        assert_span(fact.span.of(body), span);
                    }
                    Err(reason) => rejected[reason as usize] += 1,
                }
            }
            if facts.len() < fact_count {
                let place = result.scopes[scope as usize];
                assert_message(place.resource.of(body), &resource);
                assert_message(place.scope.of(body), &scope_spans.scope.clone().unwrap_or_default());
                let urls = [place.resource_schema_url, place.scope_schema_url].map(|url| url.of(body));
                assert_eq!(urls, [&*resource_spans.schema_url, &*scope_spans.schema_url]);
                scope += 1;
            }
        }
    }
    assert_eq!(facts.next(), None);
    assert_eq!(result.rejected, rejected);
    assert_eq!(result.scopes.len(), scope as usize);
}

/// Returns the fact that the scan should yield for `span`. Only the byte range of the span is taken from `found`.
fn fact_of(span: &Span, trace_id: TraceId, root: bool, group_bits: Bits, scope: u32, found: SpanFact) -> SpanFact {
    let status = span.status.clone().unwrap_or_default();
    SpanFact {
        trace_id,
        start_unix_nano: span.start_time_unix_nano,
        end_unix_nano: span.end_time_unix_nano,
        bits: group_bits | bits_of(1, &span.attributes) | fields_bit(&fields_of(span, &status)),
        randomness: trace_state::randomness(&span.trace_state),
        span: found.span,
        scope,
        root,
        error: status_code(&status) == StatusCode::Error,
    }
}

fn fields_of<'a>(span: &'a Span, status: &'a Status) -> SpanFields<'a> {
    SpanFields {
        message: &[],
        trace_id: &span.trace_id,
        span_id: &span.span_id,
        parent_span_id: &span.parent_span_id,
        trace_state: &span.trace_state,
        name: &span.name,
        kind: span.kind,
        start_unix_nano: span.start_time_unix_nano,
        end_unix_nano: span.end_time_unix_nano,
        status_code: status_code(status),
        status_message: &status.message,
        flags: span.flags,
    }
}

pub fn ids(span: &Span) -> Result<(TraceId, bool), RejectReason> {
    let zero = |id: &[u8]| id.iter().all(|&byte| byte == 0);
    if span.trace_id.len() != 16 || zero(&span.trace_id) {
        return Err(RejectReason::TraceId);
    }
    if span.span_id.len() != 8 || zero(&span.span_id) {
        return Err(RejectReason::SpanId);
    }
    if ![0, 8].contains(&span.parent_span_id.len()) {
        return Err(RejectReason::ParentSpanId);
    }
    let trace_id = span.trace_id.clone().try_into().map_err(|_| RejectReason::TraceId)?;
    Ok((TraceId(trace_id), zero(&span.parent_span_id)))
}

fn status_code(status: &Status) -> StatusCode {
    match status.code {
        1 => StatusCode::Ok,
        2 => StatusCode::Error,
        _ => StatusCode::Unset,
    }
}

/// Asserts that the bytes decode to the message. It compares the encodings, because a NaN is not equal to itself.
fn assert_message<M: Message + Default>(bytes: &[u8], message: &M) {
    let decoded = M::decode(bytes).expect("scanned bytes are well-formed");
    assert_eq!(decoded.encode_to_vec(), message.encode_to_vec());
}

/// Asserts that the bytes decode to the span, and that the views read the same values as prost.
fn assert_span(bytes: &[u8], span: &Span) {
    assert_message(bytes, span);
    assert_attributes(Attributes::of_span(bytes), &span.attributes);
    let events = view::submessages(bytes, 11).map(Attributes::of_event);
    events.zip(&span.events).for_each(|(view, event)| assert_attributes(view, &event.attributes));
    let links = view::submessages(bytes, 13).map(Attributes::of_link);
    links.zip(&span.links).for_each(|(view, link)| assert_attributes(view, &link.attributes));
    let status = span.status.clone().unwrap_or_default();
    let seen = view::submessages(bytes, 15).last().map(view::status).unwrap_or_default();
    assert_eq!(seen, (status_code(&status), &status.message[..]));
}

fn assert_attributes(view: Attributes<'_>, attributes: &[KeyValue]) {
    let seen = key_values_of_view(view);
    let expected = KeyValueList { values: attributes.iter().map(plain_key_value).collect() };
    assert_eq!(seen.encode_to_vec(), expected.encode_to_vec());
}

/// A probe that sets one bit for each item that the scan passes to it. An item that is wrong or missing changes the
/// bits.
pub struct Fingerprint;

impl Probe for Fingerprint {
    type Notes = Bits;

    fn notes(&self) -> Bits {
        0
    }

    fn resource_attribute(&self, notes: &mut Bits, key: &[u8], value: view::AnyValue<'_>) {
        *notes |= bit(0, key, &any_value_of_view(value));
    }

    fn asks_of_scopes(&self) -> bool {
        true
    }

    fn scope(&self, notes: &mut Bits, scope: &[u8]) {
        // The scan passes the scope before it checks it. A scope that does not decode is refused later, or it is a part
        // that will be merged.
        let scope = InstrumentationScope::decode(scope).unwrap_or_default();
        *notes |= message_bit(3, &scope);
    }

    fn span_attribute(&self, notes: &mut Bits, key: &[u8], value: view::AnyValue<'_>) {
        *notes |= bit(1, key, &any_value_of_view(value));
    }

    fn span(&self, notes: &mut Bits, span: &SpanFields<'_>) -> Bits {
        *notes | fields_bit(&SpanFields { message: &[], ..*span })
    }
}

fn bits_of(kind: u8, attributes: &[KeyValue]) -> Bits {
    let bits = attributes.iter().map(plain_key_value).map(|kv| bit(kind, &kv.key, &kv.value.unwrap_or_default()));
    bits.fold(0, |all, bit| all | bit)
}

fn bit(kind: u8, key: &[u8], value: &AnyValue) -> Bits {
    hash_bit((kind, key, value.encode_to_vec()))
}

fn message_bit(kind: u8, message: &impl Message) -> Bits {
    hash_bit((kind, message.encode_to_vec()))
}

fn fields_bit(span: &SpanFields<'_>) -> Bits {
    hash_bit((2, format!("{span:?}")))
}

fn hash_bit(value: impl Hash) -> Bits {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    1 << (hasher.finish() % u64::from(Bits::BITS))
}

fn any_value_of_view(value: view::AnyValue<'_>) -> AnyValue {
    let value = match value {
        view::AnyValue::Empty => None,
        view::AnyValue::String(v) => Some(Value::String(v.to_vec())),
        view::AnyValue::Bool(v) => Some(Value::Bool(v)),
        view::AnyValue::Int(v) => Some(Value::Int(v)),
        view::AnyValue::Double(v) => Some(Value::Double(v)),
        view::AnyValue::Array(v) => {
            Some(Value::Array(ArrayValue { values: v.iter().map(any_value_of_view).collect() }))
        }
        view::AnyValue::KeyValues(v) => Some(Value::KeyValues(key_values_of_view(v))),
        view::AnyValue::Bytes(v) => Some(Value::Bytes(v.to_vec())),
    };
    AnyValue { value }
}

fn key_values_of_view(attributes: Attributes<'_>) -> KeyValueList {
    let values = attributes.iter().map(|(key, value)| KeyValue {
        key: key.to_vec(),
        value: Some(any_value_of_view(value)),
        key_strindex: 0,
    });
    KeyValueList { values: values.collect() }
}

/// Returns `value` as a view reads it: without indices into string tables, which only profiles have.
fn plain_any_value(value: &AnyValue) -> AnyValue {
    let value = match &value.value {
        Some(Value::StringStrindex(_)) => None,
        Some(Value::Array(v)) => {
            Some(Value::Array(ArrayValue { values: v.values.iter().map(plain_any_value).collect() }))
        }
        Some(Value::KeyValues(v)) => {
            Some(Value::KeyValues(KeyValueList { values: v.values.iter().map(plain_key_value).collect() }))
        }
        other => other.clone(),
    };
    AnyValue { value }
}

fn plain_key_value(kv: &KeyValue) -> KeyValue {
    let value = plain_any_value(&kv.value.clone().unwrap_or_default());
    KeyValue { key: kv.key.clone(), value: Some(value), key_strindex: 0 }
}
