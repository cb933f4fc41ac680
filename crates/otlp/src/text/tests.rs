use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;
use crate::reference::{
    AnyValue, ArrayValue, Event, InstrumentationScope as RawScope, KeyValue, KeyValueList, Link, Span as RawSpan,
    Status, Value as RawValue,
};

const BAD: &[u8] = b"a\xffb";
const MENDED: &str = "a\u{fffd}b";

fn pair(key: &[u8], value: RawValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Returns an attribute whose innermost key and value are `text`.
fn nested(text: &[u8]) -> KeyValue {
    let list = KeyValueList { values: vec![pair(text, RawValue::String(text.into()))] };
    let array = ArrayValue { values: vec![AnyValue { value: Some(RawValue::KeyValues(list)) }] };
    pair(b"nested", RawValue::Array(array))
}

/// Returns a span in which every string that may be invalid is `text`.
fn span(text: &[u8]) -> RawSpan {
    let attributes =
        vec![pair(text, RawValue::Int(1)), pair(b"k", RawValue::String(text.into())), nested(text), bytes()];
    RawSpan {
        trace_id: vec![0xff; 16],
        span_id: vec![0xfe; 8],
        trace_state: text.into(),
        name: text.into(),
        start_time_unix_nano: 0xffff_ffff_ffff_ffff,
        attributes: attributes.clone(),
        events: vec![Event { name: text.into(), attributes: attributes.clone(), ..Event::default() }],
        links: vec![Link { trace_id: vec![0xff; 16], trace_state: text.into(), attributes, ..Link::default() }],
        status: Some(Status { message: text.into(), code: 2 }),
        ..RawSpan::default()
    }
}

/// Returns an attribute whose value is bytes, which need not be UTF-8.
fn bytes() -> KeyValue {
    pair(b"bytes", RawValue::Bytes(vec![0xff; 3]))
}

#[test]
fn every_string_of_a_span_is_mended_and_nothing_else() {
    let bad = span(BAD).encode_to_vec();
    assert!(Span::decode(&bad[..]).is_err());
    let mended = mended_span(&bad).unwrap();
    assert_eq!(mended, span(MENDED.as_bytes()).encode_to_vec());
    let decoded = Span::decode(&mended[..]).unwrap();
    assert_eq!((&*decoded.name, &*decoded.trace_state), (MENDED, MENDED));
    assert_eq!(decoded.attributes[3].value.clone().unwrap().value, Some(any_value::Value::BytesValue(vec![0xff; 3])));
}

#[test]
fn each_single_bad_string_is_found() {
    let good = span(b"text");
    let edits: [fn(&mut RawSpan); 8] = [
        |span| span.trace_state = BAD.into(),
        |span| span.name = BAD.into(),
        |span| span.attributes[0].key = BAD.into(),
        |span| span.attributes[2] = nested(BAD),
        |span| span.events[0].name = BAD.into(),
        |span| span.events[0].attributes[2] = nested(BAD),
        |span| span.links[0].trace_state = BAD.into(),
        |span| span.status = Some(Status { message: BAD.into(), code: 0 }),
    ];
    for (i, edit) in edits.into_iter().enumerate() {
        let mut span = good.clone();
        edit(&mut span);
        let bad = span.encode_to_vec();
        assert!(Span::decode(&bad[..]).is_err(), "{i}");
        assert!(Span::decode(&mended_span(&bad).unwrap()[..]).is_ok(), "{i}");
    }
}

#[test]
fn good_text_stays_where_it_is() {
    for text in ["text", "", "größe 🦀"] {
        let good = span(text.as_bytes()).encode_to_vec();
        assert!(matches!(mended_span(&good), Ok(Cow::Borrowed(same)) if same == good));
    }
}

#[test]
fn scopes_and_resources_are_mended_too() {
    let attributes = vec![nested(BAD)];
    let scope =
        RawScope { name: BAD.into(), version: BAD.into(), attributes: attributes.clone(), ..RawScope::default() };
    let scope = scope.encode_to_vec();
    let decoded = InstrumentationScope::decode(&mended_scope(&scope).unwrap()[..]).unwrap();
    assert_eq!((&*decoded.name, &*decoded.version), (MENDED, MENDED));
    let resource = crate::reference::Resource { attributes, ..Default::default() }.encode_to_vec();
    assert!(Resource::decode(&resource[..]).is_err());
    assert!(Resource::decode(&mended_resource(&resource).unwrap()[..]).is_ok());
}

#[test]
fn other_encodings_of_lengths_and_unknown_fields_are_read_as_well() {
    // The length takes three bytes, and the unknown field is not text.
    let bad = [&[0x2a, 0x83, 0x80, 0x00][..], BAD, &[0xa2, 0x06, 1, 0xff]].concat();
    let mended = mended_span(&bad).unwrap();
    assert_eq!(&mended[..], [&[0x2a, 5][..], MENDED.as_bytes(), &[0xa2, 0x06, 1, 0xff]].concat());
    assert_eq!(mended_span(&[0x2a, 9]), Err(WireError::Truncated));
}

#[test]
fn text_inside_of_many_messages_is_written_once() {
    let deep = (0..40).fold(RawValue::String(BAD.repeat(100)), |value, _| {
        RawValue::Array(ArrayValue { values: vec![AnyValue { value: Some(value) }] })
    });
    let sent = RawSpan { attributes: vec![pair(b"deep", deep)], ..RawSpan::default() }.encode_to_vec();
    let Ok(Cow::Owned(mended)) = mended_span(&sent) else { panic!("the span is not mended") };
    // The buffer was allocated with exactly this length.
    assert_eq!(mended.capacity(), mended.len());
    assert_eq!(Span::decode(&mended[..]).unwrap().encode_to_vec(), mended);
}
