//! Tests of writes, queries, repeated spans and eviction.

use super::*;
use crate::check::single;
use crate::proto::google::devtools::cloudtrace::v2::Span;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::samples::{NOW_NS, attributes, checked, span, stored, stored_with, string, text};
use crate::stored::{ADJUSTED_COUNT_KEY, POLICY_KEY};

const ROOMY: usize = 1 << 20;

fn trace_id(trace: u128) -> TraceId {
    TraceId(trace.to_be_bytes())
}

fn found(store: &TraceStore, query: &Query) -> Vec<u128> {
    store.traces(query).iter().map(|trace| u128::from_be_bytes(trace.trace_id.0)).collect()
}

fn kept_by(trace: u128, id: u64, policy: &str, service: &str, adjusted_count: i64) -> StoredSpan {
    stored_with(
        trace,
        id,
        &[
            (POLICY_KEY, string(policy)),
            (ADJUSTED_COUNT_KEY, Value::IntValue(adjusted_count)),
            ("service.name", string(service)),
        ],
    )
}

#[test]
fn spans_come_back_as_they_were_written() {
    let store = TraceStore::new(ROOMY);
    let spans = [stored(1, 1, 0, 0..9), kept_by(1, 2, "errors", "api", 1), stored(2, 1, 0, 0..9)];
    store.write(&spans);
    assert_eq!(store.trace(&trace_id(1)).unwrap(), spans[..2]);
    assert_eq!(store.spans(), spans);
    let trace_count = store.table.lock().traces.len();
    assert_eq!((trace_count, store.span_count()), (2, 3));
    assert_eq!(store.trace(&trace_id(3)), None);
    assert!(store.holds(&trace_id(2)) && !store.holds(&trace_id(3)));
    assert_eq!(*store.written().borrow(), 3);
}

#[test]
fn a_summary_covers_all_spans() {
    let store = TraceStore::new(ROOMY);
    let mut failed = span(1, 2, 1, 3..20);
    failed.attributes = Some(attributes(&[("http.response.status_code", Value::IntValue(500))]));
    store.write(&[checked(failed), kept_by(1, 3, "slow", "db", 20)]);
    store.write(&[kept_by(1, 4, "errors", "api", 1), stored(1, 1, 0, -5..9)]);
    let summary = store.traces(&Query::default()).remove(0);
    assert_eq!(
        summary,
        TraceSummary {
            trace_id: trace_id(1),
            root_name: "span 1".into(),
            root_service: None,
            services: vec!["api".into(), "db".into()],
            service_colors: vec![1, 0],
            start_ns: NOW_NS - 5_000_000,
            duration_ns: 25_000_000,
            span_count: 4,
            error_count: 1,
            policies: vec!["errors".into(), "slow".into()],
            adjusted_count: Some(1.0),
        }
    );
}

#[test]
fn queries() {
    let store = TraceStore::new(ROOMY);
    let mut failed = span(2, 2, 0, 0..5);
    failed.status = Some(crate::proto::google::rpc::Status { code: 2, ..Default::default() });
    let slow = stored(1, 9, 0, 0..900);
    store.write(&[kept_by(1, 1, "slow", "api", 1), slow, kept_by(2, 1, "errors", "api", 1), checked(failed)]);
    store.write(&[kept_by(3, 1, "errors", "db", 1)]);
    let all = Query::default();
    let api = Query { service: Some("api".into()), ..all.clone() };
    let by_errors = Query { policy: Some("errors".into()), ..all.clone() };
    let cases = [
        (all.clone(), vec![3, 2, 1]),
        (Query { limit: 2, ..all.clone() }, vec![3, 2]),
        (Query { filter: Filter::Errors, ..all.clone() }, vec![2]),
        (Query { filter: Filter::Slow, ..all.clone() }, vec![1, 2, 3]),
        (Query { filter: Filter::Slow, limit: 1, ..all.clone() }, vec![1]),
        (by_errors.clone(), vec![3, 2]),
        (api.clone(), vec![2, 1]),
        (Query { policy: Some("errors".into()), ..api.clone() }, vec![2]),
        (Query { filter: Filter::Errors, service: Some("db".into()), ..by_errors }, vec![]),
        (Query { policy: Some("none such".into()), ..all }, vec![]),
    ];
    for (query, expected) in cases {
        assert_eq!(found(&store, &query), expected, "{query:?}");
    }
}

