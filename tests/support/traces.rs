//! Traces in the form in which senders send them, through the scan and the trace table. Tests control the clock.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spansieve::budget::Budget;
use spansieve::config::{self, Settings};
use spansieve::otlp::scan::{self, Scan};
use spansieve::sampling::Policies;
use spansieve::tail::Table;
use spansieve::tail::kept::KeptSpans;
use spansieve::tail::table::RoundOutcome;

const MS: u64 = 1_000_000;
/// The start of all spans, in nanoseconds since 1970.
const EPOCH: u64 = 1_700_000_000_000 * MS;

/// Returns a healthy span of 10 ms.
pub fn span(trace: u128) -> Span {
    let span = Span {
        trace_id: trace.to_be_bytes().into(),
        span_id: fastrand::u64(1..).to_be_bytes().into(),
        parent_span_id: vec![1; 8],
        name: "work".into(),
        ..Span::default()
    };
    between(span, 0, 10)
}

pub fn error(trace: u128) -> Span {
    Span { status: Some(Status { code: 2, message: String::new() }), ..span(trace) }
}

/// Sets the start and the end of a span, in milliseconds after [`EPOCH`].
pub fn between(mut span: Span, start_ms: u64, end_ms: u64) -> Span {
    (span.start_time_unix_nano, span.end_time_unix_nano) = (EPOCH + start_ms * MS, EPOCH + end_ms * MS);
    span
}

pub fn string(text: &str) -> Value {
    Value::StringValue(text.into())
}

pub fn with(mut span: Span, key: &str, value: Value) -> Span {
    let value = Some(AnyValue { value: Some(value) });
    span.attributes.push(KeyValue { key: key.into(), value, ..KeyValue::default() });
    span
}

/// Returns a trace id that a ratio keeps if it keeps more than the share `part` of traces (0 to 1).
pub fn id(number: u32, part: f64) -> u128 {
    let randomness = ((1.0 - part) * (1u64 << 56) as f64) as u64;
    u128::from(number) << 64 | u128::from(randomness.min((1 << 56) - 1))
}

/// A trace table with the policies of a configuration, and the spans that it kept.
pub struct Fixture {
    pub settings: Settings,
    pub policies: Arc<Policies>,
    pub table: Table,
    pub now_ms: u64,
    pub outcome: RoundOutcome,
    pub kept: Vec<KeptSpans>,
}

/// The result for a kept trace: the policy that kept it first, its adjusted count (the smallest of its spans), and the
/// number of its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    pub policy: String,
    pub adjusted_count: f64,
    pub spans: usize,
}

impl Fixture {
    /// Makes a fixture from a YAML list of policies, or from a whole configuration.
    pub fn new(text: &str) -> Self {
        let whole = format!("tail_sampling:\n  decision_wait: 10s\n  policies:\n{text}\n");
        let text = if text.trim_start().starts_with('-') { &whole } else { text };
        let loaded = config::load(text, &|_| None).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        let settings = loaded.settings;
        let policies = Arc::new(
            Policies::compile(&settings.tail_sampling.policies, settings.tail_sampling.sample_on_first_match).unwrap(),
        );
        let limit_bytes = match settings.memory.limit {
            spansieve::settings::Size::Bytes(bytes) => bytes as usize,
            spansieve::settings::Size::Percent(_) => 256 << 20,
        };
        let table = Table::new(&settings.tail_sampling, Arc::clone(&policies), Budget::new(limit_bytes));
        Fixture { settings, policies, table, now_ms: 0, outcome: RoundOutcome::default(), kept: Vec::new() }
    }

    /// Sends one request of the service `shop`. Returns false if it is refused.
    pub fn send(&mut self, spans: &[Span]) -> bool {
        self.send_from("shop", spans)
    }

    /// Sends one request of this service. Returns false if it is refused.
    pub fn send_from(&mut self, service: &str, spans: &[Span]) -> bool {
        let name = AnyValue { value: Some(string(service)) };
        let name = KeyValue { key: "service.name".into(), value: Some(name), ..KeyValue::default() };
        let resource = Some(Resource { attributes: vec![name], ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
        let group = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        let body = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
        let Some(share) = self.table.admit(body.len(), self.now_ms, &mut self.outcome) else { return false };
        let mut scanned = Scan::default();
        let body = scan::scan(Bytes::from(body), self.policies.probe(), &mut scanned).unwrap();
        self.table.insert(body, &scanned, share, self.now_ms, &mut self.outcome);
        self.collect();
        true
    }

    /// Moves the clock by `millis`, and decides the traces that are due.
    pub fn advance(&mut self, millis: u64) {
        self.now_ms += millis;
        for shard in 0..self.table.shard_count() {
            while self.table.sweep(shard, self.now_ms, &mut self.outcome) {}
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.kept.append(&mut self.outcome.kept);
    }

    /// Returns the result for each kept trace, in the order of trace ids.
    pub fn fates(&self) -> Vec<(u128, Fate)> {
        let mut fates: Vec<(u128, Fate)> = Vec::new();
        for kept in &self.kept {
            for bytes in kept.fragment.open().spans() {
                let span = Span::decode(bytes.span).unwrap();
                let trace = u128::from_be_bytes(span.trace_id.try_into().unwrap());
                let policy = self.policies.names()[usize::from(kept.keep.policy)].clone();
                let adjusted_count = kept.keep.threshold.adjusted_count();
                match fates.iter_mut().find(|(known, _)| *known == trace) {
                    Some((_, fate)) => {
                        fate.spans += 1;
                        fate.adjusted_count = fate.adjusted_count.min(adjusted_count);
                    }
                    None => fates.push((trace, Fate { policy, adjusted_count, spans: 1 })),
                }
            }
        }
        fates.sort_by_key(|(trace, _)| *trace);
        fates
    }

    /// Returns the number of kept traces.
    pub fn kept_traces(&self) -> usize {
        self.fates().len()
    }
}

/// Returns true if a policy of this type keeps a trace whose spans come in these requests.
pub fn keeps(kind: &str, requests: &[Vec<Span>]) -> bool {
    let mut fixture = Fixture::new(&format!("    - {{name: p, type: {kind}}}"));
    requests.iter().for_each(|spans| assert!(fixture.send(spans)));
    fixture.advance(10_000);
    fixture.kept_traces() > 0
}
