use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::budget::Budget;
use crate::otlp::reference::{
    AnyValue, InstrumentationScope, KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span, Value,
};

use crate::otlp::scan::{SpanFact, scan};
use crate::otlp::testing::{arbitrary, scrambled};
use crate::otlp::{TraceId, visited};
use crate::sampling::PolicySet;
use crate::sampling::reference::conditions;
use crate::sampling::settings::{Adaptive, Goal, KeyField, KeySpan, Policy, Rule, TraceKey, TrafficMemory};
use crate::tail::request::{HeldSpan, Request as HeldRequest};

/// Returns policies with conditions that spans of `request` are likely to meet, and with keys of several spans.
fn policies(request: &Request, seed: u64, count: usize, previous: Option<&Policies>) -> Policies {
    let any_span = conditions(request, seed, count).into_iter().map(Rule::AnySpan);
    let key = |of, fields: &[KeyField]| {
        Rule::Adaptive(Adaptive {
            key: TraceKey { fields: fields.to_vec(), of },
            goal: Goal::Percentage(10.0),
            memory: TrafficMemory::Ema(0.5),
            adjustment_interval: std::time::Duration::from_secs(15),
            max_keys: 10,
        })
    };
    let keys = [
        key(KeySpan::Entry, &[KeyField::Service, KeyField::Route, KeyField::Status]),
        key(KeySpan::Error, &[KeyField::Exception, KeyField::Name]),
        key(KeySpan::Entry, &[KeyField::Attribute(format!("key {}", seed % 4))]),
    ];
    let rules = any_span.chain(keys.into_iter().take(seed as usize % 4));
    let policies: Vec<_> = rules.enumerate().map(|(at, rule)| Policy::new(&format!("p{at}"), rule)).collect();
    let set = PolicySet { policies: &policies, shadow: &[], sample_on_first_match: false, counted: None };
    Policies::compile_set(set, previous).expect("the policies fit")
}

/// Returns the fragments of the traces of a request, which was scanned for other policies.
fn fragments(body: &Bytes, scan: &Scan) -> BTreeMap<TraceId, (Vec<SpanFact>, Fragment)> {
    let mut facts = scan.facts.clone();
    facts.sort_by_key(|fact| fact.trace_id);
    let spans = facts.iter().map(|fact| HeldSpan::new(fact.span, fact.scope)).collect();
    let share = Budget::new(usize::MAX).share();
    let request = HeldRequest::new(body.clone(), spans, scan.scopes.clone().into(), share);
    let mut first = 0;
    let traces = facts.chunk_by(|a, b| a.trace_id == b.trace_id).map(|facts| {
        let fragment = Fragment::new(Arc::clone(&request), first, facts.len() as u32);
        first += facts.len() as u32;
        (facts[0].trace_id, (facts.to_vec(), fragment))
    });
    traces.collect()
}

proptest! {
    #[test]
    fn spans_that_are_read_again_give_the_summary_of_a_scan(request in arbitrary::request(), seed: u64) {
        let body = Bytes::from(scrambled(&request.encode_to_vec(), seed));
        let earlier = policies(&request, !seed, 5, None);
        let present = policies(&request, seed, 12, Some(&earlier));
        let mut held = Scan::default();
        let Ok(body) = scan(body, earlier.probe(), &mut held) else { return Ok(()) };
        let mut fresh = Scan::default();
        let same = scan(body.clone(), present.probe(), &mut fresh).expect("it was accepted before");
        prop_assert_eq!(&same, &body);
        let mut reader = SpanReader::new(&present, present.probe(), Budget::new(usize::MAX).share());
        let expected = fragments(&body, &fresh);
        for (trace, (_, fragment)) in fragments(&body, &held) {
            let facts = &expected[&trace].0;
            let summary = present.summary(facts.iter(), &fresh, &body);
            prop_assert_eq!(&reader.summary([&fragment]), &summary);
            prop_assert_eq!(super::summary(&present, &[fragment]), (summary, 0));
        }
    }
}

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::String(text.as_bytes().to_vec())) })
}

/// Returns a resource with a name of this length.
fn resource(name_bytes: usize) -> Option<Resource> {
    let value = text(&"x".repeat(name_bytes));
    let attribute = KeyValue { key: b"service.name".to_vec(), value, ..KeyValue::default() };
    Some(Resource { attributes: vec![attribute], ..Resource::default() })
}

