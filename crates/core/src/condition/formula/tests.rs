//! Tests of cases that the OTTL oracle does not cover: calendars, limits and text that is not UTF-8.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Sent, ArrayValue, KeyValue, KeyValueList};
use prost::Message;

use super::*;
use crate::condition::Condition;
use crate::condition::ottl::span_condition;

fn encoded(value: Value) -> Vec<u8> {
    Sent { value: Some(value) }.encode_to_vec()
}

/// Returns true if the formula holds for a span with this attribute `a` and this start time.
fn holds(text: &str, attribute: &[u8], start: i64) -> bool {
    let fields = EncodedFields(vec![
        (Field::SpanAttribute("a".into()), attribute.to_vec()),
        (Field::StartTime, encoded(Value::IntValue(start))),
        (Field::Name, encoded(Value::StringValue("ab".into()))),
    ]);
    match span_condition(text).unwrap() {
        Condition::Formula(formula) => formula.holds(&fields),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn times_have_parts() {
    // Seconds since 1970, with the date that `date -u -d @SECONDS` prints.
    for (seconds, year, month, day, weekday, hour) in [
        (1, 1970, 1, 1, 4, 0),
        (951_782_400, 2000, 2, 29, 2, 0),
        (1_700_000_000, 2023, 11, 14, 2, 22),
        (4_107_542_399, 2100, 2, 28, 0, 23),
        (4_107_542_400, 2100, 3, 1, 1, 0),
        (-1, 1969, 12, 31, 3, 23),
    ] {
        let text = format!(
            "Year(start_time) * 10000 + Month(start_time) * 100 + Day(start_time) == {}",
            year * 10_000 + month * 100 + day
        );
        assert!(holds(&text, &[], seconds * 1_000_000_000), "{text}");
        let text = format!("Weekday(start_time) * 100 + Hour(start_time) == {}", weekday * 100 + hour);
        assert!(holds(&text, &[], seconds * 1_000_000_000), "{text}");
    }
    assert!(holds("Minute(start_time) * 100 + Second(start_time) == 1320", &[], 1_700_000_000_000_000_007));
    assert!(holds("Nanosecond(start_time) == 7", &[], 1_700_000_000_000_000_007));
    assert!(holds("UnixSeconds(start_time) == 1700000000", &[], 1_700_000_000_000_000_007));
}

#[test]
fn results_of_functions_are_bounded() {
    let text = |length: usize| encoded(Value::StringValue("x".repeat(length)));
    let concat = r#"Len(Concat([attributes["a"], attributes["a"]], "")) > 0"#;
    assert!(holds(concat, &text(32_768), 1));
    assert!(!holds(concat, &text(32_769), 1));
    let split = r#"Len(Split(attributes["a"], "")) > 0"#;
    assert!(holds(split, &text(1_024), 1));
    assert!(!holds(split, &text(1_025), 1));
    let entry = |n: usize| KeyValue { key: n.to_string(), ..KeyValue::default() };
    let map = |entries: usize| encoded(Value::KvlistValue(KeyValueList { values: (0..entries).map(entry).collect() }));
    let differs = r#"attributes["a"] != {"a": 1}"#;
    assert!(holds(differs, &map(1_024), 1));
    assert!(!holds(differs, &map(1_025), 1));
    let element = Sent { value: Some(Value::IntValue(1)) };
    let list = encoded(Value::ArrayValue(ArrayValue { values: vec![element; 5_000] }));
    assert!(holds(r#"attributes["a"][4999] == 1"#, &list, 1));
    assert!(!holds(r#"attributes["a"][5000] == nil"#, &list, 1));
}

#[test]
fn text_that_is_not_utf_8_is_compared_as_bytes() {
    // A string value of the bytes `a` and 0xff.
    let broken = [0x0a, 2, b'a', 0xff];
    assert!(holds(r#"attributes["a"] > name"#, &broken, 1));
    assert!(holds(r#"HasPrefix(attributes["a"], Substring(name, 0, 1))"#, &broken, 1));
    assert!(holds(r#"Len(Split(attributes["a"], "")) == 2"#, &broken, 1));
    assert!(!holds(r#"ToUpperCase(attributes["a"]) != "x""#, &broken, 1));
}

#[test]
fn numbers_are_parsed_as_in_go() {
    let text = |text: &str| encoded(Value::StringValue(text.into()));
    for (condition, value, expected) in [
        (r#"Int(attributes["a"]) != 1"#, text("test"), false),
        (r#"Int(attributes["a"]) == 1"#, text("test"), false),
        (r#"Int(attributes["a"]) == 2"#, text("2.7"), false),
        (r#"Int(attributes["a"]) == 2"#, text("+2"), true),
        (r#"Int(attributes["a"]) == -2"#, encoded(Value::DoubleValue(-2.7)), true),
        (r#"Int(attributes["a"]) > 0"#, encoded(Value::DoubleValue(1e21)), false),
        (r#"Int(attributes["a"]) != 0"#, encoded(Value::DoubleValue(f64::NAN)), false),
        (r#"Double(attributes["a"]) > 1.5"#, text("Infinity"), true),
        (r#"Double(attributes["a"]) < 1.5"#, text("-inf"), true),
        (r#"Double(attributes["a"]) > 1.5"#, text("1e400"), false),
        (r#"Double(attributes["a"]) > 1.5"#, text("2e0"), true),
        (r#"Concat([attributes["a"]], "") == "1e+21""#, encoded(Value::DoubleValue(1e21)), true),
        (r#"attributes["a"] + 1 > 0"#, encoded(Value::IntValue(i64::MAX)), false),
        (r#"attributes["a"] / 0 != 1"#, encoded(Value::IntValue(1)), false),
    ] {
        assert_eq!(holds(condition, &value, 1), expected, "{condition} of {value:?}");
    }
}

/// `func_coalesce.go`: what comes after the first value that is not nil is not evaluated.
#[test]
fn coalesce_stops_at_the_first_value() {
    let text = encoded(Value::StringValue("x".into()));
    for (condition, attribute, expected) in [
        (r#"Coalesce([attributes["a"], Len(attributes["a"][0])]) == "x""#, text.as_slice(), true),
        (r#"Coalesce([Len(attributes["a"][0]), attributes["a"]]) == "x""#, text.as_slice(), false),
        (r#"Coalesce([attributes["b"], attributes["a"]]) == "x""#, text.as_slice(), true),
        (r#"Coalesce([attributes["a"], attributes["b"]]) == nil"#, &[], true),
    ] {
        assert_eq!(holds(condition, attribute, 1), expected, "{condition}");
    }
}
