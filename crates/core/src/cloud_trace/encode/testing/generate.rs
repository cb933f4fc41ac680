//! Generators of resources, scopes and spans of every shape that a sender can write, for the property test and for the
//! comparison with the OpenTelemetry Collector.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};
use proptest::collection::vec;
use proptest::prelude::*;

/// Keys that the encoder treats specially, and few others, so that keys repeat.
const KEYS: &[&str] = &[
    "a",
    "b",
    "http.method",
    "/http/method",
    "http.status_code",
    "service.name",
    "service.namespace",
    "service.instance.id",
    "faas.name",
    "faas.instance",
    "host.id",
    "host.name",
    "cloud.platform",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.pod.name",
    "k8s.node.name",
    "gcp.project.id",
    "gcp.project_id",
    "telemetry.sdk.language",
    "telemetry.sdk.version",
    "otel.scope.name",
    "otel.scope.version",
    "g.co/agent",
    "g.co/r/generic_node/location",
    "g.co/r/generic_task/job",
    "spansieve.policy",
    "spansieve.adjusted_count",
    "spansieve.trigger",
    "spansieve.missing_parent",
    "spansieve.verdict",
];

const TEXTS: &[&str] = &[
    "",
    "x",
    "unknown_service:java",
    "gcp_compute_engine",
    "gcp_app_engine",
    "aws_ec2",
    "gcp_bare_metal_solution",
    "gcp_kubernetes_engine",
    "example.com:project-1",
    "not/a project",
    "java",
    "1.38.0",
    "2.21.0-alpha",
];

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(KEYS).prop_map(String::from),
        3 => "\\PC{0,6}",
        1 => (505usize..520).prop_map(|len| "k".repeat(len)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(TEXTS).prop_map(String::from),
        4 => "\\PC{0,40}",
        2 => any::<String>(),
        1 => (1_020usize..1_028).prop_map(|len| "é".repeat(len / 2) + &"n".repeat(len % 2)),
        1 => (65_528usize..65_536).prop_map(|len| "€".repeat(len / 3) + &"v".repeat(len % 3)),
    ]
}

fn value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        6 => text().prop_map(|v| Some(Value::StringValue(v))),
        2 => any::<i64>().prop_map(|v| Some(Value::IntValue(v))),
        1 => (-200i64..200).prop_map(|v| Some(Value::IntValue(v))),
        1 => any::<bool>().prop_map(|v| Some(Value::BoolValue(v))),
        2 => any::<f64>().prop_map(|v| Some(Value::DoubleValue(v))),
        1 => (-100i32..100).prop_map(|v| Some(Value::DoubleValue(f64::from(v) / 4.0))),
        1 => vec(any::<u8>(), 0..40).prop_map(|v| Some(Value::BytesValue(v))),
        1 => Just(None),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        let any = inner.prop_map(|value| AnyValue { value });
        let pair = (key(), prop::option::of(any.clone())).prop_map(pair);
        prop_oneof![
            vec(any, 0..4).prop_map(|values| Some(Value::ArrayValue(ArrayValue { values }))),
            vec(pair, 0..4).prop_map(|values| Some(Value::KvlistValue(KeyValueList { values }))),
        ]
    });
    prop::option::weighted(0.95, value.prop_map(|value| AnyValue { value }))
}

fn pair((key, value): (String, Option<AnyValue>)) -> KeyValue {
    KeyValue { key, value, ..Default::default() }
}

fn attributes(max: usize) -> impl Strategy<Value = Vec<KeyValue>> {
    vec((key(), value()).prop_map(pair), 0..max)
}

fn dropped() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0), 1 => 1u32..9, 1 => any::<u32>()]
}

/// Generates an id of `len` bytes that the scan accepts.
fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., len)
}

/// Generates an id of `len` bytes, or an invalid id as a careless sender may write it.
fn any_id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => id(len), 1 => Just(vec![0; len]), 1 => vec(any::<u8>(), 0..20), 1 => Just(vec![7; len])]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => any::<u64>(), 1 => Just(u64::MAX), 6 => 1_790_000_000_000_000_000u64..1_790_000_005_000_000_000]
}

fn event() -> impl Strategy<Value = span::Event> {
    (time(), text(), attributes(5), dropped()).prop_map(|(time_unix_nano, name, attributes, dropped)| span::Event {
        time_unix_nano,
        name,
        attributes,
        dropped_attributes_count: dropped,
    })
}

fn link() -> impl Strategy<Value = span::Link> {
    (any_id(16), any_id(8), attributes(3), dropped()).prop_map(|(trace_id, span_id, attributes, dropped)| span::Link {
        trace_id,
        span_id,
        attributes,
        dropped_attributes_count: dropped,
        trace_state: "a=b".into(),
        flags: 1,
    })
}

fn status() -> impl Strategy<Value = Option<Status>> {
    prop::option::of((text(), -1..4).prop_map(|(message, code)| Status { message, code }))
}

/// Generates a resource with up to 13 attributes.
pub fn resource() -> impl Strategy<Value = Resource> {
    (attributes(14), dropped()).prop_map(|(attributes, dropped)| Resource {
        attributes,
        dropped_attributes_count: dropped,
        ..Default::default()
    })
}

/// Generates a scope with a name and a version, each of which may be empty.
pub fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text()).prop_map(|(name, version)| InstrumentationScope { name, version, ..Default::default() })
}

/// Generates a parent id: absent, all zero, the id of another span, or the id that the span itself sometimes has.
fn parent_id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(vec![0; 8]), id(8), Just(vec![7; 8])]
}

/// Generates a span that the scan accepts.
pub fn span() -> impl Strategy<Value = Span> {
    let head = (id(16), prop_oneof![6 => id(8), 1 => Just(vec![7; 8])], parent_id(), text(), -1..8);
    let flags = prop_oneof![Just(0u32), Just(0x101), Just(0x301), any::<u32>()];
    let counts = (dropped(), dropped(), dropped(), flags);
    let parts = (attributes(20), vec(event(), 0..4), vec(link(), 0..4), status());
    (head, time(), time(), counts, parts).prop_map(|(head, start, end, counts, parts)| Span {
        trace_id: head.0,
        span_id: head.1,
        trace_state: "ot=rv:00000000000001".into(),
        parent_span_id: head.2,
        flags: counts.3,
        name: head.3,
        kind: head.4,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes: parts.0,
        dropped_attributes_count: counts.0,
        events: parts.1,
        dropped_events_count: counts.1,
        links: parts.2,
        dropped_links_count: counts.2,
        status: parts.3,
    })
}
