//! Own metrics in the Prometheus text format: one table of names, cached handles, one function per event.
//!
//! Label values are bounded: protocols, codes and reasons are enums of ours, policies come from the configuration.

use std::time::Duration;

use metrics::{Counter, Histogram, Label};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// A metric as `/metrics` and `docs/metrics.md` show it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Full name, unit last.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names.
    pub labels: &'static [&'static str],
    /// The help text.
    pub help: &'static str,
}

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic buckets.
    Histogram,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Description {
    Description { name, kind: Kind::Counter, labels, help }
}
const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Description {
    Description { name, kind: Kind::Gauge, labels, help }
}
const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Description {
    Description { name, kind: Kind::Histogram, labels, help }
}

/// Every metric of the daemon. `docs/metrics.md` says the same, and a test compares the two.
pub const TABLE: &[Description] = &[
    counter("spansieve_received_spans_total", &["protocol"], "Spans in well-formed requests, rejected ones included."),
    counter(
        "spansieve_rejected_spans_total",
        &["reason"],
        "Spans rejected alone; the sender was told by partial_success.",
    ),
    counter("spansieve_requests_total", &["protocol", "outcome"], "Export requests by how they were answered."),
    histogram("spansieve_request_duration_seconds", &["protocol"], "From the end of a request's body to its answer."),
    counter(
        "spansieve_refused_connections_total",
        &[],
        "Connections closed at once, because as many as are allowed were open.",
    ),
    gauge(
        "spansieve_held_spans",
        &["state"],
        "Spans held: pending a decision, rescuable after a drop, or kept and waiting for Cloud Trace.",
    ),
    gauge("spansieve_held_traces", &["state"], "Traces held, pending or rescuable."),
    gauge("spansieve_held_bytes", &[], "Bytes of the memory budget in use."),
    gauge("spansieve_memory_limit_bytes", &[], "The memory budget."),
    counter(
        "spansieve_decided_traces_total",
        &["policy", "verdict", "trigger"],
        "Decisions; the policy is empty for a drop.",
    ),
    histogram("spansieve_decision_lag_seconds", &[], "How long after its due time a trace was decided."),
    counter("spansieve_sampled_out_spans_total", &[], "Spans let go because no policy kept their trace."),
    counter(
        "spansieve_late_spans_total",
        &["verdict"],
        "Spans that came after their trace was decided, by the verdict that they followed.",
    ),
    counter("spansieve_exported_spans_total", &[], "Spans that Cloud Trace confirmed."),
    counter("spansieve_dropped_spans_total", &["reason"], "Kept spans that were lost for good."),
    counter("spansieve_sink_batches_total", &["code"], "Calls to Cloud Trace by gRPC status code."),
    histogram("spansieve_sink_duration_seconds", &["code"], "Duration of calls to Cloud Trace by gRPC status code."),
    gauge("spansieve_build_info", &["version", "commit"], "Always 1."),
];

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, `application/x-protobuf`.
    HttpProtobuf,
    /// OTLP/HTTP, `application/json`.
    HttpJson,
}

impl Protocol {
    /// Every protocol in the order of their numbers.
    pub const ALL: [Protocol; 3] = [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson];

    /// The protocol as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http_protobuf",
            Protocol::HttpJson => "http_json",
        }
    }
}

/// What is held at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Spans of undecided traces.
    pub pending_spans: u64,
    /// Undecided traces.
    pub pending_traces: u64,
    /// Spans of dropped traces that can still be rescued.
    pub rescuable_spans: u64,
    /// Dropped traces that can still be rescued.
    pub rescuable_traces: u64,
    /// Kept spans that Cloud Trace has not confirmed yet.
    pub export_spans: u64,
    /// Bytes of the budget in use.
    pub used_bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
}

/// The metrics of one daemon. Handles for what is hot are cached; what is rare is looked up by its labels.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    received: [Counter; Protocol::ALL.len()],
    request_duration: [Histogram; Protocol::ALL.len()],
    decision_lag: Histogram,
    sampled_out: Counter,
    exported: Counter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Seconds; from a fast acknowledgement to a sink's deadline.
