//! Tests of every rule, at its limit and beyond.

use prost_types::Timestamp;

use super::*;
use crate::proto::google::devtools::cloudtrace::v2::span::time_event::Annotation;
use crate::proto::google::devtools::cloudtrace::v2::span::{Links, TimeEvents};
use crate::samples::{NOW_NS, attributes, span, string, text, timestamp};

type Change = Box<dyn Fn(&mut Span)>;

fn change(change: impl Fn(&mut Span) + 'static) -> Change {
    Box::new(change)
}

fn request(spans: Vec<Span>) -> BatchWriteSpansRequest {
    BatchWriteSpansRequest { name: "projects/p".into(), spans }
}

/// Returns the text of the rule that a valid span breaks after `change`; empty if it breaks none.
fn verdict(change: &Change) -> String {
    let mut span = span(1, 2, 3, 0..5);
    change(&mut span);
    batch(request(vec![span]), NOW_NS).err().map_or(String::new(), |violation| violation.rule.to_string())
}

fn at(days: i64, ns: i64) -> Option<Timestamp> {
    Some(timestamp(NOW_NS + days * 86_400_000_000_000 + ns))
}

fn keyed(count: usize) -> Option<Attributes> {
    let keys: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    Some(attributes(&keys.iter().map(|key| (key.as_str(), string("v"))).collect::<Vec<_>>()))
}

fn annotations(count: usize, annotation: &Annotation, time: Option<Timestamp>) -> Option<TimeEvents> {
    let event = TimeEvent { time, value: Some(EventValue::Annotation(annotation.clone())) };
    Some(TimeEvents { time_event: vec![event; count], ..TimeEvents::default() })
}

