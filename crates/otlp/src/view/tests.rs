use prost::Message;

use super::*;
use crate::reference;

fn attribute(key: &[u8], value: reference::Value) -> reference::KeyValue {
    let value = Some(reference::AnyValue { value: Some(value) });
    reference::KeyValue { key: key.to_vec(), value, ..Default::default() }
}

#[test]
fn attributes_come_in_order_with_every_kind_of_value() {
    let array = reference::ArrayValue { values: vec![reference::AnyValue { value: Some(reference::Value::Int(-1)) }] };
    let list = reference::KeyValueList { values: vec![attribute(b"inner", reference::Value::Bool(false))] };
    let resource = reference::Resource {
        attributes: vec![
            attribute(b"s\xff", reference::Value::String(b"\xfe".to_vec())),
            attribute(b"b", reference::Value::Bool(true)),
            attribute(b"b", reference::Value::Int(i64::MIN)),
            attribute(b"d", reference::Value::Double(-0.5)),
            attribute(b"y", reference::Value::Bytes(vec![0])),
            attribute(b"a", reference::Value::Array(array)),
            attribute(b"l", reference::Value::KeyValues(list)),
            attribute(b"i", reference::Value::StringStrindex(3)),
            reference::KeyValue { key: b"n".to_vec(), ..Default::default() },
        ],
        ..Default::default()
    };
    let bytes = resource.encode_to_vec();
    let (seen, nested): (Vec<_>, Vec<_>) = Attributes::of_resource(&bytes)
        .iter()
        .partition(|(_, v)| !matches!(v, AnyValue::Array(_) | AnyValue::KeyValues(_)));
    let expected: [(&[u8], AnyValue<'_>); 7] = [
        (b"s\xff", AnyValue::String(b"\xfe")),
        (b"b", AnyValue::Bool(true)),
        (b"b", AnyValue::Int(i64::MIN)),
        (b"d", AnyValue::Double(-0.5)),
        (b"y", AnyValue::Bytes(&[0])),
        (b"i", AnyValue::Empty),
        (b"n", AnyValue::Empty),
    ];
    assert_eq!(seen, expected);
    let [(b"a", AnyValue::Array(array)), (b"l", AnyValue::KeyValues(list))] = nested[..] else { panic!("{nested:?}") };
    assert_eq!(array.iter().collect::<Vec<_>>(), [AnyValue::Int(-1)]);
    assert_eq!(list.iter().collect::<Vec<_>>(), [(&b"inner"[..], AnyValue::Bool(false))]);
}

#[test]
fn the_last_value_of_a_oneof_counts() {
    let cases: [(&[u8], AnyValue<'_>); 5] = [
        (&[], AnyValue::Empty),
        (&[0x10, 1, 0x18, 7], AnyValue::Int(7)),
        (&[0x18, 7, 0x10, 2], AnyValue::Bool(true)),
        (&[0x0a, 1, b'x', 0x50, 0], AnyValue::String(b"x")),
        (&[0x18, 7, 0x40, 1], AnyValue::Empty),
    ];
    for (bytes, expected) in cases {
        assert_eq!(AnyValue::new(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn status_codes_are_the_low_32_bits() {
    let cases = [
        (0, StatusCode::Unset),
        (1, StatusCode::Ok),
        (2, StatusCode::Error),
        (3, StatusCode::Unset),
        (u64::MAX, StatusCode::Unset),
        (1 << 32 | 2, StatusCode::Error),
    ];
    for (value, code) in cases {
        assert_eq!(status_code(value), code);
    }
    let message = reference::Status { message: b"no\xff".to_vec(), code: 2 }.encode_to_vec();
    assert_eq!(status(&message), (StatusCode::Error, &b"no\xff"[..]));
}

#[test]
fn scopes_have_a_name_and_a_version() {
    let scope = reference::InstrumentationScope {
        name: b"net/http".to_vec(),
        version: b"1.2".to_vec(),
        attributes: vec![attribute(b"k", reference::Value::Int(1))],
        ..Default::default()
    };
    let bytes = scope.encode_to_vec();
    assert_eq!(scope_name_version(&bytes), (&b"net/http"[..], &b"1.2"[..]));
    assert_eq!(Attributes::of_scope(&bytes).iter().count(), 1);
}

#[test]
fn a_view_ends_at_a_malformed_field() {
    let bytes = [0x0a, 1, b'a', 0x0a, 1, b'b', 0x0a, 9];
    assert_eq!(submessages(&bytes, 1).collect::<Vec<_>>(), [b"a", b"b"]);
}

#[test]
fn ids_are_found_wherever_they_are_in_a_span() {
    let (own, parent) = ([0x12, 0x08, 0, 0, 0, 0, 0, 0, 7, 9], [0x22, 0x08, 0, 0, 0, 0, 0, 0, 0, 5]);
    let name = [0x2a, 0x02, b'a', b'b'];
    let cases: [(&str, Vec<u8>, (u64, u64)); 5] = [
        ("in order", [&own[..], &parent, &name].concat(), (0x0709, 5)),
        ("the parent last", [&own[..], &name, &parent].concat(), (0x0709, 5)),
        ("the parent first", [&parent[..], &name, &own].concat(), (0x0709, 5)),
        ("a root", [&own[..], &name].concat(), (0x0709, 0)),
        ("nothing", Vec::new(), (0, 0)),
    ];
    for (what, span, expected) in cases {
        assert_eq!(ids(&span), expected, "{what}");
    }
}
