//! The metrics of incomplete traces, late spans and forgotten verdicts, and the decision wait that they suggest.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::sampling::Parent;

use crate::support::traces::{self, Fixture, id, span};
use crate::support::{self, Client, eventually, metric, request, start};

const WAIT_MS: u64 = 10_000;

fn fixture() -> Fixture {
    Fixture::new("    - {name: half, type: probabilistic, probabilistic: {sampling_percentage: 50}}")
}

/// Returns a span with the id `id` below `parent`; 0 means no parent.
fn child(trace: u128, id: u64, parent: u64) -> Span {
    let parent_span_id = if parent == 0 { vec![] } else { parent.to_be_bytes().into() };
    Span { span_id: id.to_be_bytes().into(), parent_span_id, ..span(trace) }
}

#[test]
fn incomplete_traces_are_counted_by_service_and_marked_if_they_are_kept() {
    let mut fixture = fixture();
    for (number, part) in [(1, 0.4), (2, 0.6)] {
        // One trace is complete. In the other, span 2 is lost.
        fixture.send_from("front", &[child(id(number, part), 1, 0)]);
        fixture.send_from("back", &[child(id(number, part), 3, 1)]);
        fixture.send_from("front", &[child(id(number + 10, part), 1, 0)]);
        fixture.send_from("back", &[child(id(number + 10, part), 3, 2), child(id(number + 10, part), 4, 2)]);
    }
    fixture.advance(WAIT_MS);
    let services = &fixture.outcome.tally.services;
    let incomplete = |service: &[u8]| services[service].incomplete_traces;
    assert_eq!(incomplete(b"front"), [0; 2]);
    assert_eq!(incomplete(b"back")[Parent::Local as usize], 2, "one trace is dropped, one is kept");
    assert_eq!(incomplete(b"back")[Parent::Remote as usize], 0);
    // Late spans do not change the mark: kept ones carry the same one.
    fixture.send_from("back", &[child(id(11, 0.4), 2, 1)]);
    let marks: Vec<_> = fixture
        .kept
        .iter()
        .map(|kept| {
            let first = kept.fragment.open().spans().next().unwrap().span.to_vec();
            (<Span as prost::Message>::decode(&*first).unwrap().trace_id[7], kept.keep.missing_parent)
        })
        .collect();
    for (number, mark) in &marks {
        assert_eq!(*mark, (*number == 11).then_some(Parent::Local));
    }
    assert_eq!(marks.iter().filter(|(number, _)| *number == 11).count(), 3);
}

#[test]
fn traces_decided_before_their_wait_are_not_counted_as_incomplete() {
    let mut fixture = Fixture::new("    - {name: all, type: always_sample}");
    fixture.send(&[child(id(1, 0.5), 3, 2)]);
    while fixture.table.drain(fixture.now_ms, &mut fixture.outcome) {}
    assert!(fixture.outcome.tally.services.values().all(|counts| counts.incomplete_traces == [0; 2]));
    assert_eq!(fixture.kept[0].keep.missing_parent, None);
}

#[test]
fn spans_are_late_if_they_come_after_the_wait_for_either_verdict() {
    let mut fixture = Fixture::new("    - {name: errors, type: error}\n    - {name: other, type: trace_flags}");
    let (failed, healthy) = (id(1, 0.5), id(2, 0.5));
    fixture.send(&[traces::error(failed), span(healthy)]);
    fixture.advance(WAIT_MS / 2);
    fixture.send_from("in time", &[span(failed), span(healthy)]);
    fixture.advance(WAIT_MS / 2 + 1);
    fixture.send_from("late", &[span(failed), span(healthy)]);
    let tally = &fixture.outcome.tally;
    let delays: Vec<_> = tally.delays.iter().map(|delay| (delay.delay_ms, delay.seen, delay.spans)).collect();
    assert_eq!(delays, [(0, 2, 2), (WAIT_MS / 2, 2, 2), (WAIT_MS + 1, 2, 2)]);
    let late = |service: &[u8]| (tally.services[service].spans, tally.services[service].late_spans);
    assert_eq!((late(b"in time"), late(b"late")), ((2, 0), (2, 2)));
    assert_eq!(fixture.outcome.tally.late_kept_spans, 2, "both later spans of the kept trace came after its decision");
}