fn links(count: usize, trace_id: &str, span_id: &str, attributes: Option<Attributes>) -> Option<Links> {
    let link = Link { trace_id: trace_id.into(), span_id: span_id.into(), r#type: 0, attributes };
    Some(Links { link: vec![link; count], dropped_links_count: 0 })
}

const TRACE: &str = "0123456789abcdef0123456789abcdef";
const SPAN: &str = "0123456789abcdef";

fn check_all(cases: Vec<(&str, Change)>) {
    for (expected, change) in cases {
        let verdict = verdict(&change);
        let met = if expected.is_empty() { verdict.is_empty() } else { verdict.contains(expected) };
        assert!(met, "expected {expected:?}, got {verdict:?}");
    }
}

#[test]
fn names_and_ids() {
    let named = |name: &'static str| change(move |s| s.name = name.into());
    check_all(vec![
        ("", change(|_| {})),
        ("name must be projects/", named("")),
        ("name must be projects/", named("projects/p/traces/1/spans/2")),
        ("name must be projects/", named("projects/p/traces/00000000000000000000000000000001/spans/000000000000000G")),
        ("name must be projects/", named("projects/p/traces/00000000000000000000000000000000/spans/0000000000000002")),
        ("name must be projects/", named("projects/p/traces/00000000000000000000000000000001/spans/0000000000000000")),
        ("name must be projects/", named("projects/p/traces/0000000000000000000000000000000A/spans/0000000000000002")),
        ("name must be projects/", named("projects/p/traces/+0000000000000000000000000000001/spans/0000000000000002")),
        (
            "name must be projects/",
            named("projects/a b/traces/00000000000000000000000000000001/spans/0000000000000002"),
        ),
        ("name must be projects/", named("projects/p/traces/00000000000000000000000000000001/spans/0000000000000002/")),
        ("request's project p", named("projects/q/traces/00000000000000000000000000000001/spans/0000000000000002")),
        ("span_id must be", change(|s| s.span_id = "0000000000000003".into())),
        ("span_id must be", change(|s| s.span_id.clear())),
        ("", change(|s| s.parent_span_id.clear())),
        ("parent_span_id must be", change(|s| s.parent_span_id = "3".into())),
        ("parent_span_id must be", change(|s| s.parent_span_id = "000000000000000X".into())),
    ]);
}

#[test]
fn display_names() {
    let named = |length: usize| change(move |s| s.display_name = Some(text(&"n".repeat(length))));
    check_all(vec![
        ("", named(1_024)),
        ("display_name has 1025 bytes, at most 1024", named(1_025)),
        ("display_name is required", named(0)),
        ("display_name is required", change(|s| s.display_name = None)),
    ]);
}

#[test]
fn times() {
    check_all(vec![
        ("start_time is required", change(|s| s.start_time = None)),
        ("end_time is required", change(|s| s.end_time = None)),
        ("start_time is not a valid", change(|s| s.start_time = Some(Timestamp { seconds: 1, nanos: -1 }))),
        ("end_time is not a valid", change(|s| s.end_time = Some(Timestamp { seconds: 1, nanos: 1_000_000_000 }))),
        ("end_time is not a valid", change(|s| s.end_time = Some(Timestamp { seconds: 253_402_300_800, nanos: 0 }))),
        ("", change(|s| s.end_time = s.start_time)),
        ("end_time is before", change(|s| s.end_time = at(0, -1))),
        ("", change(|s| s.start_time = at(-14, 0))),
        ("more than 14 days in the past", change(|s| s.start_time = at(-14, -1))),
        ("", change(|s| s.end_time = at(3, 0))),
        ("more than 3 days in the future", change(|s| s.end_time = at(3, 1))),
        (
            "more than 3 days in the future",
            change(|s| s.end_time = Some(Timestamp { seconds: 253_402_300_799, nanos: 0 })),
        ),
    ]);
}

#[test]
fn span_attributes() {
    let pair = |key: usize, value: usize| {
        change(move |s| s.attributes = Some(attributes(&[(&"k".repeat(key), string(&"v".repeat(value)))])))
    };
    check_all(vec![
        ("", change(|s| s.attributes = keyed(1_024))),
        ("1025 attributes of the span, at most 1024", change(|s| s.attributes = keyed(1_025))),
        ("", pair(512, 65_532)),
        ("attribute key is empty", pair(0, 1)),
        ("attribute key has 513 bytes, at most 512", pair(513, 1)),
        ("value of an attribute has 65533 bytes, at most 65532", pair(1, 65_533)),
    ]);
}

#[test]
fn events() {
    let named = |length: usize| Annotation { description: Some(text(&"d".repeat(length))), attributes: None };
    let with_attributes = |count| Annotation { description: None, attributes: keyed(count) };
    let set = |count, annotation: Annotation, time: Option<Timestamp>| {
        change(move |s| s.time_events = annotations(count, &annotation, time))
    };
    check_all(vec![
        ("", set(256, named(1_024), at(0, 0))),
        ("", set(1, named(1), None)),
        ("257 events, at most 256", set(257, named(1), at(0, 0))),
        ("description has 1025 bytes", set(1, named(1_025), at(0, 0))),
        ("", set(1, with_attributes(1_024), at(0, 0))),
        ("1025 attributes of an event", set(1, with_attributes(1_025), at(0, 0))),
        ("an event's time is not a valid", set(1, named(1), Some(Timestamp { seconds: 0, nanos: -1 }))),
        ("", set(1, named(1), at(-365, 0))),
        ("an event is more than 365 days", set(1, named(1), at(-365, -1))),
    ]);
}

#[test]
fn span_links() {
    let set = |count, trace: &'static str, span: &'static str, own: usize| {
        change(move |s| s.links = links(count, trace, span, keyed(own)))
    };
    check_all(vec![
        ("", set(128, TRACE, SPAN, 1_024)),
        ("129 links, at most 128", set(129, TRACE, SPAN, 0)),
        ("a link must have", set(1, "", SPAN, 0)),
        ("a link must have", set(1, TRACE, "0000000000000000", 0)),
        ("a link must have", set(1, "00000000000000000000000000000000", SPAN, 0)),
        ("1025 attributes of a link", set(1, TRACE, SPAN, 1_025)),
    ]);
}

#[test]
fn the_first_bad_span_is_named_and_fails_the_batch() {
    let mut bad = span(1, 3, 0, 0..1);
    bad.end_time = None;
    let violation = batch(request(vec![span(1, 2, 0, 0..1), bad]), NOW_NS).unwrap_err();
    let name = "projects/p/traces/00000000000000000000000000000001/spans/0000000000000003";
    assert_eq!(violation.to_string(), format!("spans[1] {name:?}: end_time is required"));
}

#[test]
fn a_batch_names_its_project() {
    for (name, good) in [("projects/p", true), ("p", false), ("projects/", false), ("projects/p/", false), ("", false)]
    {
        let request = BatchWriteSpansRequest { name: name.into(), spans: Vec::new() };
        assert_eq!(
            batch(request, NOW_NS).map_err(|violation| violation.rule),
            if good { Ok(vec![]) } else { Err(ApiRule::RequestName) }
        );
    }
}

#[test]
fn an_error_quotes_only_the_beginning_of_a_long_name() {
    let message = single(Span { name: "\n".repeat(100_000), ..Span::default() }, NOW_NS).unwrap_err().to_string();
    assert!(message.len() < 1_000 && message.contains("\\n") && !message.contains('\n'), "{}", message.len());
}

#[test]
fn facts_come_from_the_names_and_times() {
    let stored = single(span(0xab, 2, 3, -5..7), NOW_NS).unwrap();
    assert_eq!(&*stored.project, "p");
    assert_eq!(
        stored.facts,
        SpanFacts {
            trace_id: trace_id("000000000000000000000000000000ab").unwrap(),
            id: 2,
            parent_id: 3,
            start_ns: NOW_NS - 5_000_000,
            end_ns: NOW_NS + 7_000_000,
        }
    );
}
