use opentelemetry_proto::tonic::common::v1::{AnyValue as OtlpValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::config::settings::AttributeAction;

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(OtlpValue { value: Some(value) }), ..Default::default() }
}

fn resource(pairs: &[(&str, &str)]) -> Vec<u8> {
    let attributes = pairs.iter().map(|&(k, v)| pair(k, any_value::Value::StringValue(v.into()))).collect();
    Resource { attributes, ..Default::default() }.encode_to_vec()
}

fn string(value: &str) -> ValueSource {
    ValueSource::Value(AttributeValue::String(value.into()))
}

fn from(key: &str) -> ValueSource {
    ValueSource::FromAttribute(key.into())
}

fn rewriter(actions: &[(&str, Action)]) -> Rewriter {
    let attributes = actions.iter().map(|(key, action)| AttributeAction { key: (*key).into(), action: action.clone() });
    Rewriter::new(&settings::Resource { attributes: attributes.collect() })
}

/// `before` through `actions` gives `after`, in this order.
#[track_caller]
fn check(before: &[(&str, &str)], actions: &[(&str, Action)], after: &[(&str, &str)]) {
    let attributes = rewriter(actions).rewrite(&resource(before));
    let found: Vec<_> = attributes.iter().collect();
    let expected: Vec<_> = after.iter().map(|&(k, v)| (k.as_bytes(), AnyValue::String(v.as_bytes()))).collect();
    assert_eq!(found, expected);
}

#[test]
fn actions_behave_as_the_collectors() {
    use Action::{Delete, Insert, Update, Upsert};
    let before = &[("a", "1"), ("b", "2")][..];
    check(before, &[], before);
    check(before, &[("c", Insert(string("3")))], &[("a", "1"), ("b", "2"), ("c", "3")]);
    check(before, &[("a", Insert(string("3")))], before);
    check(before, &[("a", Update(string("3")))], &[("a", "3"), ("b", "2")]);
    check(before, &[("c", Update(string("3")))], before);
    check(before, &[("a", Upsert(string("3")))], &[("a", "3"), ("b", "2")]);
    check(before, &[("c", Upsert(string("3")))], &[("a", "1"), ("b", "2"), ("c", "3")]);
    check(before, &[("a", Delete)], &[("b", "2")]);
    check(before, &[("c", Delete)], before);
    check(before, &[("c", Insert(from("b")))], &[("a", "1"), ("b", "2"), ("c", "2")]);
    check(before, &[("a", Update(from("b")))], &[("a", "2"), ("b", "2")]);
    check(before, &[("a", Upsert(from("b")))], &[("a", "2"), ("b", "2")]);
    check(before, &[("a", Upsert(from("absent"))), ("c", Insert(from("absent")))], before);
    check(&[], &[("c", Upsert(string("")))], &[("c", "")]);
}

#[test]
fn actions_are_applied_in_order() {
    let rename = [("new", Action::Upsert(from("old"))), ("old", Action::Delete)];
    check(&[("old", "1")], &rename, &[("new", "1")]);
    let swapped = [("old", Action::Delete), ("new", Action::Upsert(from("old")))];
    check(&[("old", "1")], &swapped, &[]);
}

#[test]
fn of_a_key_sent_twice_the_first_counts() {
    let before = &[("a", "1"), ("b", "2"), ("a", "3")][..];
    check(before, &[], &[("a", "1"), ("b", "2")]);
    check(before, &[("a", Action::Delete)], &[("b", "2")]);
    check(before, &[("c", Action::Insert(from("a")))], &[("a", "1"), ("b", "2"), ("c", "1")]);
}

#[test]
fn literals_keep_their_type() {
    let literals = [
        (AttributeValue::String("s".into()), AnyValue::String(b"s")),
        (AttributeValue::Int(-7), AnyValue::Int(-7)),
        (AttributeValue::Double(0.5), AnyValue::Double(0.5)),
        (AttributeValue::Bool(false), AnyValue::Bool(false)),
    ];
    for (literal, expected) in literals {
        let attributes = rewriter(&[("k", Action::Insert(ValueSource::Value(literal)))]).rewrite(&[]);
        assert_eq!(attributes.get("k"), Some(expected));
    }
}

#[test]
fn values_of_every_type_are_copied() {
    use any_value::Value::{ArrayValue, BytesValue};
    let array = opentelemetry_proto::tonic::common::v1::ArrayValue { values: vec![OtlpValue { value: None }] };
    let attributes = vec![pair("array", ArrayValue(array)), pair("bytes", BytesValue(vec![0xff]))];
    let raw = Resource { attributes, ..Default::default() }.encode_to_vec();
    let found = rewriter(&[("copy", Action::Insert(from("array")))]).rewrite(&raw);
    assert_eq!(found.get("copy"), found.get("array"));
    assert!(matches!(found.get("copy"), Some(AnyValue::Array(a)) if a.iter().count() == 1));
    assert_eq!(found.get("bytes"), Some(AnyValue::Bytes(&[0xff])));
}

#[test]
fn lost_attributes_are_counted() {
    let attributes = (0..ATTRIBUTES_MAX + 5).map(|i| pair(&i.to_string(), any_value::Value::IntValue(1))).collect();
    let raw = Resource { attributes, dropped_attributes_count: 3, ..Default::default() }.encode_to_vec();
    let found = Rewriter::default().rewrite(&raw);
    assert_eq!((found.iter().count(), found.dropped_count()), (ATTRIBUTES_MAX, 8));
}
