//! Generators of arbitrary requests. The requests are small, but have every field and every kind of value.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::reference::{
    AnyValue, ArrayValue, EntityRef, Event, InstrumentationScope, KeyValue, KeyValueList, Link, Request, Resource,
    ResourceSpans, ScopeSpans, Span, Status, Value,
};

pub fn request() -> impl Strategy<Value = Request> {
    vec(resource_spans(), 0..3).prop_map(|resource_spans| Request { resource_spans })
}

fn resource_spans() -> impl Strategy<Value = ResourceSpans> {
    let fields = (prop::option::of(resource()), vec(scope_spans(), 0..3), text());
    fields.prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url })
}

fn resource() -> impl Strategy<Value = Resource> {
    let fields = (attributes(), count(), vec(entity_ref(), 0..2));
    fields.prop_map(|(attributes, dropped_attributes_count, entity_refs)| Resource {
        attributes,
        dropped_attributes_count,
        entity_refs,
    })
}

fn entity_ref() -> impl Strategy<Value = EntityRef> {
    let fields = (text(), text(), vec(text(), 0..3), vec(text(), 0..3));
    fields.prop_map(|(schema_url, kind, id_keys, description_keys)| EntityRef {
        schema_url,
        kind,
        id_keys,
        description_keys,
    })
}

fn scope_spans() -> impl Strategy<Value = ScopeSpans> {
    let fields = (prop::option::of(scope()), vec(span(), 0..4), text());
    fields.prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url })
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    let fields = (text(), text(), attributes(), count());
    fields.prop_map(|(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
        name,
        version,
        attributes,
        dropped_attributes_count,
    })
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id(8), trace_state(), text());
    let scalars = (any::<i32>(), any::<u64>(), any::<u64>(), any::<u32>(), [count(), count(), count()]);
    let messages = (attributes(), vec(event(), 0..3), vec(link(), 0..3), prop::option::of(status()));
    (ids, scalars, messages).prop_map(|(ids, scalars, messages)| {
        let (trace_id, span_id, parent_span_id, trace_state, name) = ids;
        let (kind, start_time_unix_nano, end_time_unix_nano, flags, dropped) = scalars;
        let (attributes, events, links, status) = messages;
        let [dropped_attributes_count, dropped_events_count, dropped_links_count] = dropped;
        Span {
            trace_id,
            span_id,
            trace_state,
            parent_span_id,
            name,
            kind,
            start_time_unix_nano,
            end_time_unix_nano,
            attributes,
            dropped_attributes_count,
            events,
            dropped_events_count,
            links,
            dropped_links_count,
            status,
            flags,
        }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let fields = (any::<u64>(), text(), attributes(), count());
    fields.prop_map(|(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
        time_unix_nano,
        name,
        attributes,
        dropped_attributes_count,
    })
}

fn link() -> impl Strategy<Value = Link> {
    let fields = (id(16), id(8), trace_state(), attributes(), count(), any::<u32>());
    fields.prop_map(|(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
        trace_id,
        span_id,
        trace_state,
        attributes,
        dropped_attributes_count,
        flags,
    })
}

fn status() -> impl Strategy<Value = Status> {
    (text(), prop_oneof![0..4, any::<i32>()]).prop_map(|(message, code)| Status { message, code })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(key_value(any_value()), 0..4)
}

fn key_value(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    let fields = (key(), prop::option::weighted(0.9, value), prop_oneof![9 => Just(0), 1 => any::<i32>()]);
    fields.prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex })
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        word().prop_map(Value::String),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), 0..20i64, 1 << 53..(1 << 53) + 4i64].prop_map(Value::Int),
        prop_oneof![any::<f64>(), Just(2.0), Just(f64::NAN), Just(9_007_199_254_740_992.0)].prop_map(Value::Double),
        text().prop_map(Value::Bytes),
        any::<i32>().prop_map(Value::StringStrindex),
    ];
    let leaf = prop::option::weighted(0.95, leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 8, 3, |inner| {
        let array = vec(inner.clone(), 0..3).prop_map(|values| Value::Array(ArrayValue { values }));
        let list = vec(key_value(inner), 0..3).prop_map(|values| Value::KeyValues(KeyValueList { values }));
        prop_oneof![array, list].prop_map(|value| AnyValue { value: Some(value) })
    })
}

/// Generates a key, mostly one of a few, so that keys repeat.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "a",
        "service.name",
        "http.route",
        "http.response.status_code",
        "rpc.method",
        "rpc.response.status_code",
        "exception.type",
    ]);
    prop_oneof![3 => known.prop_map(|key| key.as_bytes().to_vec()), 1 => text()]
}

/// Generates a text, often one of a few, so that values repeat.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec!["", "a", "checkout", "503", "2.0", "UNAVAILABLE", "é"]);
    prop_oneof![1 => known.prop_map(|word| word.as_bytes().to_vec()), 1 => text()]
}

/// Generates bytes that are mostly short, sometimes too long for a one-byte length, and rarely UTF-8.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 120..140)]
}

fn count() -> prop::strategy::BoxedStrategy<u32> {
    prop_oneof![Just(0), any::<u32>()].boxed()
}

/// Generates an id that is mostly well-formed, and otherwise all zero, absent or of another length.
fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => vec(any::<u8>(), len),
        1 => Just(vec![0; len]),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 1..20),
    ]
}

fn trace_state() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        &b""[..],
        b"ot=rv:0123456789abcd",
        b"vendor=x, ot=th:8;rv:ffffffffffffff",
        b"ot=rv:012345",
    ]);
    prop_oneof![3 => known.prop_map(<[u8]>::to_vec), 1 => text()]
}
