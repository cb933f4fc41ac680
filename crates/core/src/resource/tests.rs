use opentelemetry_proto::tonic::common::v1::{AnyValue as OtlpValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(OtlpValue { value: Some(value) }), ..Default::default() }
}

fn resource(pairs: &[(&str, &str)]) -> Vec<u8> {
    let attributes = pairs.iter().map(|&(k, v)| pair(k, any_value::Value::StringValue(v.into()))).collect();
    Resource { attributes, ..Default::default() }.encode_to_vec()
}

/// Creates a rewriter from the section `resource` of a configuration. The detected region is `region`.
fn rewriter(section: &str) -> Rewriter {
    let loaded = crate::testing::load(&format!("resource: {section}\n")).unwrap_or_else(|e| panic!("{e}"));
    Rewriter::new(&loaded.resource, &[("cloud.region", "region".to_owned())])
}

/// Checks that `actions` turn the attributes `before` into `after`, including their order.
#[track_caller]
fn check(before: &[(&str, &str)], actions: &str, after: &[(&str, &str)]) {
    let loaded = crate::testing::load(&format!("resource: {{attributes: {actions}}}\n"));
    let settings = loaded.unwrap_or_else(|e| panic!("{e}")).resource;
    let attributes = Rewriter::new(&settings, &[]).rewrite(&resource(before));
    let found: Vec<_> = attributes.iter().collect();
    let expected: Vec<_> = after.iter().map(|&(k, v)| (k.as_bytes(), AnyValue::String(v.as_bytes()))).collect();
    assert_eq!(found, expected, "{actions}");
}

#[test]
fn actions_behave_as_the_collectors() {
    let before = &[("a", "1"), ("b", "2")][..];
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("[]", before),
        ("[{key: c, value: '3', action: insert}]", &[("a", "1"), ("b", "2"), ("c", "3")]),
        ("[{key: a, value: '3', action: insert}]", before),
        ("[{key: a, value: '3', action: update}]", &[("a", "3"), ("b", "2")]),
        ("[{key: c, value: '3', action: update}]", before),
        ("[{key: a, value: '3', action: upsert}]", &[("a", "3"), ("b", "2")]),
        ("[{key: c, value: '3', action: upsert}]", &[("a", "1"), ("b", "2"), ("c", "3")]),
        ("[{key: c, value: '', action: upsert}]", &[("a", "1"), ("b", "2"), ("c", "")]),
        ("[{key: c, from_attribute: b, action: insert}]", &[("a", "1"), ("b", "2"), ("c", "2")]),
        ("[{key: a, from_attribute: b, action: update}]", &[("a", "2"), ("b", "2")]),
        ("[{key: a, from_attribute: b, action: upsert}]", &[("a", "2"), ("b", "2")]),
        (
            "[{key: a, from_attribute: absent, action: upsert}, {key: c, from_attribute: absent, action: insert}]",
            before,
        ),
        ("[{key: a, action: delete}]", &[("b", "2")]),
        ("[{key: c, action: delete}]", before),
        ("[{key: c, from_attribute: b, default_value: '4', action: insert}]", &[("a", "1"), ("b", "2"), ("c", "2")]),
        (
            "[{key: c, from_attribute: absent, default_value: '4', action: INSERT}]",
            &[("a", "1"), ("b", "2"), ("c", "4")],
        ),
        ("[{key: a, default_value: '4', action: Upsert}]", &[("a", "4"), ("b", "2")]),
        ("[{key: a, value: '3', default_value: '4', action: Update}]", &[("a", "3"), ("b", "2")]),
        ("[{pattern: '[bc]', action: delete}]", &[("a", "1")]),
        ("[{key: a, pattern: b, action: delete}]", &[]),
    ];
    for (actions, after) in cases {
        check(before, actions, after);
    }
}

#[test]
fn actions_are_applied_in_order() {
    let upsert = "{key: new, from_attribute: old, action: upsert}";
    let delete = "{key: old, action: delete}";
    check(&[("old", "1")], &format!("[{upsert}, {delete}]"), &[("new", "1")]);
    check(&[("old", "1")], &format!("[{delete}, {upsert}]"), &[]);
}