#[test]
fn a_trace_begins_again_if_its_verdict_was_forgotten_and_is_counted() {
    let small = "
tail_sampling:
  decision_cache: {sampled_cache_size: 1000, non_sampled_cache_size: 1000}
  rescue: {window: 0s}
  policies: [{name: half, type: probabilistic, probabilistic: {sampling_percentage: 50}}]
";
    let mut fixture = Fixture::new(small);
    let traces = 100..16_100;
    for n in traces.clone() {
        fixture.send(&[span(id(n, 0.4)), span(id(n, 0.6))]);
    }
    fixture.advance(WAIT_MS);
    let tally = &fixture.outcome.tally;
    assert_eq!(tally.restarted_traces, 0);
    for forgotten in [tally.forgotten_kept_ids, tally.forgotten_dropped_ids] {
        assert!((14_000..=15_400).contains(&forgotten), "{forgotten} of 16,000, of which some 1,000 are remembered");
    }
    let forgotten = tally.forgotten_kept_ids + tally.forgotten_dropped_ids;
    for n in traces {
        fixture.send(&[span(id(n, 0.4)), span(id(n, 0.6))]);
    }
    let (restarted, begun) = (fixture.outcome.tally.restarted_traces, fixture.table.held().pending_traces);
    assert_eq!(begun, forgotten, "later spans of other traces follow the remembered verdict");
    let error = restarted.abs_diff(begun) as f64 / begun as f64;
    assert!(error < 0.1, "{restarted} for {begun}");
}

#[tokio::test]
async fn metrics_show_late_and_incomplete_services_and_the_wait_that_is_needed() {
    let daemon = start(support::CONFIG).await;
    let mut client = Client::new(&support::otlp(&daemon));
    let scrape = std::sync::Arc::clone(daemon.scrape());
    let trace = support::trace_id(false);
    for n in 0..12 {
        let name = format!("service-{n}");
        let spans = (0..100).map(|_| support::span(support::trace_id(false), "work")).collect();
        client.export(request(&name, spans)).await.unwrap();
    }
    let orphan = Span { parent_span_id: vec![7; 8], ..support::span(trace, "below a lost span") };
    let root = support::span(trace, "root");
    client.export(request("broken\n", vec![root.clone(), orphan, root])).await.unwrap();
    eventually("all are decided", || metric(&scrape(), "spansieve_held_spans", &["pending"]) == 0.0).await;
    client.export(request("slow one", vec![support::span(trace, "late")])).await.unwrap();
    let text = scrape();
    let values = [
        ("spansieve_service_spans_total", "service=\"service-3\"", 100.0),
        ("spansieve_service_spans_total", "service=\"broken\u{fffd}\"", 3.0),
        ("spansieve_service_late_spans_total", "service=\"slow one\"", 1.0),
        ("spansieve_service_late_spans_total", "service=\"broken\u{fffd}\"", 0.0),
        ("spansieve_incomplete_traces_total", "service=\"broken\u{fffd}\"", 1.0),
        ("spansieve_suggested_decision_wait_seconds", "share=\"0.99\"", 0.01),
        ("spansieve_suggested_decision_wait_seconds", "share=\"0.999\"", 0.0),
    ];
    for (name, label, value) in values {
        assert_eq!(metric(&text, name, &[label]), value, "{name} {label}\n{text}");
    }
    assert_eq!(metric(&text, "spansieve_service_spans_total", &[]), 1_204.0);
    assert_eq!(metric(&text, "spansieve_duplicate_spans_total", &[]), 1.0);
    assert_eq!(daemon.stop(std::time::Duration::from_secs(8)).await, 0);
}
