//! The scan's twin, for tests and fuzzing: the same facts, read from messages that prost decoded.
//!
//! The messages are those of OTLP with `bytes` in place of `string`, because the scan leaves UTF-8 to the encoder.
#![allow(missing_docs)]

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use prost::{Message, Oneof};

use super::TraceId;
use super::scan::{Bits, Probe, RejectReason, Scan, SpanFact, scan, trace_state_randomness};
use super::view::{self, Attributes, StatusCode};
use super::wire::WireError;

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
    #[prost(bytes, tag = "3")]
    pub schema_url: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "2")]
    pub dropped_attributes_count: u32,
    #[prost(message, repeated, tag = "3")]
    pub entity_refs: Vec<EntityRef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct EntityRef {
    #[prost(bytes, tag = "1")]
    pub schema_url: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub kind: Vec<u8>,
    #[prost(bytes, repeated, tag = "3")]
    pub id_keys: Vec<Vec<u8>>,
    #[prost(bytes, repeated, tag = "4")]
    pub description_keys: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
    #[prost(bytes, tag = "3")]
    pub schema_url: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InstrumentationScope {
    #[prost(bytes, tag = "1")]
    pub name: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub version: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    pub dropped_attributes_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes, tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(bytes, tag = "3")]
    pub trace_state: Vec<u8>,
    #[prost(bytes, tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(bytes, tag = "5")]
    pub name: Vec<u8>,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub dropped_attributes_count: u32,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    #[prost(uint32, tag = "12")]
    pub dropped_events_count: u32,
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    #[prost(uint32, tag = "14")]
    pub dropped_links_count: u32,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Event {
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    #[prost(bytes, tag = "2")]
    pub name: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    pub dropped_attributes_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Link {
    #[prost(bytes, tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(bytes, tag = "3")]
    pub trace_state: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "5")]
    pub dropped_attributes_count: u32,
    #[prost(fixed32, tag = "6")]
    pub flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(bytes, tag = "2")]
    pub message: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(bytes, tag = "1")]
    pub key: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
    #[prost(int32, tag = "3")]
    pub key_strindex: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    #[prost(bytes, tag = "1")]
    String(Vec<u8>),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    KeyValues(KeyValueList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
    #[prost(int32, tag = "8")]
    StringStrindex(i32),
}

#[derive(Clone, PartialEq, Message)]
pub struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

/// Scans `body` and decodes it with prost; panics where the two do not agree. Returns whether both accept it.
///
/// The one stated difference: the scan refuses groups, prost skips those in unknown fields.
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
            let fact_count = facts.len();
            for span in &scope_spans.spans {
                match ids(span) {
                    Ok((trace_id, root)) => {
                        let fact = *facts.next().expect("a fact for each accepted span");
                        assert_eq!(fact, fact_of(span, trace_id, root, resource_bits, scope, fact));
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

/// What the scan should say of `span`; only its place in the body is taken from `found`.
fn fact_of(span: &Span, trace_id: TraceId, root: bool, resource_bits: Bits, scope: u32, found: SpanFact) -> SpanFact {
    let status = span.status.clone().unwrap_or_default();
    SpanFact {
        trace_id,
        start_unix_nano: span.start_time_unix_nano,
        end_unix_nano: span.end_time_unix_nano,
        bits: resource_bits | bits_of(1, &span.attributes) | Fingerprint.status(status_code(&status)),
        randomness: trace_state_randomness(&span.trace_state),
        span: found.span,
        scope,
        root,
    }
}

fn ids(span: &Span) -> Result<(TraceId, bool), RejectReason> {
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

/// The bytes are the message, and in canonical form. (By their encoding: a NaN is unlike itself.)
fn assert_message<M: Message + Default>(bytes: &[u8], message: &M) {
    let decoded = M::decode(bytes).expect("scanned bytes are well-formed");
    assert_eq!(decoded.encode_to_vec(), message.encode_to_vec());
}

/// The bytes are the span, and the views read the same as prost.
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

/// A probe that sets a bit for what it is shown: whatever the scan shows wrongly, or not at all, shows in the bits.
pub struct Fingerprint;

impl Probe for Fingerprint {
    fn resource_attribute(&self, key: &[u8], value: view::AnyValue<'_>) -> Bits {
        bit(0, key, &any_value_of_view(value))
    }

    fn span_attribute(&self, key: &[u8], value: view::AnyValue<'_>) -> Bits {
        bit(1, key, &any_value_of_view(value))
    }

    fn status(&self, code: StatusCode) -> Bits {
        bit(2, &[code as u8], &AnyValue::default())
    }
}

fn bits_of(kind: u8, attributes: &[KeyValue]) -> Bits {
    let bits = attributes.iter().map(plain_key_value).map(|kv| bit(kind, &kv.key, &kv.value.unwrap_or_default()));
    bits.fold(0, |all, bit| all | bit)
}

fn bit(kind: u8, key: &[u8], value: &AnyValue) -> Bits {
    let mut hasher = DefaultHasher::new();
    (kind, key, value.encode_to_vec()).hash(&mut hasher);
    1 << (hasher.finish() % 64)
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

/// `value` as a view shows it: without indices into string tables, which only profiles have.
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
