use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::budget::Budget;
use crate::otlp::scan::{NoProbe, Scan, scan};
use crate::tail::request::{Fragment, HeldSpan, Request};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

/// Returns a span that starts at `id` ns, with the number of its service.
fn span(service: u32, kind: i32, id: u64, parent: u64) -> (u32, Span) {
    let bytes = |id: u64| if id == 0 { vec![] } else { id.to_be_bytes().to_vec() };
    let (trace_id, span_id, parent_span_id) = (vec![1; 16], bytes(id), bytes(parent));
    (service, Span { trace_id, span_id, parent_span_id, kind, start_time_unix_nano: id, ..Span::default() })
}

fn flagged(flags: u32, (service, span): (u32, Span)) -> (u32, Span) {
    (service, Span { flags, ..span })
}

/// Returns the resource of a service. The service's name is its number.
fn resource(service: u32) -> Resource {
    let name = AnyValue { value: Some(Value::StringValue(service.to_string())) };
    let attributes = vec![KeyValue { key: "service.name".into(), value: Some(name), ..KeyValue::default() }];
    Resource { attributes, ..Resource::default() }
}

fn fragment(spans: &[(u32, Span)]) -> Fragment {
    let groups = spans.iter().map(|(service, span)| {
        let scope_spans = vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }];
        ResourceSpans { resource: Some(resource(*service)), scope_spans, ..ResourceSpans::default() }
    });
    let body = Bytes::from(ExportTraceServiceRequest { resource_spans: groups.collect() }.encode_to_vec());
    let mut scanned = Scan::default();
    let body = scan(body, &NoProbe, &mut scanned).unwrap();
    let held: Vec<_> = scanned.facts.iter().map(|fact| HeldSpan::new(fact.span, fact.scope)).collect();
    let share = Budget::new(1 << 20).force(0);
    Fragment::new(Request::new(body, held.into(), scanned.scopes.into(), share), 0, spans.len() as u32)
}

/// Returns the service and the kind of each missing parent. Checks that the result is the same with all spans in one
/// request and with one request for each span.
fn found(spans: &[(u32, Span)]) -> Vec<(u32, Parent)> {
    let one = [fragment(spans)];
    let each: Vec<_> = spans.chunks(1).map(fragment).collect();
    let found = |fragments: &[Fragment]| {
        let open: Vec<_> = fragments.iter().map(Fragment::open).collect();
        let missing_parents = check_span_ids(&open).missing_parents;
        let service =
            |missing_parent: &MissingParent<'_>| std::str::from_utf8(missing_parent.service).unwrap().parse().unwrap();
        missing_parents
            .iter()
            .map(|missing_parent| (service(missing_parent), missing_parent.parent))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&one), found(&each));
    found(&one)
}

#[test]
fn gaps_are_parents_that_have_not_come() {
    use Parent::{Local, Remote};
    let missing = 99;
    let (root, entry) = (span(1, SERVER, 1, 0), span(1, SERVER, 1, missing));
    let cases = [
        ("whole", vec![root.clone(), span(1, CLIENT, 2, 1), span(2, SERVER, 3, 2)], vec![]),
        ("whole, backwards", vec![span(2, SERVER, 3, 2), span(1, CLIENT, 2, 1), root.clone()], vec![]),
        ("a root of its own id", vec![span(1, SERVER, 1, 1), span(1, CLIENT, 2, 1)], vec![]),
        ("the platform's span above the entry", vec![entry.clone(), span(1, CLIENT, 2, 1)], vec![]),
        ("two requests of one browser", vec![entry.clone(), span(2, SERVER, 5, missing)], vec![]),
        ("the caller's span is lost", vec![root.clone(), span(2, SERVER, 3, missing)], vec![(2, Remote)]),
        ("the same below an entry", vec![entry.clone(), span(2, SERVER, 3, 98)], vec![(2, Remote)]),
        ("the same, the entry last", vec![span(2, SERVER, 3, 98), entry.clone()], vec![(2, Remote)]),
        ("a message's producer is lost", vec![root.clone(), span(2, CONSUMER, 3, missing)], vec![(2, Remote)]),
        ("a span of the process is lost", vec![root.clone(), span(2, CLIENT, 3, missing)], vec![(2, Local)]),
        ("the process has not ended its entry", vec![span(1, CLIENT, 2, 1)], vec![(1, Local)]),
        ("the flags know better: local", vec![flagged(0x100, span(1, SERVER, 2, 1))], vec![(1, Local)]),
        ("the flags know better: remote", vec![flagged(0x300, span(1, CLIENT, 2, 1))], vec![]),
        ("the second flag alone says nothing", vec![flagged(0x200, span(1, CLIENT, 2, 1))], vec![(1, Local)]),
        (
            "of each service and kind",
            vec![root, span(2, CLIENT, 2, 98), span(2, CLIENT, 3, 97), span(2, SERVER, 4, 96), span(3, 0, 5, 95)],
            vec![(2, Local), (2, Remote), (3, Local)],
        ),
    ];
    for (what, spans, expected) in cases {
        assert_eq!(found(&spans), expected, "{what}");
    }
}

#[test]
fn the_number_of_gaps_is_limited() {
    let spans: Vec<_> = (0..1_000).map(|n| span(n as u32 % 3, CLIENT, 2 * n + 2, 2 * n + 3)).collect();
    assert_eq!(check_span_ids(&[fragment(&spans).open()]).missing_parents.len(), MISSING_PARENTS_MAX);
}

#[test]
fn spans_with_the_id_of_another_are_counted() {
    let duplicates = |ids: &[u64]| {
        let spans: Vec<_> = ids.iter().map(|&id| span(1, SERVER, id, 0)).collect();
        let each: Vec<_> = spans.chunks(1).map(fragment).collect();
        let open: Vec<_> = each.iter().map(Fragment::open).collect();
        check_span_ids(&open).duplicate_count
    };
    assert_eq!(duplicates(&[1, 2, 3]), 0);
    assert_eq!(duplicates(&[1, 2, 1, 3, 1, 2]), 3);
}
