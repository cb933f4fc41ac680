//! Traces written by hand as the requests that services send: OTLP with ids and times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use crate::offline::{TextValue, TimedRequest};
use crate::otlp::TraceId;
use crate::policy_tests::trace_text::{TextAttributes, TextSpan, TraceText};

/// The time at which a test begins that names no other: 2026-01-01, in nanoseconds since 1970. It is fixed, so that a test
/// gives the same result on every day.
pub(super) const START_UNIX_NANO: u64 = 1_767_225_600_000_000_000;

/// The W3C flag `sampled`.
const SAMPLED: u32 = 1;

/// Returns the id of a trace: a pure function of the name of the test, its seed and the number of the trace.
pub(super) fn trace_id(name: &str, seed: u64, number: u64) -> TraceId {
    // FNV-1a over the name, then SplitMix64: both are fixed for ever, unlike the hashes of libraries.
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv) ^ split_mix(seed);
    let high = split_mix(start.wrapping_add(number.wrapping_mul(2)));
    let low = split_mix(start.wrapping_add(number.wrapping_mul(2).wrapping_add(1)));
    TraceId((u128::from(high) << 64 | u128::from(low)).max(1).to_be_bytes())
}

fn split_mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The requests of many traces that are alike, in the order of their arrival. Each is made when it is asked for.
#[derive(Debug)]
pub(super) struct Requests<'t> {
    traces: RepeatedTrace<'t>,
    /// The requests of one trace: their times, counted from its beginning, and the indices of their spans.
    arrivals: Vec<(Duration, Vec<usize>)>,
    /// The start of each span, counted from the beginning of its trace.
    starts: Vec<u64>,
    /// For each of them, the next request: its time, the number of its trace, and the index of the arrival.
    next: BinaryHeap<Reverse<(u64, u64, usize)>>,
}

/// A trace that comes several times, each time with an id of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepeatedTrace<'t> {
    pub(super) text: &'t TraceText,
    /// Attributes of the resources of all spans.
    pub(super) resource: &'t TextAttributes,
    /// The name and the seed of the test, which choose the ids.
    pub(super) name: &'t str,
    pub(super) seed: u64,
    /// The id, in place of one that the name and the seed choose.
    pub(super) id: Option<TraceId>,
    /// The number of traces.
    pub(super) count: u64,
    /// The time from one of the traces to the next.
    pub(super) every: Duration,
    /// The time at which the first one begins, in nanoseconds since 1970.
    pub(super) start_unix_nano: u64,
}

impl<'t> Requests<'t> {
    pub(super) fn new(traces: RepeatedTrace<'t>) -> Self {
        let mut by_time: BTreeMap<Duration, Vec<usize>> = BTreeMap::new();
        for (index, span) in traces.text.spans.iter().enumerate() {
            by_time.entry(span.arrival).or_default().push(index);
        }
        let (arrivals, starts) = (by_time.into_iter().collect(), starts(traces.text));
        let mut requests = Requests { traces, arrivals, starts, next: BinaryHeap::new() };
        (0..requests.arrivals.len()).for_each(|arrival| requests.push(0, arrival));
        requests
    }

    /// Returns the number of all requests.
    pub(super) fn request_count(&self) -> u64 {
        self.traces.count.saturating_mul(self.arrivals.len() as u64)
    }

    fn push(&mut self, number: u64, arrival: usize) {
        if number < self.traces.count {
            let at = self.traces.start(number).saturating_add(nanos(self.arrivals[arrival].0));
            self.next.push(Reverse((at, number, arrival)));
        }
    }
}

impl Iterator for Requests<'_> {
    type Item = TimedRequest;

    fn next(&mut self) -> Option<TimedRequest> {
        let Reverse((unix_nano, number, arrival)) = self.next.pop()?;
        self.push(number + 1, arrival);
        let body = self.traces.body(number, &self.arrivals[arrival].1, &self.starts);
        Some(TimedRequest { unix_nano, body: body.into() })
    }
}

impl RepeatedTrace<'_> {
    /// Returns the time at which trace `number` begins.
    fn start(&self, number: u64) -> u64 {
        self.start_unix_nano.saturating_add(nanos(self.every).saturating_mul(number))
    }

    /// Returns the request with these spans of trace `number`.
    fn body(&self, number: u64, spans: &[usize], starts: &[u64]) -> Vec<u8> {
        let id = self.id.unwrap_or_else(|| trace_id(self.name, self.seed, number));
        let begin = self.start(number);
        let mut groups: Vec<ResourceSpans> = Vec::new();
        for &index in spans {
            let text = &self.text.spans[index];
            let span = span(text, id, index, begin.saturating_add(starts[index]));
            put(&mut groups, resource_of(text, self.resource), scope(text), span);
        }
        ExportTraceServiceRequest { resource_spans: groups }.encode_to_vec()
    }
}

