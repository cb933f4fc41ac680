//! The memory of an inspector.

use prost::Message;

use super::*;
use crate::config::Settings;
use crate::offline::{Replay, ReplaySettings, TimedRequest};
use crate::otlp::reference::{AnyValue, KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span, Value};
use crate::sampling::settings::{Policy, Rule};

const SPANS: usize = 100;
const START: u64 = 1_700_000_000_000_000_000;

/// Returns a request of one trace whose spans share a resource of 50 kB in two scopes.
fn body() -> Bytes {
    let span = |number: usize| Span {
        trace_id: vec![1; 16],
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: b"a".to_vec(),
        start_time_unix_nano: START,
        end_time_unix_nano: START,
        ..Span::default()
    };
    let scope_spans =
        |spans: std::ops::Range<usize>| ScopeSpans { spans: spans.map(span).collect(), ..ScopeSpans::default() };
    let value = Some(AnyValue { value: Some(Value::String(vec![b'v'; 50_000])) });
    let attributes = vec![KeyValue { key: b"k".to_vec(), value, ..KeyValue::default() }];
    let group = ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![scope_spans(0..SPANS / 2), scope_spans(SPANS / 2..SPANS)],
        ..ResourceSpans::default()
    };
    Request { resource_spans: vec![group] }.encode_to_vec().into()
}

/// Explains the request with this much memory. Returns the trace, and the number of spans that are left out.
fn explained(bytes_max: usize) -> (Vec<InspectedTrace>, u64) {
    let mut settings = Settings::default();
    settings.tail_sampling.policies =
        vec![Policy::new("all", Rule::AnySpan(crate::condition::Condition::Constant(true)))];
    let tail_sampling = &settings.tail_sampling;
    let policies = Arc::new(Policies::compile_set(tail_sampling.policy_set(), None).unwrap());
    let parts = PolicyParts::compile(tail_sampling.policy_set(), &policies).unwrap();
    let mut inspector = Inspector::new(&policies, &parts, SinkEncoder::new(&settings, &policies), bytes_max);
    let replay = ReplaySettings { limit_bytes: 64 << 20, sweep_ms: 0, seed: 0, with_answers: true };
    let request = TimedRequest { unix_nano: START, body: body() };
    Replay::new(tail_sampling, Arc::clone(&policies), replay).run(
        std::iter::once(request),
        &mut inspector,
        |_, refusal| panic!("{refusal}"),
    );
    inspector.into_traces()
}

#[test]
fn a_shared_resource_is_decoded_once() {
    let (traces, left_out) = explained(1 << 20);
    let written: Vec<&SinkSpan> = traces[0].written.iter().map(|written| written.as_ref().unwrap()).collect();
    assert_eq!((written.len(), traces[0].written_left_out, left_out), (SPANS, 0, 0));
    assert_eq!(heap_bytes(&written[0].resource) / 50_000, 1);
    assert!(written.iter().all(|span| Arc::ptr_eq(&span.resource, &written[0].resource)));
}

#[test]
fn spans_without_room_are_counted_and_not_held() {
    let needed = body().len() + SPANS * size_of::<InspectedSpan>();
    let (traces, left_out) = explained(needed);
    let trace = &traces[0];
    assert_eq!((trace.spans.len(), trace.kept_spans, left_out), (SPANS, SPANS as u64, 0));
    assert_eq!(
        (trace.written.len(), trace.written_left_out),
        (0, SPANS as u64),
        "there is no room for what is written"
    );
    let (traces, left_out) = explained(needed - 1);
    assert_eq!((traces.len(), left_out), (0, SPANS as u64));
    let (traces, _) = explained(needed + TRACE_BYTES + 60_000);
    let (written, left_out) = (traces[0].written.len(), traces[0].written_left_out);
    assert!(written > 0 && left_out > 0 && written as u64 + left_out == SPANS as u64, "{written} {left_out}");
}