/// Returns the spans of one `ScopeSpans`, one for each trace.
fn scope_spans(traces: impl IntoIterator<Item = u128>, name: &str) -> ScopeSpans {
    let span = |trace: u128| Span { trace_id: trace.to_be_bytes().to_vec(), span_id: vec![1; 8], ..Span::default() };
    ScopeSpans {
        scope: Some(InstrumentationScope { name: name.as_bytes().to_vec(), ..InstrumentationScope::default() }),
        spans: traces.into_iter().map(span).collect(),
        ..ScopeSpans::default()
    }
}

/// The bytes that a scan of a request read, and those that a reader read again.
struct Again {
    scanned_bytes: u64,
    read_bytes: u64,
    /// The most bytes that the reader held. Its share was as large each time.
    held_bytes: usize,
}

/// Scans `request`, and reads each of its traces again with policies that ask for all that spans share.
fn read_again(request: &Request, limit_bytes: usize) -> Again {
    let policies = policies(request, 3, 12, None);
    assert!(policies.probe().key_attributes() > 0);
    let mut held = Scan::default();
    let _ = visited::take();
    let body = scan(request.encode_to_vec().into(), policies.probe(), &mut held).expect("a request");
    let scanned_bytes = visited::take();
    let fragments = fragments(&body, &held);
    let budget = Budget::new(limit_bytes);
    let mut reader = SpanReader::new(&policies, policies.probe(), budget.share());
    let (mut held_bytes, mut read_bytes) = (0, 0);
    for (facts, fragment) in fragments.values() {
        let _ = visited::take();
        let summary = reader.summary([fragment]);
        read_bytes += visited::take();
        assert_eq!(summary, policies.summary(facts.iter(), &held, &body));
        assert_eq!(reader.share.bytes(), reader.heap_bytes());
        assert_eq!(budget.used_bytes(), reader.heap_bytes());
        held_bytes = held_bytes.max(reader.heap_bytes());
    }
    drop(reader);
    assert_eq!(budget.used_bytes(), 0);
    Again { scanned_bytes, read_bytes, held_bytes }
}

#[test]
fn what_spans_share_is_read_once() {
    // Two traces in each of 500 scopes of one resource; ten traces, each in all of 5,000 resources.
    let scopes = (0..500).map(|scope| scope_spans([2 * scope + 1, 2 * scope + 2], "library"));
    let one = ResourceSpans { resource: resource(100_000), scope_spans: scopes.collect(), ..ResourceSpans::default() };
    let many = (0..5_000).map(|_| ResourceSpans {
        resource: resource(300),
        scope_spans: vec![scope_spans(1..=10, "library")],
        ..ResourceSpans::default()
    });
    for (case, resource_spans) in [vec![one], many.collect()].into_iter().enumerate() {
        let Again { scanned_bytes, read_bytes, .. } = read_again(&Request { resource_spans }, usize::MAX);
        assert!(read_bytes < 3 * scanned_bytes, "case {case}: {read_bytes} of {scanned_bytes}");
    }
}

#[test]
fn a_reader_holds_a_bounded_number_of_bytes_and_charges_them() {
    // One trace with a span in each of 5,000 scopes, small ones and large ones.
    let of_one_resource = |name_bytes: usize| {
        let scopes = (0..5_000).map(|_| scope_spans([1], &"s".repeat(name_bytes))).collect();
        vec![ResourceSpans { resource: resource(10), scope_spans: scopes, ..ResourceSpans::default() }]
    };
    let of_resources = |name_bytes: usize| {
        let of_resource = |_| ResourceSpans {
            resource: resource(name_bytes),
            scope_spans: vec![scope_spans([1], "library")],
            ..ResourceSpans::default()
        };
        (0..5_000).map(of_resource).collect::<Vec<_>>()
    };
    let scan_bytes_max = 512 << 10;
    for (resource_spans, limit_bytes, bytes_max) in [
        (of_one_resource(10), usize::MAX, scan_bytes_max),
        (of_one_resource(300), usize::MAX, 2 << 20),
        (of_resources(10), usize::MAX, scan_bytes_max),
        (of_resources(300), usize::MAX, 2 << 20),
        // Without room in the budget, there is little that is remembered.
        (of_resources(300), 512 << 10, 512 << 10),
    ] {
        let Again { held_bytes, .. } = read_again(&Request { resource_spans }, limit_bytes);
        assert!(held_bytes < bytes_max, "{held_bytes} of {bytes_max}");
    }
}