#[test]
fn a_repeated_span_is_stored_once_and_a_changed_one_not_at_all() {
    let store = TraceStore::new(ROOMY);
    let first = kept_by(1, 1, "errors", "api", 1);
    let mut changed = first.span.clone();
    changed.display_name = Some(text("another"));
    store.write(std::slice::from_ref(&first));
    let bytes = store.status().bytes;
    store.write(&[first.clone(), checked(changed)]);
    let status = store.status();
    assert_eq!(store.spans(), [first]);
    assert_eq!((status.counts.repeated_spans, status.counts.conflicting_spans), (1, 1));
    assert_eq!((status.counts.written_spans, status.counts.accepted_calls, status.bytes), (1, 2, bytes));
}

#[test]
fn the_same_ids_in_another_project_are_another_span() {
    let store = TraceStore::new(ROOMY);
    let mut other = span(1, 1, 0, 0..1);
    other.name = other.name.replace("projects/p/", "projects/q/");
    store.write(&[stored(1, 1, 0, 0..1), single(other, NOW_NS).unwrap()]);
    assert_eq!(store.span_count(), 2);
}

#[test]
fn the_oldest_traces_go_first_and_are_counted() {
    let one_trace_bytes = {
        let store = TraceStore::new(ROOMY);
        store.write(&[stored(1, 1, 0, 0..1)]);
        store.status().bytes
    };
    let store = TraceStore::new(2 * one_trace_bytes);
    (1..=4).for_each(|trace| store.write(&[stored(trace, 1, 0, 0..1)]));
    assert_eq!(found(&store, &Query::default()), [4, 3]);
    let status = store.status();
    assert_eq!((status.bytes, status.traces, status.spans), (2 * one_trace_bytes, 2, 2));
    assert_eq!((status.counts.evicted_traces, status.counts.evicted_spans), (2, 2));

    // A late span enlarges an old trace, but does not change its place in the order of eviction.
    store.write(&[stored(3, 2, 1, 0..1)]);
    assert_eq!(found(&store, &Query::default()), [4]);
    assert_eq!(*store.written().borrow(), 5);
}

#[test]
fn a_trace_larger_than_the_store_is_evicted_at_once() {
    let store = TraceStore::new(600);
    store.write(&[kept_by(1, 1, "errors", "api", 1), kept_by(1, 2, "slow", "db", 1)]);
    let status = store.status();
    assert_eq!((status.bytes, status.traces, status.spans), (0, 0, 0));
    assert_eq!((status.counts.evicted_traces, status.counts.evicted_spans), (1, 2));
}

#[test]
fn a_status_lists_the_most_frequent_names() {
    let store = TraceStore::new(ROOMY);
    for trace in 0..NAMES_MAX as u128 + 10 {
        store.write(&[
            kept_by(trace + 1, 1, "errors", &format!("service {trace}"), 1),
            kept_by(trace + 1, 2, "errors", "api", 1),
        ]);
    }
    let status = store.status();
    assert_eq!(status.policies.get("errors"), Some(&(NAMES_MAX + 10)));
    assert_eq!(status.services.len(), NAMES_MAX);
    assert_eq!(status.services.get("api"), Some(&(NAMES_MAX + 10)));
}

#[test]
fn a_refusal_is_counted_with_its_reason() {
    let store = TraceStore::new(ROOMY);
    let violation = single(Span::default(), NOW_NS).unwrap_err();
    store.refuse(&violation);
    let counts = store.status().counts;
    assert_eq!((counts.refused_calls, counts.accepted_calls), (1, 0));
    assert_eq!(counts.last_refusal, Some(violation.to_string()));
}