#[test]
fn groups_of_a_pattern_become_attributes() {
    let extract = "[{key: path, action: extract, pattern: '^/(?P<version>v[0-9]+)/(?P<kind>[^/]+)(?:/(?P<id>.+))?$'}]";
    let path = |path| ("path", path);
    let found = [path("/v1/user/7"), ("version", "v1"), ("kind", "user"), ("id", "7")];
    check(&[path("/v1/user/7")], extract, &found);
    check(&[path("/v1/user/7"), ("kind", "old")], extract, &[found[0], ("kind", "user"), found[1], found[3]]);
    check(&[path("/v2/user")], extract, &[path("/v2/user"), ("version", "v2"), ("kind", "user"), ("id", "")]);
    check(&[path("/health")], extract, &[path("/health")]);
    check(&[("other", "/v1/user")], extract, &[("other", "/v1/user")]);
}

#[test]
fn actions_apply_only_to_resources_for_which_the_condition_holds() {
    let before = &[("service.name", "api"), ("deployment.environment.name", "test")][..];
    let marked = &[before[0], before[1], ("marked", "yes")][..];
    let cases = [
        (r#"service.name == "api""#, true),
        (r#"service.name != "api""#, false),
        (r#"resource.attributes["service.name"] == "shop""#, false),
        (r#"service.name == "api" and not (deployment.environment.name == "production")"#, true),
        (r#"absent == nil"#, true),
        (r#"IsMatch(service.name, "^a") or absent != nil"#, true),
    ];
    for (condition, holds) in cases {
        let actions = format!("[{{key: marked, value: 'yes', action: insert, where: '{condition}'}}]");
        check(before, &actions, if holds { marked } else { before });
    }
}

/// Checks that `action` on the key of `value` gives `expected`.
#[track_caller]
fn check_value(value: &any_value::Value, action: &str, expected: AnyValue<'_>) {
    let raw = Resource { attributes: vec![pair("k", value.clone())], ..Default::default() }.encode_to_vec();
    let found = rewriter(&format!("{{attributes: [{{key: k, {action}}}]}}")).rewrite(&raw);
    assert_eq!(found.get("k"), Some(expected), "{value:?} {action}");
}

#[test]
fn values_are_hashed_as_the_collector_does() {
    use any_value::Value::{ArrayValue, BoolValue, BytesValue, DoubleValue, IntValue, StringValue};
    // Made with sha256sum.
    let cases = [
        (StringValue("secret".into()), "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"),
        (BoolValue(true), "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"),
        (BoolValue(false), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (IntValue(1), "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8"),
        (DoubleValue(1.0), "6c3c396ed6b5c36dcae172271f462051b1266b851e92df3deea8ac65478fd712"),
        (StringValue(String::new()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (BytesValue(vec![1]), ""),
        (ArrayValue(Default::default()), ""),
    ];
    for (value, hash) in cases {
        check_value(&value, "action: hash", AnyValue::String(hash.as_bytes()));
    }
}

#[test]
fn values_are_converted_if_possible() {
    use any_value::Value::{BoolValue, BytesValue, DoubleValue, IntValue, StringValue};
    let text = |text: &str| StringValue(text.into());
    let cases = [
        (IntValue(-7), "string", AnyValue::String(b"-7")),
        (DoubleValue(0.5), "string", AnyValue::String(b"0.5")),
        (DoubleValue(1e21), "string", AnyValue::String(b"1e+21")),
        (BoolValue(true), "string", AnyValue::String(b"true")),
        (BytesValue(vec![0xff]), "string", AnyValue::String(b"/w==")),
        (text("7"), "string", AnyValue::String(b"7")),
        (text("7"), "int", AnyValue::Int(7)),
        (text("7.5"), "int", AnyValue::String(b"7.5")),
        (DoubleValue(-7.9), "int", AnyValue::Int(-7)),
        (BoolValue(true), "int", AnyValue::Int(1)),
        (BytesValue(vec![1]), "int", AnyValue::Bytes(&[1])),
        (text("7.5"), "double", AnyValue::Double(7.5)),
        (text("x"), "double", AnyValue::String(b"x")),
        (IntValue(7), "double", AnyValue::Double(7.0)),
        (BoolValue(false), "double", AnyValue::Double(0.0)),
    ];
    for (value, to, expected) in cases {
        check_value(&value, &format!("action: convert, converted_type: {to}"), expected);
    }
}

#[test]
fn keys_of_old_conventions_get_their_present_names() {
    let before = [("service.name", "api"), ("deployment.environment", "test"), ("http.method", "GET")];
    let names = |section: &str| {
        let found = rewriter(section).rewrite(&resource(&before));
        found.iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("{normalize: off}")[..3], before.map(|(key, _)| key.to_owned()));
    let present = ["service.name", "deployment.environment.name", "http.method"];
    assert_eq!(names("{normalize: resource}")[..3], present);
    assert_eq!(names("{normalize: span}")[..3], present);

    let both = resource(&[("deployment.environment", "old"), ("deployment.environment.name", "new")]);
    let found = rewriter("{normalize: resource}").rewrite(&both);
    assert_eq!(found.get("deployment.environment.name"), Some(AnyValue::String(b"new")));
    assert_eq!(found.get("deployment.environment"), None);
}

#[test]
fn detected_attributes_are_added_if_absent() {
    let region = |raw: &[u8]| match rewriter("{}").rewrite(raw).get("cloud.region") {
        Some(AnyValue::String(text)) => String::from_utf8(text.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(region(&resource(&[("a", "1")])), "region");
    assert_eq!(region(&resource(&[("cloud.region", "own")])), "own");
}

#[test]
fn if_a_key_is_repeated_the_first_one_counts() {
    let before = &[("a", "1"), ("b", "2"), ("a", "3")][..];
    check(before, "[]", &[("a", "1"), ("b", "2")]);
    check(before, "[{key: a, action: delete}]", &[("b", "2")]);
    check(before, "[{key: c, from_attribute: a, action: insert}]", &[("a", "1"), ("b", "2"), ("c", "1")]);
}

#[test]
fn literals_keep_their_type() {
    let literals = [
        ("s", AnyValue::String(b"s")),
        ("'7'", AnyValue::String(b"7")),
        ("-7", AnyValue::Int(-7)),
        ("0.5", AnyValue::Double(0.5)),
        ("false", AnyValue::Bool(false)),
    ];
    for (literal, expected) in literals {
        let attributes =
            rewriter(&format!("{{attributes: [{{key: k, value: {literal}, action: insert}}]}}")).rewrite(&[]);
        assert_eq!(attributes.get("k"), Some(expected));
    }
}

#[test]
fn a_literal_may_be_a_list_or_a_map() {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    let section = "{attributes: [{key: k, value: [a, ~, {b: [1, 2.5], c: true}], action: insert}]}";
    let found = rewriter(section).rewrite(&resource(&[("cloud.region", "own")]));
    let list = |values: Vec<Option<any_value::Value>>| {
        let values = values.into_iter().map(|value| OtlpValue { value }).collect();
        any_value::Value::ArrayValue(ArrayValue { values })
    };
    let numbers = list(vec![Some(any_value::Value::IntValue(1)), Some(any_value::Value::DoubleValue(2.5))]);
    let map = KeyValueList { values: vec![pair("b", numbers), pair("c", any_value::Value::BoolValue(true))] };
    let text = any_value::Value::StringValue("a".into());
    let expected = list(vec![Some(text), None, Some(any_value::Value::KvlistValue(map))]);
    let region = pair("cloud.region", any_value::Value::StringValue("own".into()));
    let expected = Resource { attributes: vec![region, pair("k", expected)], ..Default::default() };
    let mut encoded = Vec::new();
    found.encode(&mut encoded);
    assert_eq!(Resource::decode(&encoded[..]).unwrap(), expected);
}

#[test]
fn values_of_every_type_are_copied() {
    use any_value::Value::{ArrayValue, BytesValue};
    let array = opentelemetry_proto::tonic::common::v1::ArrayValue { values: vec![OtlpValue { value: None }] };
    let attributes = vec![pair("array", ArrayValue(array)), pair("bytes", BytesValue(vec![0xff]))];
    let raw = Resource { attributes, ..Default::default() }.encode_to_vec();
    let found = rewriter("{attributes: [{key: copy, from_attribute: array, action: insert}]}").rewrite(&raw);
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
