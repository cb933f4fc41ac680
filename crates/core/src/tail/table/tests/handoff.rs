//! Pending traces that another process takes.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::otlp::scan;
use crate::tail::table::handoff::{HandoffCursor, PendingTrace, write_request};

/// Returns a group of spans of the traces `ids`, each with a name of its own.
fn group(resource: &str, scope: &str, ids: std::ops::Range<u128>) -> ResourceSpans {
    let span = |id: u128| Span {
        trace_id: (id << 64 | id << 8 | 1).to_be_bytes().to_vec(),
        span_id: vec![7; 8],
        name: format!("{resource} {scope} {id}"),
        ..Span::default()
    };
    ResourceSpans {
        resource: (!resource.is_empty()).then(|| Resource { dropped_attributes_count: 3, ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope { name: scope.into(), ..InstrumentationScope::default() }),
            spans: ids.map(span).collect(),
            schema_url: format!("https://scope.example/{scope}"),
        }],
        schema_url: format!("https://resource.example/{resource}"),
    }
}

fn receive(fixture: &mut Fixture, groups: &[ResourceSpans]) {
    let body = ExportTraceServiceRequest { resource_spans: groups.to_vec() }.encode_to_vec();
    let mut scan = Scan::default();
    let body = scan::scan(body.into(), fixture.table.policies().probe(), &mut scan).unwrap();
    let share = fixture.table.admit(body.len(), fixture.now_ms, &mut fixture.out).unwrap();
    fixture.table.insert(body, &scan, share, fixture.now_ms, &mut fixture.out);
}

fn pending(table: &Table) -> Vec<PendingTrace> {
    let mut cursor = HandoffCursor::default();
    std::iter::from_fn(|| table.pending_traces(&mut cursor, 5_000)).flatten().collect()
}

/// A span with all that it shares with others.
type Whole = (Option<Resource>, String, Option<InstrumentationScope>, String, Span);

/// Returns the spans of a request by name, each with all that it shares with others.
fn flat(request: &[u8]) -> BTreeMap<String, Whole> {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let mut flat = BTreeMap::new();
    for ResourceSpans { resource, scope_spans, schema_url } in request.resource_spans {
        for ScopeSpans { scope, spans, schema_url: scope_url } in scope_spans {
            for span in spans {
                let shared = (resource.clone(), schema_url.clone(), scope.clone(), scope_url.clone());
                let (resource, url, scope, scope_url) = shared;
                flat.insert(span.name.clone(), (resource, url, scope, scope_url, span));
            }
        }
    }
    flat
}

