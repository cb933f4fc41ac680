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
        let mut reader = SpanReader::new(&present, present.probe());
        let expected = fragments(&body, &fresh);
        for (trace, (_, fragment)) in fragments(&body, &held) {
            let facts = &expected[&trace].0;
            let summary = present.summary(facts.iter(), &fresh, &body);
            prop_assert_eq!(&reader.summary([&fragment]), &summary);
            prop_assert_eq!(&super::summary(&present, &[fragment]), &summary);
        }
    }
}

#[test]
fn what_spans_share_is_read_once() {
    let text = |text: &str| Some(AnyValue { value: Some(Value::String(text.as_bytes().to_vec())) });
    let attribute =
        KeyValue { key: b"service.name".to_vec(), value: text(&"x".repeat(100_000)), ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![attribute], ..Resource::default() });
    let span = |number: u128| Span {
        trace_id: number.to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        name: b"work".to_vec(),
        ..Span::default()
    };
    // Two traces in each of 500 scopes of one resource.
    let scopes = (0..500).map(|scope| ScopeSpans {
        scope: Some(InstrumentationScope { name: b"library".to_vec(), ..InstrumentationScope::default() }),
        spans: vec![span(2 * scope + 1), span(2 * scope + 2)],
        ..ScopeSpans::default()
    });
    let resource_spans = vec![ResourceSpans { resource, scope_spans: scopes.collect(), ..ResourceSpans::default() }];
    let request = Request { resource_spans };
    let policies = policies(&request, 3, 12, None);
    let mut held = Scan::default();
    let body = scan(request.encode_to_vec().into(), policies.probe(), &mut held).expect("a request");
    let fragments = fragments(&body, &held);
    assert_eq!(fragments.len(), 1_000);
    let _ = visited::take();
    let mut reader = SpanReader::new(&policies, policies.probe());
    fragments.values().for_each(|(_, fragment)| drop(reader.summary([fragment])));
    let read_bytes = visited::take();
    assert!(read_bytes < 20 * body.len() as u64, "{read_bytes} of {}", body.len());
}
