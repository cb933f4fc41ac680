use super::*;
use crate::condition::ottl;

/// Checks for each condition if a span can fulfil it.
fn check(cases: &[(&str, bool)]) {
    for (text, expected) in cases {
        let condition = ottl::span_condition(text).unwrap();
        assert_eq!(condition.can_hold(&mut Effort::of(10_000)), *expected, "{text}");
    }
}

#[test]
fn one_field_has_one_value() {
    check(&[
        (r#"name == "a" and name == "b""#, false),
        (r#"name == "a" or name == "b""#, true),
        (r#"name == "a" and name != "a""#, false),
        (r#"name == "a" and name != "b""#, true),
        (r#"name == "ab" and IsMatch(name, "^a")"#, true),
        (r#"name == "ab" and IsMatch(name, "^b")"#, false),
        (r#"name == "a" and not (name == "a" or name == "b")"#, false),
        ("status.code == STATUS_CODE_ERROR and status.code == STATUS_CODE_OK", false),
        ("status.code == STATUS_CODE_ERROR and kind == SPAN_KIND_SERVER", true),
        (r#"attributes["a"] == "x" and attributes["b"] == "y""#, true),
        (r#"attributes["a"] == "x" and resource.attributes["a"] == "y""#, true),
    ]);
}

#[test]
fn ranges_must_meet() {
    check(&[
        (r#"attributes["n"] > 5 and attributes["n"] < 5"#, false),
        (r#"attributes["n"] >= 5 and attributes["n"] <= 5"#, true),
        (r#"attributes["n"] > 5 and attributes["n"] < 6"#, true),
        (r#"attributes["n"] > 5.25 and attributes["n"] < 5.5"#, true),
        (r#"attributes["n"] > 500 and attributes["n"] < 400"#, false),
        (r#"attributes["n"] == 5 and attributes["n"] != 5"#, false),
        (r#"attributes["n"] == 5 and attributes["n"] == "x""#, false),
        (r#"attributes["n"] == true and attributes["n"] == false"#, false),
        ("kind == 9", false),
    ]);
}

#[test]
fn an_attribute_of_span_or_resource_has_two_values() {
    let test = |value: &str| Condition::test(Field::Attribute("k".into()), Check::OneOf(vec![value.to_owned()]));
    let not = |value: &str| Condition::Not(Box::new(test(value)));
    let can = |parts: Vec<Condition>| Condition::All(parts).can_hold(&mut Effort::of(10_000));
    assert!(can(vec![test("a"), test("b")]));
    assert!(!can(vec![test("a"), not("a")]));
    assert!(can(vec![test("a"), not("b")]));
    let of_span = Condition::test(Field::SpanAttribute("k".into()), Check::OneOf(vec!["a".into()]));
    assert!(!can(vec![of_span.clone(), not("a")]));
    assert!(can(vec![of_span, not("b")]));
}

#[test]
fn an_event_is_judged_by_itself() {
    let event = |text: &str| ottl::event_condition(text).unwrap();
    let can = |condition: &Condition| condition.can_hold(&mut Effort::of(10_000));
    assert!(!can(&event(r#"name == "a" and name == "b""#)));
    // Two events can have two names.
    assert!(can(&Condition::All(vec![event(r#"name == "a""#), event(r#"name == "b""#)])));
    let a = event(r#"name == "a""#);
    assert!(!can(&Condition::All(vec![a.clone(), Condition::Not(Box::new(a))])));
}

#[test]
fn failures_of_every_kind_can_happen() {
    for parts in [(true, false, false), (false, true, false), (false, false, true), (true, true, true)] {
        let failed = Condition::failed(parts.0, parts.1, parts.2);
        assert!(failed.can_hold(&mut Effort::of(10_000)), "{parts:?}");
        assert!(!can_all_hold(&[(&failed, true), (&failed, false)], &mut Effort::of(10_000)), "{parts:?}");
    }
}
