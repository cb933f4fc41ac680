//! Tests of the compiled conditions, of the errors with their offsets, and of the agreement with OTTL's own rules.

mod decoded;
mod documented;
mod oracle;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{OttlError, event_condition, resource_condition, span_condition};
use crate::condition::{Check, Condition, Number, Range, RangeBound, Test};

/// Formats a condition on one line.
fn shown(condition: &Condition) -> String {
    let joined = |parts: &[Condition], word: &str| parts.iter().map(shown).collect::<Vec<_>>().join(word);
    match condition {
        Condition::Constant(value) => value.to_string(),
        Condition::Test(Test { field, check }) => format!("{field:?} {}", shown_check(check)),
        Condition::Not(inner) => format!("!({})", shown(inner)),
        Condition::All(parts) => format!("({})", joined(parts, " & ")),
        Condition::Any(parts) => format!("({})", joined(parts, " | ")),
        Condition::AnyEvent(inner) => format!("any event ({})", shown(inner)),
        Condition::Formula(formula) => format!("{formula:?}"),
    }
}

fn shown_check(check: &Check) -> String {
    match check {
        Check::Number(range) => shown_range(range),
        Check::Numeric(range) => format!("Numeric {}", shown_range(range)),
        Check::Length(range) => format!("Length {}", shown_range(range)),
        Check::Element(inner) => format!("Element {}", shown_check(inner)),
        Check::Matches(pattern) => format!("/{}/", pattern.as_str()),
        Check::MatchesText(pattern) => format!("text /{}/", pattern.as_str()),
        other => format!("{other:?}"),
    }
}

fn shown_range(range: &Range) -> String {
    let at = |bound: &RangeBound| match bound.at {
        Number::Int(value) => value.to_string(),
        Number::Double(value) => format!("{value:?}"),
    };
    let min =
        range.min.as_ref().map_or("(".to_owned(), |b| format!("{}{}", if b.inclusive { '[' } else { '(' }, at(b)));
    let max =
        range.max.as_ref().map_or(")".to_owned(), |b| format!("{}{}", at(b), if b.inclusive { ']' } else { ')' }));
    format!("{min}..{max}")
}