/// Returns the start of each span in nanoseconds, counted from the beginning of the trace. A parent comes before its
/// children.
fn starts(trace: &TraceText) -> Vec<u64> {
    let mut starts: Vec<u64> = Vec::with_capacity(trace.spans.len());
    for span in &trace.spans {
        let parent = span.parent.and_then(|parent| starts.get(parent)).copied().unwrap_or(0);
        starts.push(parent.saturating_add(nanos(span.start)));
    }
    starts
}

/// Adds a span to the group with its resource and scope.
fn put(groups: &mut Vec<ResourceSpans>, resource: Resource, scope: Option<InstrumentationScope>, span: Span) {
    let known = groups.iter().position(|group| group.resource.as_ref() == Some(&resource));
    let index = known.unwrap_or_else(|| {
        groups.push(ResourceSpans { resource: Some(resource), ..ResourceSpans::default() });
        groups.len() - 1
    });
    let scopes = &mut groups[index].scope_spans;
    match scopes.iter_mut().find(|known| known.scope == scope) {
        Some(known) => known.spans.push(span),
        None => scopes.push(ScopeSpans { scope, spans: vec![span], ..ScopeSpans::default() }),
    }
}

fn resource_of(span: &TextSpan, shared: &TextAttributes) -> Resource {
    let service = ("service.name".to_owned(), TextValue::String(span.service.clone()));
    let mut attributes = vec![key_value(&service)];
    let is_own = |key: &String| key == "service.name" || span.resource.iter().any(|(own, _)| own == key);
    attributes.extend(span.resource.iter().map(key_value));
    attributes.extend(shared.iter().filter(|(key, _)| !is_own(key)).map(key_value));
    Resource { attributes, ..Resource::default() }
}

fn scope(span: &TextSpan) -> Option<InstrumentationScope> {
    let (name, version) = span.scope.clone();
    (!name.is_empty()).then(|| InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

fn span(text: &TextSpan, id: TraceId, index: usize, start: u64) -> Span {
    let span_id = |index: usize| (index as u64 + 1).to_be_bytes().to_vec();
    let parent_span_id = match text.parent {
        Some(parent) => span_id(parent),
        None if text.orphan => vec![0xff; 8],
        None => Vec::new(),
    };
    let status = Status { message: text.status_message.clone(), code: text.status };
    Span {
        trace_id: id.0.to_vec(),
        span_id: span_id(index),
        trace_state: text.trace_state.clone(),
        parent_span_id,
        flags: if text.sampled { SAMPLED } else { 0 },
        name: text.name.clone(),
        kind: text.kind,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(nanos(text.duration)),
        attributes: text.attributes.iter().map(key_value).collect(),
        events: text
            .events
            .iter()
            .map(|event| Event {
                time_unix_nano: start.saturating_add(nanos(event.at)),
                name: event.name.clone(),
                attributes: event.attributes.iter().map(key_value).collect(),
                dropped_attributes_count: 0,
            })
            .collect(),
        links: text
            .links
            .iter()
            .map(|link| Link {
                trace_id: link.trace_id.to_vec(),
                span_id: link.span_id.to_vec(),
                attributes: link.attributes.iter().map(key_value).collect(),
                ..Link::default()
            })
            .collect(),
        status: (status.code != 0).then_some(status),
        ..Span::default()
    }
}

fn key_value((key, value): &(String, TextValue)) -> KeyValue {
    KeyValue { key: key.clone(), value: Some(any_value(value)), ..KeyValue::default() }
}

fn any_value(value: &TextValue) -> AnyValue {
    let value = match value {
        TextValue::Empty => return AnyValue { value: None },
        TextValue::String(text) => Value::StringValue(text.clone()),
        TextValue::Bool(value) => Value::BoolValue(*value),
        TextValue::Int(value) => Value::IntValue(*value),
        TextValue::Double(value) => Value::DoubleValue(*value),
        TextValue::Bytes(bytes) => Value::BytesValue(bytes.clone()),
        TextValue::List(items) => Value::ArrayValue(ArrayValue { values: items.iter().map(any_value).collect() }),
        TextValue::Map(entries) => Value::KvlistValue(KeyValueList { values: entries.iter().map(key_value).collect() }),
    };
    AnyValue { value: Some(value) }
}

fn nanos(duration: Duration) -> u64 {
    // A trace text names no time of more than a week.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
