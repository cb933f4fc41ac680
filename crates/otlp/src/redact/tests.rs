use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::reference::{
    AnyValue, ArrayValue, Event, InstrumentationScope, KeyValue, KeyValueList, Link, Request, Resource, ResourceSpans,
    ScopeSpans, Span, Value,
};
use crate::testing::arbitrary;

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::String(text.into())) })
}

fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.into(), value, key_strindex: 0 }
}

fn redacted(body: &[u8], rule: impl Fn(&[u8]) -> AttributeChange) -> Vec<u8> {
    let mut out = Vec::new();
    redact(body, &mut |key, _| rule(key), usize::MAX, &mut out).unwrap();
    out
}

fn by_name(key: &[u8]) -> AttributeChange {
    match key {
        b"secret" => AttributeChange::LeftOut,
        b"user" => AttributeChange::Replaced("hash".to_owned()),
        _ => AttributeChange::Stays,
    }
}

/// Returns a request with these attributes in each place that may have some.
fn request(attributes: &[KeyValue]) -> Request {
    let attributes = attributes.to_vec();
    let span = Span {
        name: b"pay".to_vec(),
        attributes: attributes.clone(),
        events: vec![Event { attributes: attributes.clone(), ..Event::default() }],
        links: vec![Link { attributes: attributes.clone(), ..Link::default() }],
        ..Span::default()
    };
    let scope = InstrumentationScope { attributes: attributes.clone(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    Request { resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }] }
}

#[test]
fn attributes_are_changed_in_every_place() {
    let map = |entries: Vec<KeyValue>| {
        let list = AnyValue { value: Some(Value::KeyValues(KeyValueList { values: entries })) };
        Some(AnyValue { value: Some(Value::Array(ArrayValue { values: vec![list] })) })
    };
    let before = [
        pair("secret", text("s3cret")),
        pair("stays", text("x")),
        pair("user", text("ann")),
        pair("map", map(vec![pair("secret", text("s3cret")), pair("a", None), pair("user", text("ann"))])),
    ];
    let after = [
        pair("stays", text("x")),
        pair("user", text("hash")),
        pair("map", map(vec![pair("a", None), pair("user", text("hash"))])),
    ];
    let found = redacted(&request(&before).encode_to_vec(), by_name);
    assert_eq!(Request::decode(&found[..]).unwrap(), request(&after));
    assert!(!found.windows(6).any(|window| window == b"s3cret") && !found.windows(3).any(|window| window == b"ann"));
}

#[test]
fn fields_that_are_not_known_are_left_out() {
    let good = request(&[pair("a", text("b"))]).encode_to_vec();
    // Field 1000 of the request, and field 60 of a resource, with text in them.
    let unknown = [&[0xc2, 0x3e, 6][..], b"s3cret", &good].concat();
    assert_eq!(redacted(&unknown, by_name), good);
    let resource = [0x0a, 11, 0x0a, 9, 0xe2, 0x03, 6, b's', b'3', b'c', b'r', b'e', b't'];
    assert_eq!(redacted(&resource, by_name), [0x0a, 2, 0x0a, 0]);
}

#[test]
fn of_several_keys_in_one_attribute_the_strictest_counts() {
    let key = |name: &str| [&[0x0a, name.len() as u8][..], name.as_bytes()].concat();
    let pair = [key("secret"), key("stays"), vec![0x12, 3, 0x0a, 1, b'x']].concat();
    let resource = [vec![0x0a, pair.len() as u8], pair].concat();
    let group = [vec![0x0a, resource.len() as u8], resource].concat();
    let body = [vec![0x0a, group.len() as u8], group].concat();
    assert_eq!(redacted(&body, by_name), [0x0a, 2, 0x0a, 0]);
    let result = redact(&[0x0a, 9], &mut |_, _| AttributeChange::Stays, usize::MAX, &mut Vec::new());
    assert_eq!(result, Err(RedactError::Wire(WireError::Truncated)));
}

proptest! {
    /// Without a change the request is the same, and what is left out is nowhere in the rest.
    #[test]
    fn any_request_stays_as_it_is_but_for_the_attributes(request in arbitrary::request()) {
        let body = request.encode_to_vec();
        let same = redacted(&body, |_| AttributeChange::Stays);
        prop_assert!(same == body);
        let nothing = redacted(&body, |_| AttributeChange::LeftOut);
        let mut asked = 0;
        redact(&nothing, &mut |_, _| { asked += 1; AttributeChange::Stays }, usize::MAX, &mut Vec::new()).unwrap();
        prop_assert_eq!(asked, 0);
    }
}

#[test]
fn a_request_that_grows_too_large_is_given_up_soon() {
    let body = request(&vec![pair("user", None); 1_000]).encode_to_vec();
    let mut out = vec![0; 100];
    let mut rule = |_: &[u8], _: &[u8]| AttributeChange::Replaced("0123456789abcdef".to_owned());
    assert_eq!(redact(&body, &mut rule, body.len(), &mut out), Err(RedactError::TooLarge));
    assert!(out.len() <= 100 + body.len() + 64, "{} bytes of {}", out.len(), body.len());
    assert_eq!(redact(&body, &mut rule, 5 * body.len(), &mut Vec::new()), Ok(()));
}
