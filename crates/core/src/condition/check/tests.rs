use super::super::{Condition, Field, Pattern, Range, RangeBound, Test};
use super::*;
use AnyValue::{Bool, Bytes, Double, Int, String};

fn range(min: i64, max: i64) -> Range {
    let bound = |at| Some(RangeBound { at: Number::Int(at), inclusive: true });
    Range { min: bound(min), max: bound(max) }
}

fn pattern(text: &str) -> Check {
    Check::Matches(Pattern::new(text).unwrap())
}

/// An encoded `AnyValue` with a list of two empty strings.
const LIST: &[u8] = &[0x2a, 8, 0x0a, 2, 0x0a, 0, 0x0a, 2, 0x0a, 0];
/// An encoded `AnyValue` with a map of one entry.
const MAP: &[u8] = &[0x32, 5, 0x0a, 3, 0x0a, 1, b'k'];

#[test]
fn values_pass_the_checks_that_fit_them() {
    let (list, map) = (AnyValue::new(LIST), AnyValue::new(MAP));
    let text = |v: &str| v.to_owned();
    for (check, passing, failing) in [
        (Check::Present, vec![String(b""), Bool(false), Int(0), Double(f64::NAN), Bytes(b""), list, map], vec![]),
        (Check::Type(ValueType::String), vec![String(b"")], vec![Int(0), Bytes(b""), list]),
        (Check::Type(ValueType::Bool), vec![Bool(false)], vec![Int(0), String(b"true")]),
        (Check::Type(ValueType::Int), vec![Int(0)], vec![Double(0.0), Bool(false)]),
        (Check::Type(ValueType::Double), vec![Double(0.0)], vec![Int(0)]),
        (Check::Type(ValueType::List), vec![list], vec![map]),
        (Check::Type(ValueType::Map), vec![map], vec![list]),
        (Check::Type(ValueType::Bytes), vec![Bytes(b"")], vec![String(b"")]),
        (
            Check::OneOf(vec![text("GET"), text("PUT")]),
            vec![String(b"GET"), String(b"PUT")],
            vec![String(b"get"), String(b"GETS"), String(b""), Bytes(b"GET"), list],
        ),
        (Check::OneOf(vec![]), vec![], vec![String(b"")]),
        // Patterns are not anchored, and bytes that are not UTF-8 do not disturb them.
        (pattern("live"), vec![String(b"/api/livestock"), String(b"\xfflive")], vec![String(b"liv")]),
        (pattern("^/live$"), vec![String(b"/live")], vec![String(b"/alive"), Bytes(b"/live")]),
        (Check::HasPrefix(text("a/")), vec![String(b"a/b"), String(b"a/")], vec![String(b"a"), String(b"b/a/")]),
        (Check::HasSuffix(text(".js")), vec![String(b"x.js"), String(b".js")], vec![String(b"x.jsx"), Int(1)]),
        (Check::Contains(text("ab")), vec![String(b"aab"), String(b"ab")], vec![String(b"a b"), String(b"")]),
        (Check::Contains(text("")), vec![String(b"")], vec![Int(1)]),
        (Check::Bool(true), vec![Bool(true)], vec![Bool(false), String(b"true"), Int(1)]),
        (
            Check::Number(range(50, 100)),
            vec![Int(50), Int(100), Double(75.5)],
            vec![Int(49), Double(100.1), Double(f64::NAN), String(b"75"), Bool(true)],
        ),
        (
            Check::Numeric(range(500, 599)),
            vec![Int(503), Double(503.0), String(b"503"), String(b"503.5")],
            vec![Int(499), String(b"teapot"), String(b"600"), String(b""), Bool(true)],
        ),
        (Check::Bytes(vec![0, 255]), vec![Bytes(&[0, 255])], vec![Bytes(&[0]), String(&[0, 255])]),
        (
            Check::Length(range(1, 2)),
            vec![list, map, String("é".as_bytes()), Bytes(b"x")],
            vec![String(b""), Bytes(b"xyz"), Int(1), Bool(true)],
        ),
    ] {
        passing.iter().for_each(|&value| assert!(check.passes(value), "{value:?} passes {check:?}"));
        failing.iter().for_each(|&value| assert!(!check.passes(value), "{value:?} fails {check:?}"));
        assert!(!check.passes(AnyValue::Empty), "{check:?}");
    }
}

/// Returns true if a span with this one attribute (or with this status code, for the key `status`) counts as failed.
fn is_failure(key: &str, value: AnyValue<'_>) -> bool {
    let Condition::Any(parts) = Condition::failed(true, true, true) else { panic!("not a disjunction of tests") };
    parts.iter().any(|part| match part {
        Condition::Test(Test { field: Field::SpanAttribute(k), check }) => k == key && check.passes(value),
        Condition::Test(Test { field: Field::StatusCode, check }) => key == "status" && check.passes(value),
        other => panic!("{other:?}"),
    })
}

#[test]
fn status_http_and_rpc_codes_mark_failures() {
    for (key, value, failure) in [
        ("status", Int(2), true),
        ("status", Int(1), false),
        ("status", Int(0), false),
        ("http.response.status_code", Int(500), true),
        ("http.response.status_code", Int(599), true),
        ("http.response.status_code", Int(499), false),
        ("http.response.status_code", Int(-500), false),
        ("http.response.status_code", String(b"503"), true),
        ("http.response.status_code", Double(504.0), true),
        ("http.response.status_code", Bool(true), false),
        ("http.status_code", Int(502), true),
        ("http.status_code", String(b"teapot"), false),
        ("http.status.code", Int(502), false),
        ("rpc.grpc.status_code", Int(0), false),
        ("rpc.grpc.status_code", Int(2), true),
        ("rpc.grpc.status_code", Int(4), true),
        ("rpc.grpc.status_code", Int(5), false),
        ("rpc.grpc.status_code", Int(12), true),
        ("rpc.grpc.status_code", Int(13), true),
        ("rpc.grpc.status_code", Double(13.0), true),
        ("rpc.grpc.status_code", Double(13.5), false),
        ("rpc.grpc.status_code", String(b"14"), true),
        ("rpc.grpc.status_code", Int(15), true),
        ("rpc.response.status_code", String(b"INTERNAL"), true),
        ("rpc.response.status_code", String(b"unavailable"), true),
        ("rpc.response.status_code", String(b"NOT_FOUND"), false),
        ("rpc.response.status_code", String(b"-32602"), false),
    ] {
        assert_eq!(is_failure(key, value), failure, "{key} {value:?}");
    }
}
