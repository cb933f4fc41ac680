//! A plain span is written as the general encoder writes it, and all other spans are left to that one.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::forward::encode::span;
use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue as View;

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn plain() -> Span {
    Span {
        trace_id: (1..=16).collect(),
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        flags: 0x301,
        name: "GET /größe".into(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_000_200,
        attributes: vec![
            text("http.route", "/größe"),
            text(&"k".repeat(200), &"v".repeat(300)),
            pair("http.response.status_code", Value::IntValue(200)),
            pair("d", Value::DoubleValue(0.5)),
            pair("list", Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(-1)) }] })),
            text("spansieve", "not one of ours"),
        ],
        dropped_attributes_count: 3,
        events: vec![Event { time_unix_nano: u64::MAX, name: "größe".into(), ..Event::default() }],
        dropped_events_count: 4,
        status: Some(Status { message: "kaputt: größe".into(), code: 2 }),
        ..Span::default()
    }
}

/// Appends a field of wire type 2 to the encoded span.
fn with_field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = plain().encode_to_vec();
    write::bytes(&mut bytes, number, content);
    bytes
}

#[test]
fn a_plain_span_is_written_as_the_general_encoder_does() {
    let mut annotations = Vec::new();
    span::attribute(&mut annotations, annotation::POLICY, View::String(b"errors"));
    let small = Span { trace_id: vec![9; 16], ..Span::default() };
    let large = Span { attributes: vec![text("k", &"v".repeat(20_000))], ..plain() };
    for message in [plain(), small, large] {
        let bytes = message.encode_to_vec();
        for percent in [0.0, 5.0, 100.0] {
            for annotations in [&annotations[..], &[]] {
                let threshold = Threshold::from_percent(percent);
                let (mut out, mut expected) = (b"before".to_vec(), b"before".to_vec());
                PlainSpan::read(&bytes, !annotations.is_empty()).unwrap().write(threshold, annotations, &mut out);
                let altered = span::write(&bytes, threshold, annotations, &mut expected).unwrap();
                assert_eq!((out, altered), (expected, Alteration::default()), "{percent} %");
                assert_eq!(span::passed(&bytes, threshold), threshold);
            }
        }
    }
}

#[test]
fn what_the_general_encoder_may_change_is_not_plain() {
    let link = Link { trace_id: vec![3; 16], span_id: vec![4; 8], ..Link::default() };
    let attribute = |attribute: KeyValue| Span { attributes: vec![attribute], ..plain() }.encode_to_vec();
    let mut second_key = text("k", "v").encode_to_vec();
    write::bytes(&mut second_key, 1, annotation::POLICY.as_bytes());
    let cases = [
        ("a tracestate", Span { trace_state: "a=b".into(), ..plain() }.encode_to_vec()),
        ("an empty tracestate", with_field(span_fields::TRACE_STATE, b"")),
        ("a link", Span { links: vec![link], ..plain() }.encode_to_vec()),
        ("a count of links", Span { dropped_links_count: 1, ..plain() }.encode_to_vec()),
        ("an annotation", attribute(text(annotation::ADJUSTED_COUNT, "1"))),
        ("a long annotation", attribute(text(annotation::POLICY, &"p".repeat(300)))),
        ("an annotation by its second key", with_field(span_fields::ATTRIBUTES, &second_key)),
        ("a name that is not UTF-8", with_field(span_fields::NAME, b"\xff")),
        ("a key that is not UTF-8", with_field(span_fields::ATTRIBUTES, b"\x0a\x01\xff\x12\x02\x10\x01")),
        ("a value that is not UTF-8", with_field(span_fields::ATTRIBUTES, b"\x0a\x01k\x12\x03\x0a\x01\xff")),
        ("a status that is not UTF-8", with_field(span_fields::STATUS, b"\x12\x01\xff")),
        ("an event that is not UTF-8", with_field(span_fields::EVENTS, b"\x12\x01\xff")),
        ("a malformed attribute", with_field(span_fields::ATTRIBUTES, b"\x0a\x05\xff")),
        ("a field that is cut", with_field(span_fields::NAME, b"name")[..20].to_vec()),
        ("a large span", attribute(text("k", &"v".repeat(SPAN_BYTES_MAX)))),
    ];
    for (case, bytes) in cases {
        assert!(PlainSpan::read(&bytes, true).is_none(), "{case}");
    }
    let annotated = attribute(text(annotation::POLICY, "sent"));
    assert!(PlainSpan::read(&annotated, false).is_some(), "without annotations, those of the sender stay");
}

/// Contents of fields: texts, bytes that are not UTF-8, ids, attributes in both forms, annotations, links.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let attribute = (prop_oneof![7 => "[a-zö.]{0,6}", 1 => Just(annotation::VERDICT.to_owned())], ".{0,3}|a{130}")
        .prop_map(|(key, value)| text(&key, &value).encode_to_vec());
    let number = any::<i64>().prop_map(|number| pair("n", Value::IntValue(number)).encode_to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..12);
    let key = bytes.clone().prop_map(|key| {
        let mut pair = Vec::new();
        write::bytes(&mut pair, 1, &key);
        pair
    });
    prop_oneof![9 => attribute, 2 => number, 1 => key, 1 => bytes, 1 => prop::collection::vec(any::<u8>(), 16)]
}

/// Spans of fields in any order, some with a wire type that their number does not have.
fn spans() -> impl Strategy<Value = Vec<u8>> {
    let field = (1..=17u32, 0..4u8, contents(), any::<u64>()).prop_map(|(number, form, content, value)| {
        let mut out = Vec::new();
        match form {
            0 => write::varint(&mut out, number, value),
            1 => write::double(&mut out, number, f64::from_bits(value)),
            _ => write::bytes(&mut out, number, &content),
        }
        out
    });
    let id = prop::option::of(any::<[u8; 16]>());
    let attributes = prop::collection::vec(contents(), 0..4);
    (id, attributes, prop::collection::vec(field, 0..3), 0..40usize).prop_map(|(id, attributes, fields, cut)| {
        let mut span = Vec::new();
        id.iter().for_each(|id| write::bytes(&mut span, span_fields::TRACE_ID, id));
        attributes.iter().for_each(|pair| write::bytes(&mut span, span_fields::ATTRIBUTES, pair));
        fields.iter().for_each(|field| span.extend_from_slice(field));
        // One span in twenty is cut.
        span.truncate(span.len() - if cut < 2 { cut.min(span.len()) } else { 0 });
        span
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_plain_is_written_as_the_general_encoder_does(bytes in spans(), percent in 0.0..=100.0f64, annotate: bool) {
        let mut annotations = Vec::new();
        if annotate {
            span::attribute(&mut annotations, annotation::POLICY, View::String(b"errors"));
        }
        let threshold = Threshold::from_percent(percent);
        if let Some(plain) = PlainSpan::read(&bytes, annotate) {
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            plain.write(threshold, &annotations, &mut out);
            let altered = span::write(&bytes, threshold, &annotations, &mut expected);
            prop_assert_eq!((out, altered), (expected, Ok(Alteration::default())));
            prop_assert_eq!(span::passed(&bytes, threshold), threshold);
        }
    }
}