#[test]
fn conditions_on_spans() {
    let cases = [
        // Attributes.
        (r#"attributes["x"] == "y""#, r#"SpanAttribute("x") OneOf(["y"])"#),
        (r#"span.attributes["x"] == "y""#, r#"SpanAttribute("x") OneOf(["y"])"#),
        (r#""y" == attributes["x"]"#, r#"SpanAttribute("x") OneOf(["y"])"#),
        (r#"attributes["x"] != "y""#, r#"!(SpanAttribute("x") OneOf(["y"]))"#),
        (r#"attributes["x"] == """#, r#"SpanAttribute("x") OneOf([""])"#),
        (r#"attributes["x"] == nil"#, r#"!(SpanAttribute("x") Present)"#),
        (r#"attributes["x"] != nil"#, r#"!(!(SpanAttribute("x") Present))"#),
        (r#"attributes["x"] == 5"#, r#"SpanAttribute("x") [5..5]"#),
        (r#"attributes["x"] != 5"#, r#"!(SpanAttribute("x") [5..5])"#),
        (r#"attributes["x"] >= 5.5"#, r#"SpanAttribute("x") [5.5..)"#),
        (r#"-.5 < attributes["x"]"#, r#"SpanAttribute("x") (-0.5..)"#),
        (r#"attributes["x"] < 2 * 3 + 1"#, r#"SpanAttribute("x") (..7)"#),
        (r#"attributes["x"] < 3 / 2.0"#, r#"SpanAttribute("x") (..1.5)"#),
        (r#"attributes["x"] < 2.5 * 2"#, r#"SpanAttribute("x") (..5.0)"#),
        (r#"attributes["x"] == true"#, r#"SpanAttribute("x") Bool(true)"#),
        (r#"attributes["x"] < true"#, r#"SpanAttribute("x") Bool(false)"#),
        (r#"attributes["x"] < false"#, "()"),
        (r#"attributes["x"]"#, r#"SpanAttribute("x") Bool(true)"#),
        (r#"not attributes["x"]"#, r#"SpanAttribute("x") Bool(false)"#),
        (r#"attributes["x"] == 0x00ff"#, r#"SpanAttribute("x") Bytes([0, 255])"#),
        (r#"resource.attributes["x"] == 1"#, r#"ResourceAttribute("x") [1..1]"#),
        (r#"instrumentation_scope.attributes["x"] == 1"#, r#"ScopeAttribute("x") [1..1]"#),
        (r#"scope.attributes["x"] == 1"#, r#"ScopeAttribute("x") [1..1]"#),
        (r#"attributes["a\t\"\\\x41\101\u00e9"] == 1"#, r#"SpanAttribute("a\t\"\\AAé") [1..1]"#),
        // Fields of the span. OTLP leaves default values out, so a check that the default value passes also holds
        // without the field.
        (r#"name == "a""#, r#"Name OneOf(["a"])"#),
        (r#"span.name == """#, r#"(Name OneOf([""]) | !(Name Present))"#),
        (r#"name != """#, r#"!((Name OneOf([""]) | !(Name Present)))"#),
        // Fields that are never nil (`compare_test.go`: nil is unequal to all other types).
        ("name != nil", "true"),
        ("nil != status.code", "true"),
        (r#"trace_state["x"] != nil and span_id != nil and start_time != nil"#, "(true & true & true)"),
        (r#"not (scope.name != nil and attributes["x"] != nil)"#, r#"(!(true) | !(SpanAttribute("x") Present))"#),
        (r#"status.message != "a""#, r#"!(StatusMessage OneOf(["a"]))"#),
        ("status.code == STATUS_CODE_ERROR", "StatusCode [2..2]"),
        ("status.code == 0", "(StatusCode [0..0] | !(StatusCode Present))"),
        ("kind == SPAN_KIND_SERVER", "Kind [2..2]"),
        ("kind < 2", "(Kind (..2) | !(Kind Present))"),
        (r#"kind.string == "Server""#, "Kind [2..2]"),
        (r#"kind.deprecated_string != "SPAN_KIND_CLIENT""#, "!(Kind [3..3])"),
        ("flags == 1", "Flags [1..1]"),
        (r#"trace_state == """#, r#"(TraceState OneOf([""]) | !(TraceState Present))"#),
        (r#"trace_state["dd"] != "x""#, r#"!(TraceStateEntry("dd") OneOf(["x"]))"#),
        ("start_time_unix_nano > 5", "StartTime (5..)"),
        ("5 > end_time_unix_nano", "(EndTime (..5) | !(EndTime Present))"),
        ("span_id == SpanID(0x0102030405060708)", "SpanId Bytes([1, 2, 3, 4, 5, 6, 7, 8])"),
        (r#"span_id.string == "0102030405060708""#, "SpanId Bytes([1, 2, 3, 4, 5, 6, 7, 8])"),
        (r#"span_id == SpanID("0102030405060708")"#, "SpanId Bytes([1, 2, 3, 4, 5, 6, 7, 8])"),
        ("parent_span_id == SpanID(0x0000000000000000)", "!(ParentSpanId Present)"),
        (r#"parent_span_id.string != "0000000000000000""#, "!(!(ParentSpanId Present))"),
        ("IsRootSpan()", "!(ParentSpanId Present)"),
        ("IsRootSpan() != true", "!(!(ParentSpanId Present))"),
        (r#"instrumentation_scope.name == "a""#, r#"ScopeName OneOf(["a"])"#),
        (r#"scope.version == "a""#, r#"ScopeVersion OneOf(["a"])"#),
        // Durations, in nanoseconds.
        (r#"end_time - start_time > Duration("1.5s")"#, "Duration (1500000000..)"),
        (r#"Duration("1m1s") - Duration("1s") <= span.end_time - span.start_time"#, "Duration [60000000000..)"),
        ("end_time_unix_nano - start_time_unix_nano > 1000", "Duration (1000..)"),
        ("(end_time_unix_nano - start_time_unix_nano) / 1000000 > 500", "Duration [501000000..)"),
        ("(end_time_unix_nano - start_time_unix_nano) / 1000 / 1000 == 0", "Duration (-1000000..1000000)"),
        ("Milliseconds(end_time - start_time) > 500", "Duration [501000000..)"),
        ("Milliseconds(end_time - start_time) >= 0.5", "Duration [1000000..)"),
        ("Milliseconds(end_time - start_time) == 0.5", "false"),
        ("Milliseconds(end_time - start_time) <= -1", "Duration (..-1000000]"),
        ("Nanoseconds(end_time - start_time) == 7", "Duration [7..7]"),
        ("Seconds(end_time - start_time) > 1.5", "Duration (1500000000.0..)"),
        // Functions.
        (r#"IsMatch(name, "^a")"#, "Name /^a/"),
        (r#"IsMatch(name, "a*")"#, "(Name /a*/ | !(Name Present))"),
        (r#"IsMatch(attributes["x"], "^5\\d")"#, r#"SpanAttribute("x") text /^5\d/"#),
        (r#"HasPrefix(name, "")"#, r#"(Name HasPrefix("") | !(Name Present))"#),
        (r#"HasSuffix(attributes["x"], "a")"#, r#"SpanAttribute("x") HasSuffix("a")"#),
        (
            r#"not Contains(attributes["x"], "a")"#,
            r#"(SpanAttribute("x") Type(String) & !(SpanAttribute("x") Contains("a")))"#,
        ),
        (r#"ContainsValue(attributes["x"], "a")"#, r#"SpanAttribute("x") Element OneOf(["a"])"#),
        (r#"ContainsValue(["b", "a", "b"], attributes["x"])"#, r#"SpanAttribute("x") OneOf(["a", "b"])"#),
        ("ContainsValue([1, 2], status.code)", "(StatusCode [1..1] | StatusCode [2..2])"),
        (r#"IsString(attributes["x"])"#, r#"SpanAttribute("x") Type(String)"#),
        (r#"Len(attributes["x"]) > 3"#, r#"SpanAttribute("x") Length (3..)"#),
        (r#"not (Len(attributes["x"]) > 3)"#, r#"SpanAttribute("x") Length (..3]"#),
        (r#"Len(attributes["x"]) != 3"#, r#"(SpanAttribute("x") Length (..3) | SpanAttribute("x") Length (3..))"#),
        ("Len(name) == 0", "(Name Length [0..0] | !(Name Present))"),
        (
            r#"String(attributes["x"]) == "500""#,
            r#"(SpanAttribute("x") OneOf(["500"]) | SpanAttribute("x") [500..500])"#,
        ),
        // `and`, `or` and `not`.
        ("true", "true"),
        (r#"kind == 1 or kind == 2 and not (kind == 3)"#, "(Kind [1..1] | (Kind [2..2] & !(Kind [3..3])))"),
        (
            r#"not (kind == 1 and HasPrefix(attributes["x"], "a"))"#,
            r#"(!(Kind [1..1]) | (SpanAttribute("x") Type(String) & !(SpanAttribute("x") HasPrefix("a"))))"#,
        ),
        ("not not kind == 1", "Kind [1..1]"),
    ];
    for (text, expected) in cases {
        assert_eq!(span_condition(text).as_ref().map(shown), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn conditions_on_events_and_resources() {
    let events = [
        (r#"name == "exception""#, r#"any event (EventName OneOf(["exception"]))"#),
        (r#"spanevent.attributes["x"] == 1"#, r#"any event (EventAttribute("x") [1..1])"#),
        (r#"attributes["x"] == 1"#, r#"any event (EventAttribute("x") [1..1])"#),
        (r#"name != nil and time != nil"#, "any event ((true & true))"),
        ("time_unix_nano > 5", "any event (EventTime (5..))"),
        (r#"span.name == "a" and IsRootSpan()"#, r#"any event ((Name OneOf(["a"]) & !(ParentSpanId Present)))"#),
        (r#"resource.attributes["x"] == 1"#, r#"any event (ResourceAttribute("x") [1..1])"#),
    ];
    for (text, expected) in events {
        assert_eq!(event_condition(text).as_ref().map(shown), Ok(expected.to_owned()), "{text}");
    }
    let resources = [
        (r#"service.name == "x""#, r#"ResourceAttribute("service.name") OneOf(["x"])"#),
        (r#"attributes["service.name"] != nil"#, r#"!(!(ResourceAttribute("service.name") Present))"#),
        (r#"resource.attributes["x"] == 1"#, r#"ResourceAttribute("x") [1..1]"#),
        (r#"IsMatch(k8s.pod.name, "^a")"#, r#"ResourceAttribute("k8s.pod.name") text /^a/"#),
    ];
    for (text, expected) in resources {
        assert_eq!(resource_condition(text).as_ref().map(shown), Ok(expected.to_owned()), "{text}");
    }
}

/// Formats an error: a caret below its place in the text, the message, and the help in parentheses.
fn rendered(text: &str, error: &OttlError) -> String {
    let caret = " ".repeat(text[..error.offset].chars().count());
    let help = error.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
    format!("{caret}^ {error}{help}")
}

type Parse = fn(&str) -> Result<Condition, OttlError>;

/// Checks the errors of the conditions in `errors.txt`. The first line of each block is the context and the condition,
/// the second is the error.
#[test]
fn errors_have_a_place_and_a_help() {
    let mut shown = String::new();
    for text in include_str!("tests/errors.txt").split("\n\n").filter_map(|block| block.lines().next()) {
        let (context, condition) = text.split_once(": ").unwrap();
        let parse: Parse = match context {
            "span" => span_condition,
            "event" => event_condition,
            _ => resource_condition,
        };
        let error = parse(condition).expect_err(condition);
        let indent = " ".repeat(context.len() + 2);
        shown.push_str(&format!("{text}\n{indent}{}\n\n", rendered(condition, &error)));
    }
    assert_eq!(shown, include_str!("tests/errors.txt"));
}

/// The pieces of random conditions.
const PIECES: [&str; 40] = [
    "attributes",
    "[\"a\"]",
    "[0]",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ":",
    ",",
    "name",
    "span.",
    "resource.",
    "kind",
    " == ",
    " < ",
    " != ",
    " and ",
    " or ",
    "not ",
    "+",
    "-",
    "*",
    "/",
    "1",
    "-1",
    "0.5",
    "\"a\"",
    "é",
    "nil",
    "true",
    "0x00",
    "Split(",
    "Concat([",
    "Len(",
    "IsMatch(",
    "IsRootSpan()",
    "start_time",
    "Duration(\"1s\")",
];

proptest! {
    #[test]
    fn random_texts_are_compiled_or_refused(pieces in vec(select(&PIECES[..]), 0..24)) {
        let text = pieces.concat();
        for parse in [span_condition, event_condition, resource_condition] {
            if let Err(error) = parse(&text) {
                prop_assert!(text.is_char_boundary(error.offset), "{text:?} {error:?}");
            }
        }
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(span_condition(&nested(32)).is_ok());
    assert_eq!(span_condition(&nested(33)).unwrap_err().message, "nested deeper than 32 levels");
    assert_eq!(span_condition(&"not ".repeat(33)).unwrap_err().message, "nested deeper than 32 levels");
    let sum = |operators: usize| format!("kind == 1{}", " + 1".repeat(operators));
    assert!(span_condition(&sum(32)).is_ok());
    let too_many = "more than 32 arithmetic operators and keys inside of values";
    assert_eq!(span_condition(&sum(33)).unwrap_err().message, too_many);
    let keys = |keys: usize| format!("Split(name, \"\"){} == 1", "[0]".repeat(keys));
    assert!(span_condition(&keys(32)).is_ok());
    assert_eq!(span_condition(&keys(33)).unwrap_err().message, too_many);
    let many = vec!["attributes[\"a\"] == 1"; 128].join(" or ");
    assert!(span_condition(&many).is_ok());
    let chain = |tests: usize| vec!["kind == 1"; tests].join(" or ");
    assert!(span_condition(&chain(128)).is_ok());
    assert_eq!(
        span_condition(&chain(129)).unwrap_err().message,
        "the condition has 129 comparisons; at most 128 are allowed"
    );
    let long = format!("{}true", " ".repeat(4092));
    assert!(span_condition(&long).is_ok());
    let longer = format!(" {long}");
    assert_eq!(span_condition(&longer).unwrap_err().message, "the condition has 4097 bytes; at most 4096 are allowed");
}
