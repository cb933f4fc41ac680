use super::Pattern;
use crate::otlp::view::AnyValue;

#[test]
fn text_of_simple_values() {
    let cases = [
        (AnyValue::String(b"abc"), "^abc$", true),
        (AnyValue::String(b"abc"), "^d", false),
        (AnyValue::Bool(true), "^true$", true),
        (AnyValue::Bool(false), "^false$", true),
        (AnyValue::Int(503), "^5..$", true),
        (AnyValue::Int(i64::MIN), "^-9223372036854775808$", true),
        (AnyValue::Double(0.25), "^0\\.25$", true),
        (AnyValue::Double(500.0), "^500$", true),
        (AnyValue::Double(1e21), "^1000000000000000000000$", true),
        (AnyValue::Double(-5e-324), "^-0\\.0{323}5$", true),
        (AnyValue::Double(-2.225_073_858_507_201_4e-308), "^-0\\.0{307}22250738585072014$", true),
        (AnyValue::Double(-f64::MAX), "^-17976931348623157", true),
        (AnyValue::Bytes(b"abc"), "", false),
        (AnyValue::Empty, "", false),
    ];
    for (value, pattern, expected) in cases {
        assert_eq!(Pattern::new(pattern).unwrap().is_match_text(value), expected, "{value:?} {pattern}");
    }
}
