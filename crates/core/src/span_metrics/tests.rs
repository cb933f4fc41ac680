//! Requests through the scan, the trace table and the metrics, compared with what was sent.

mod bad_input;
mod bounds;
mod decisions;
mod ledger;
mod settings;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::*;
use crate::otlp::scan::scan;
use crate::sampling::{Policies, PolicySet};
use crate::tail::Table;
use crate::tail::table::RoundOutcome;
use crate::testing::load;

const MS: u64 = 1_000_000;
const START: u64 = 1_700_000_000_000 * MS;
const SERVER: i32 = 2;

/// A table with metrics, as the daemon has them.
struct Fixture {
    policies: Arc<Policies>,
    table: Table,
    metrics: SpanMetrics,
    buffer: KeyBuffer,
    outcome: RoundOutcome,
    now_ms: u64,
    spans: u64,
}

impl Fixture {
    /// Makes a fixture from the section `span_metrics`, with the policies of an empty configuration.
    fn new(section: &str) -> Self {
        Self::whole(&format!("span_metrics: {section}"))
    }

    /// Makes a fixture from a whole configuration.
    fn whole(config: &str) -> Self {
        let settings = load(config).unwrap_or_else(|problems| panic!("{config}\n{problems}"));
        let span_metrics = settings.span_metrics.unwrap();
        let counted = span_metrics.condition();
        let set = PolicySet { counted: Some(&counted), ..settings.tail_sampling.policy_set() };
        let policies = Arc::new(Policies::compile_set(set, None).unwrap());
        let budget = Budget::new(256 << 20);
        let metrics = SpanMetrics::new(&span_metrics, &budget);
        let table = Table::seeded(&settings.tail_sampling, Arc::clone(&policies), budget, 7);
        let (buffer, outcome) = (KeyBuffer::default(), RoundOutcome::default());
        Fixture { policies, table, metrics, buffer, outcome, now_ms: 1, spans: 0 }
    }

    /// Sends spans of one service.
    fn send(&mut self, service: &str, spans: Vec<Span>) {
        self.send_from(vec![string("service.name", service)], spans);
    }

    /// Sends spans whose resource has these attributes.
    fn send_from(&mut self, attributes: Vec<KeyValue>, spans: Vec<Span>) {
        let resource = Some(Resource { attributes, ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let group = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        self.send_bytes(ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec().into());
    }

    fn send_bytes(&mut self, body: Bytes) {
        let mut scanned = Scan::default();
        let body = scan(body, self.policies.probe(), &mut scanned).unwrap();
        let share = self.table.budget().force(body.len());
        self.table.insert(body.clone(), &scanned, share, self.now_ms, &mut self.outcome);
        self.metrics.count(&scanned, &body, self.policies.counted(), &mut self.buffer, self.now_ms);
        self.settle();
    }

    /// Lets `ms` milliseconds pass, and decides what is due.
    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for shard in 0..self.table.shard_count() {
            while self.table.sweep(shard, self.now_ms, &mut self.outcome) {}
        }
        self.settle();
        self.metrics.sweep(self.now_ms);
    }

    fn settle(&mut self) {
        self.metrics.decided(&self.outcome.kept, &self.outcome.tally, self.now_ms, 1_700_000_000);
        self.outcome.kept.clear();
        self.outcome.tally.clear();
    }

    fn text(&self, format: Format) -> String {
        let mut text = String::new();
        self.metrics.render(format, &mut text).unwrap();
        text
    }

    /// Returns the samples: the name and the sorted labels, with the value.
    fn samples(&self) -> BTreeMap<String, f64> {
        let text = self.text(Format::Prometheus);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap();
            let labels = parse_labels(labels.strip_suffix('}').unwrap());
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            (format!("{name}{{{}}}", labels.join(",")), value.parse().unwrap())
        });
        let samples: Vec<(String, f64)> = samples.collect();
        let unique: BTreeMap<String, f64> = samples.iter().cloned().collect();
        assert_eq!(unique.len(), samples.len(), "a series is served twice");
        unique
    }

    /// Returns the calls by service, name, kind and status, with the other labels as they are.
    fn calls(&self) -> BTreeMap<String, u64> {
        let of_calls = |(series, value): (String, f64)| {
            let labels = series.strip_prefix("traces_span_metrics_calls_total{")?.strip_suffix('}')?.to_owned();
            Some((labels, value as u64))
        };
        self.samples().into_iter().filter_map(of_calls).collect()
    }
}

/// Parses labels as Prometheus does. Written apart from the code that writes them.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let (mut labels, mut chars) = (BTreeMap::new(), text.chars().peekable());
    while chars.peek().is_some() {
        let name: String = chars.by_ref().take_while(|&c| c != '=').collect();
        assert_eq!(chars.next(), Some('"'), "{text}");
        let mut value = String::new();
        loop {
            match chars.next().expect("a closing quote") {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("an escape {other:?} in {text}"),
                }),
                c => value.push(c),
            }
        }
        assert_eq!(labels.insert(name, value), None, "{text}");
        assert!(matches!(chars.next(), None | Some(',')), "{text}");
    }
    labels
}

/// Returns a span of the kind SERVER without a parent, which took 5 ms.
fn span(trace: u128, name: &str) -> Span {
    Span {
        trace_id: trace.to_be_bytes().into(),
        span_id: (trace as u64 | 1).to_be_bytes().into(),
        name: name.into(),
        kind: SERVER,
        start_time_unix_nano: START,
        end_time_unix_nano: START + 5 * MS,
        ..Span::default()
    }
}

fn failed(span: Span) -> Span {
    Span { status: Some(Status { code: 2, message: String::new() }), ..span }
}

fn with(mut span: Span, attribute: KeyValue) -> Span {
    span.attributes.push(attribute);
    span
}

fn string(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Returns the labels of a series of calls.
fn labels(service: &str, name: &str, status: &str) -> String {
    format!(
        "service_name={service:?},span_kind=\"SPAN_KIND_SERVER\",span_name={name:?},status_code=\"STATUS_CODE_{status}\""
    )
}
