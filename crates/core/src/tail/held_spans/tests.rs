use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::*;
use crate::otlp::reference::{InstrumentationScope, KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span};
use crate::otlp::scan::{NoProbe, Scan, scan};
use crate::tail::request::{HeldSpan, Request as HeldRequest};

fn span(id: u8, name: &str) -> Span {
    Span { trace_id: vec![7; 16], span_id: vec![id; 8], name: name.into(), ..Span::default() }
}

fn scope_spans(scope: &str, spans: Vec<Span>) -> ScopeSpans {
    let scope =
        (!scope.is_empty()).then(|| InstrumentationScope { name: scope.into(), ..InstrumentationScope::default() });
    ScopeSpans { scope, spans, schema_url: b"scope schema".to_vec() }
}

fn resource_spans(key: &str, schema_url: &str, scope_spans: Vec<ScopeSpans>) -> ResourceSpans {
    let attributes = vec![KeyValue { key: key.into(), ..KeyValue::default() }];
    let resource = (!key.is_empty()).then(|| Resource { attributes, ..Resource::default() });
    ResourceSpans { resource, scope_spans, schema_url: schema_url.into() }
}

fn fragment(request: &Request) -> Fragment {
    let mut found = Scan::default();
    let body: Bytes = scan(request.encode_to_vec().into(), &NoProbe, &mut found).unwrap();
    let spans = found.facts.iter().map(|fact| HeldSpan::new(fact.span, fact.scope)).collect();
    let share = Budget::new(usize::MAX).share();
    let request = HeldRequest::new(body, spans, found.scopes.clone().into(), share);
    Fragment::new(Arc::clone(&request), 0, found.facts.len() as u32)
}

fn requests() -> [Request; 2] {
    let first = vec![
        resource_spans(
            "a",
            "",
            vec![scope_spans("s", vec![span(1, "one"), span(2, "two")]), scope_spans("", vec![span(3, "three")])],
        ),
        resource_spans("", "first", vec![scope_spans("s", vec![span(4, "four")])]),
        resource_spans("", "second", vec![scope_spans("s", vec![span(5, "five")])]),
    ];
    let second = vec![resource_spans("b", "", vec![scope_spans("s", vec![span(6, "six")])])];
    [first, second].map(|resource_spans| Request { resource_spans })
}

#[test]
fn the_copy_has_all_spans_with_what_they_share_once() {
    let requests = requests();
    let held = HeldSpans::new(requests.iter().map(fragment).collect());
    let budget = Budget::new(1 << 20);
    let (copy, share) = held.to_request(1 << 20, &budget).unwrap();
    let [mut all, second] = requests;
    all.resource_spans.extend(second.resource_spans);
    assert_eq!(Request::decode(copy.as_slice()).unwrap(), all);
    assert_eq!(copy.len(), all.encoded_len(), "nothing is copied twice");
    assert_eq!(budget.used_bytes(), copy.len());
    drop(share);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_copy_that_is_too_large_or_has_no_room_is_refused() {
    let held = HeldSpans::new(requests().iter().map(fragment).collect());
    let budget = Budget::new(1 << 20);
    let len = held.to_request(1 << 20, &budget).unwrap().0.len();
    assert!(held.to_request(len, &budget).is_ok());
    assert_eq!(held.to_request(len - 1, &budget).unwrap_err(), TooLarge::Ever { max_bytes: len - 1 });
    assert_eq!(held.to_request(len, &Budget::new(len - 1)).unwrap_err(), TooLarge::Now);
}