const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics of their own recorder, so that several daemons can live in one process.
    #[must_use]
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in TABLE.iter().filter(|m| m.kind == Kind::Histogram) {
            // The only error is an empty list of buckets.
            builder = match builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), BUCKETS) {
                Ok(builder) => builder,
                Err(_) => PrometheusBuilder::new(),
            };
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let info = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("SPANSIEVE_COMMIT"))];
            metrics::gauge!("spansieve_build_info", &info).set(1.0);
        });
        let local = &recorder;
        let by_protocol = |p: Protocol| [("protocol", p.label())];
        Metrics {
            received: Protocol::ALL.map(|p| {
                metrics::with_local_recorder(local, || {
                    metrics::counter!("spansieve_received_spans_total", &by_protocol(p))
                })
            }),
            request_duration: Protocol::ALL.map(|p| {
                metrics::with_local_recorder(local, || {
                    metrics::histogram!("spansieve_request_duration_seconds", &by_protocol(p))
                })
            }),
            decision_lag: metrics::with_local_recorder(local, || metrics::histogram!("spansieve_decision_lag_seconds")),
            sampled_out: metrics::with_local_recorder(local, || metrics::counter!("spansieve_sampled_out_spans_total")),
            exported: metrics::with_local_recorder(local, || metrics::counter!("spansieve_exported_spans_total")),
            recorder,
            handle,
        }
    }

    /// A well-formed request held `spans` spans.
    pub fn received(&self, protocol: Protocol, spans: u64) {
        self.received[protocol as usize].increment(spans);
    }

    /// `spans` spans were rejected alone.
    pub fn rejected(&self, reason: &'static str, spans: u64) {
        self.count("spansieve_rejected_spans_total", vec![Label::new("reason", reason)], spans);
    }

    /// A request was answered with `outcome`, `elapsed` after the end of its body.
    pub fn request(&self, protocol: Protocol, outcome: &'static str, elapsed: Duration) {
        self.request_duration[protocol as usize].record(elapsed);
        let labels = vec![Label::new("protocol", protocol.label()), Label::new("outcome", outcome)];
        self.count("spansieve_requests_total", labels, 1);
    }

    /// A connection was closed at once, because too many were open.
    pub fn connection_refused(&self) {
        self.count("spansieve_refused_connections_total", Vec::new(), 1);
    }

    /// `traces` traces were decided. `policy` is empty for a drop.
    pub fn decided(&self, policy: &str, verdict: &'static str, trigger: &'static str, traces: u64) {
        let labels = vec![
            Label::new("policy", policy.to_owned()),
            Label::new("verdict", verdict),
            Label::new("trigger", trigger),
        ];
        self.count("spansieve_decided_traces_total", labels, traces);
    }

    /// `traces` traces were decided `lag` after they were due.
    pub fn decision_lag(&self, lag: Duration, traces: usize) {
        self.decision_lag.record_many(lag.as_secs_f64(), traces);
    }

    /// `spans` spans of dropped traces were let go for good.
    pub fn sampled_out(&self, spans: u64) {
        self.sampled_out.increment(spans);
    }

    /// `spans` spans came after their trace was decided and followed `verdict`.
    pub fn late(&self, verdict: &'static str, spans: u64) {
        self.count("spansieve_late_spans_total", vec![Label::new("verdict", verdict)], spans);
    }

    /// Cloud Trace confirmed `spans` spans.
    pub fn exported(&self, spans: u64) {
        self.exported.increment(spans);
    }

    /// `spans` kept spans were lost for good.
    pub fn dropped(&self, reason: &'static str, spans: u64) {
        self.count("spansieve_dropped_spans_total", vec![Label::new("reason", reason)], spans);
    }

    /// A call to Cloud Trace ended with the gRPC status `code`.
    pub fn sink_call(&self, code: &'static str, elapsed: Duration) {
        let labels = vec![Label::new("code", code)];
        self.count("spansieve_sink_batches_total", labels.clone(), 1);
        metrics::with_local_recorder(&self.recorder, || {
            metrics::histogram!("spansieve_sink_duration_seconds", labels).record(elapsed);
        });
    }

    /// The text that `/metrics` serves.
    #[must_use]
    pub fn render(&self, held: Held) -> String {
        let states = [
            ("pending", held.pending_spans, Some(held.pending_traces)),
            ("rescuable", held.rescuable_spans, Some(held.rescuable_traces)),
            ("export", held.export_spans, None),
        ];
        for (state, spans, traces) in states {
            self.set("spansieve_held_spans", vec![Label::new("state", state)], spans);
            if let Some(traces) = traces {
                self.set("spansieve_held_traces", vec![Label::new("state", state)], traces);
            }
        }
        self.set("spansieve_held_bytes", Vec::new(), held.used_bytes);
        self.set("spansieve_memory_limit_bytes", Vec::new(), held.limit_bytes);
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Empties the buffers of the histograms; call it every few seconds, as scrapes may never come.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn count(&self, name: &'static str, labels: Vec<Label>, n: u64) {
        metrics::with_local_recorder(&self.recorder, || metrics::counter!(name, labels).increment(n));
    }

    fn set(&self, name: &'static str, labels: Vec<Label>, value: u64) {
        metrics::with_local_recorder(&self.recorder, || metrics::gauge!(name, labels).set(value as f64));
    }
}

fn describe() {
    for metric in TABLE {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
