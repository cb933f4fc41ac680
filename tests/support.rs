//! Helpers of the process-level tests: a daemon in this process or the real program, on free ports with the embedded
//! Cloud Trace; requests to send; and metrics to read.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod exposition;
pub mod process;
pub mod traces;
pub mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use spansieve::config::{self, Settings};
use spansieve::daemon::Daemon;
use spansieve::emulator::TraceStore;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

pub const MS: u64 = 1_000_000;

/// A configuration with one port, a decision wait of one second, the three usual policies and the embedded Cloud Trace.
pub const CONFIG: &str = "
otlp: {listen: [\"127.0.0.1:0\"]}
tail_sampling:
  decision_wait: 1s
  policies:
    - {name: errors, type: error}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: baseline, type: probabilistic, probabilistic: {sampling_percentage: 5}}
export:
  endpoint: embedded
  embedded: {listen: \"127.0.0.1:0\"}
  batch: {max_delay: 100ms}
memory: {limit: 512MiB}
";

pub fn settings(text: &str) -> Settings {
    config::load_with_files(text, &|_| None, &|path| std::fs::read(path))
        .unwrap_or_else(|problems| panic!("{problems}"))
        .settings
}

pub async fn start(text: &str) -> Daemon {
    Daemon::start(settings(text)).await.unwrap()
}

pub fn otlp(daemon: &Daemon) -> String {
    daemon.endpoint().unwrap()
}

pub fn store(daemon: &Daemon) -> Arc<TraceStore> {
    Arc::clone(daemon.emulator().unwrap().store())
}

pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Returns a healthy span of 5 ms that ended just now.
pub fn span(trace_id: u128, name: &str) -> Span {
    Span {
        trace_id: trace_id.to_be_bytes().into(),
        span_id: fastrand::u64(1..).to_be_bytes().into(),
        name: name.into(),
        start_time_unix_nano: now_ns() - 5 * MS,
        end_time_unix_nano: now_ns(),
        ..Span::default()
    }
}

pub fn error(trace_id: u128, name: &str) -> Span {
    let status = Status { code: StatusCode::Error.into(), message: "broken".into() };
    Span { status: Some(status), ..span(trace_id, name) }
}

pub fn slow(trace_id: u128, name: &str) -> Span {
    Span { start_time_unix_nano: now_ns() - 1_500 * MS, ..span(trace_id, name) }
}

/// Returns a trace id that a ratio of 5 % keeps (`true`) or drops (`false`).
pub fn trace_id(kept: bool) -> u128 {
    let low_bits = if kept { (1 << 56) - 1 - u128::from(fastrand::u32(..)) } else { 1 + u128::from(fastrand::u32(..)) };
    u128::from(fastrand::u64(1..)) << 64 | low_bits
}

pub fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let name = AnyValue { value: Some(Value::StringValue(service.into())) };
    let name = KeyValue { key: "service.name".into(), value: Some(name), ..KeyValue::default() };
    let resource = Resource { attributes: vec![name], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// A gRPC client of the OTLP port.
pub struct Client(tonic::client::Grpc<Channel>);

impl Client {
    /// Returns a client that uses an existing connection.
    pub fn over(channel: Channel) -> Self {
        Client(tonic::client::Grpc::new(channel))
    }

    pub fn new(uri: &str) -> Self {
        Client(tonic::client::Grpc::new(Endpoint::from_shared(uri.to_owned()).unwrap().connect_lazy()))
    }

    pub async fn export(
        &mut self,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, tonic::Status> {
        const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        self.0.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let codec = tonic_prost::ProstCodec::default();
        let reply = self.0.unary(tonic::Request::new(request), PathAndQuery::from_static(PATH), codec).await?;
        Ok(reply.into_inner())
    }
}

/// Returns the sum of the series of `name` whose labels contain all of `labels` (such as `state="pending"`).
pub fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|label| rest.contains(label))).then(|| value.parse::<f64>().unwrap())
    });
    values.sum()
}

/// Returns both sides of the conservation law. They are equal whenever no span is in flight.
pub fn conservation(text: &str) -> (f64, f64) {
    let fates = [
        "exported_spans_total",
        "sampled_out_spans_total",
        "handed_over_spans_total",
        "rejected_spans_total",
        "dropped_spans_total",
    ];
    let settled: f64 = fates.iter().map(|name| metric(text, &format!("spansieve_{name}"), &[])).sum();
    let came = ["received_spans_total", "recovered_spans_total"];
    let came = came.iter().map(|name| metric(text, &format!("spansieve_{name}"), &[])).sum();
    (came, settled + metric(text, "spansieve_held_spans", &[]))
}

/// Waits until `condition` holds; panics with `expected` after 20 seconds.
pub async fn eventually(expected: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