fn span_count(request: &[u8]) -> usize {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

#[test]
fn every_pending_trace_is_offered_once_with_its_spans_as_they_came() {
    let mut fixture = Fixture::default();
    let requests = [vec![group("a", "x", 0..900), group("a", "y", 0..900)], vec![group("", "x", 300..1_200)]];
    requests.iter().for_each(|groups| receive(&mut fixture, groups));
    let offered = pending(&fixture.table);
    assert_eq!(offered.len(), 1_200);

    let mut written = Vec::new();
    write_request(&offered, &mut written);
    let sent = ExportTraceServiceRequest { resource_spans: requests.concat() }.encode_to_vec();
    assert_eq!(flat(&written), flat(&sent));
    assert_eq!(written.len(), sent.len(), "what spans share is written once");
    assert_eq!(span_count(&written), 2_700);

    // Half of the traces are taken; the others are still pending, and decided as ever.
    let (taken, left) = offered.split_at(600);
    let spans: u64 = fixture.table.handed_over(taken, fixture.now_ms, &mut fixture.out);
    assert_eq!(spans + fixture.table.held().pending_spans, 2_700);
    let ids = |traces: &[PendingTrace]| traces.iter().map(|trace| trace.id().0).collect::<BTreeSet<_>>();
    assert_eq!(ids(&pending(&fixture.table)), ids(left));
    assert_eq!(fixture.table.handed_over(taken, fixture.now_ms, &mut fixture.out), 0, "a trace goes once");
    drop(offered);
    while fixture.table.drain(fixture.now_ms, &mut fixture.out) {}
    assert_eq!(
        fixture.out.tally.kept.iter().map(|kept| kept.2).sum::<u64>()
            + fixture.out.tally.dropped[Trigger::Shutdown as usize],
        600
    );
    fixture.out.kept.clear();
    assert_eq!(fixture.table.held(), HeldCounts::default());
}

#[test]
fn decided_traces_are_not_offered_and_the_memory_of_the_taken_ones_is_given_back() {
    let mut fixture = Fixture::default();
    let idle_bytes = fixture.budget.used_bytes();
    receive(&mut fixture, &[group("a", "x", 0..100)]);
    fixture.now_ms += WAIT_MS;
    fixture.sweep();
    receive(&mut fixture, &[group("a", "x", 50..150)]);
    let offered = pending(&fixture.table);
    assert_eq!(offered.len(), 50, "the first 100 are decided");
    assert!(offered.iter().all(|trace| trace.bytes() > 0));
    assert_eq!(fixture.table.handed_over(&offered, fixture.now_ms, &mut fixture.out), 50);
    drop(offered);
    fixture.now_ms += WINDOW_MS;
    fixture.sweep();
    fixture.drain_uncounted();
    assert_eq!(fixture.budget.used_bytes(), idle_bytes);
}

#[test]
fn a_trace_in_the_slot_of_a_decided_one_is_offered_once() {
    let mut fixture = Fixture::default();
    // All at the same time: the traces begin, half of them are kept, and others take their slots.
    let mut errors = group("a", "x", 0..200);
    let failed = opentelemetry_proto::tonic::trace::v1::Status { code: 2, ..Default::default() };
    errors.scope_spans[0].spans.iter_mut().step_by(2).for_each(|span| span.status = Some(failed.clone()));
    receive(&mut fixture, &[group("a", "x", 0..200)]);
    receive(&mut fixture, &[errors]);
    receive(&mut fixture, &[group("a", "x", 200..400)]);
    let offered = pending(&fixture.table);
    let ids: BTreeSet<_> = offered.iter().map(|trace| trace.id().0).collect();
    assert_eq!((offered.len(), ids.len()), (300, 300));
    let held = fixture.table.held().pending_spans;
    let mut written = Vec::new();
    write_request(&offered, &mut written);
    assert_eq!((span_count(&written) as u64, held), (400, 400));
    fixture.out.kept.clear();
}

#[test]
fn the_bytes_of_a_trace_bound_those_of_the_request() {
    let mut fixture = Fixture::default();
    // 100 scopes of one span share a URL, which is written for each of them.
    let mut shared = group("a", "x", 0..1);
    shared.schema_url = "u".repeat(10_000);
    let scope = shared.scope_spans[0].clone();
    shared.scope_spans.extend(std::iter::repeat_n(scope, 99));
    receive(&mut fixture, &[shared, group("", "", 1..300)]);
    let offered = pending(&fixture.table);
    let bytes: u64 = offered.iter().map(PendingTrace::bytes).sum();
    let mut written = Vec::new();
    write_request(&offered, &mut written);
    assert!(written.len() > 1_000_000 && written.len() as u64 <= bytes, "{} of {bytes}", written.len());
}

#[test]
fn a_trace_that_has_grown_since_it_was_offered_stays() {
    let mut fixture = Fixture::default();
    receive(&mut fixture, &[group("a", "x", 0..2)]);
    let offered = pending(&fixture.table);
    receive(&mut fixture, &[group("a", "x", 0..1)]);
    assert_eq!(fixture.table.handed_over(&offered, fixture.now_ms, &mut fixture.out), 1);
    assert_eq!(fixture.table.held().pending_spans, 2);
}

impl Fixture {
    fn sweep(&mut self) {
        for shard in 0..self.table.shard_count() {
            while self.table.sweep(shard, self.now_ms, &mut self.out) {}
        }
        self.out.kept.clear();
    }

    /// Lets go of everything.
    fn drain_uncounted(&mut self) {
        while self.table.drain(self.now_ms, &mut self.out) {}
        self.out.kept.clear();
        self.kept.clear();
        while self.table.tidy(self.now_ms) {
            self.now_ms += 1_000;
        }
    }
}
