//! Every metric with its labels and their values. `docs/metrics.md` says the same, and a test compares the two.

use crate::telemetry::labels::OTHER;

/// A metric as `/metrics` and `docs/metrics.md` show it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Full name, unit last.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [LabelDescription],
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

impl Kind {
    /// The type as `# TYPE` lines have it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct LabelDescription {
    /// The label's name.
    pub name: &'static str,
    /// What it can be.
    pub values: LabelValues,
}

/// The values of a label; always a bounded set.
#[derive(Clone, Copy, Debug)]
pub enum LabelValues {
    /// One of these.
    Listed(&'static [&'static str]),
    /// The name of a policy of the configuration; empty where none is concerned.
    Policy,
    /// What a sender chose: its first [`super::super::labels::NAMES_MAX`] values, and `other`.
    Sender,
    /// This one, fixed when the program was built.
    Build(&'static str),
}

/// Protocols of requests; see [`super::Protocol`].
pub const PROTOCOLS: &[&str] = &["grpc", "http_protobuf", "http_json"];
/// How export requests are answered: taken; taken but for spans rejected alone; not understood; over the size limit;
/// no memory left (retryable); too many waited (retryable); its sender was turned away; its body did not come in time; an
/// unknown encoding or compression; shutting down (retryable); the journal is full or cannot be written (retryable).
pub const OUTCOMES: &[&str] = &[
    "ok",
    "partial",
    "invalid",
    "too_large",
    "busy",
    "overloaded",
    "denied",
    "timeout",
    "unsupported",
    "stopping",
    "journal",
];
/// Why a span is rejected alone; see [`crate::otlp::scan::RejectReason`].
pub const REJECT_REASONS: &[&str] = &["invalid_trace_id", "invalid_span_id", "invalid_parent_span_id"];
/// Why a connection is cut off: the head of a request comes too slowly; it is too large to wait for its end; answers are not
/// taken.
pub const CUT_REASONS: &[&str] = &["slow_head", "large_head", "unread"];
/// Signals of OpenTelemetry that are not taken.
pub const OTHER_SIGNALS: &[&str] = &["metrics", "logs", "profiles"];
/// Where spans are held; only the first two states are about whole traces.
pub const HELD_STATES: &[&str] = &["pending", "rescuable", "export", "spooled"];
/// The states in which traces are held.
pub const HELD_TRACE_STATES: &[&str] = &["pending", "rescuable"];
/// Why a request is turned away by `otlp.auth`.
pub const DENIAL_REASONS: &[&str] = &[
    "no_token",
    "unknown_token",
    "malformed",
    "algorithm",
    "unknown_key",
    "signature",
    "issuer",
    "audience",
    "expired",
    "future",
    "account",
    "no_keys",
];
/// Why a TLS handshake fails: the client shows no certificate, or none that is good; it takes too long; or anything else,
/// such as a client that speaks no TLS.
pub const HANDSHAKE_FAILURES: &[&str] = &["client_certificate", "timeout", "protocol"];
/// What becomes of files that have changed.
pub const RELOADS: &[&str] = &["ok", "failed"];
/// What is decided about a trace.
pub const VERDICTS: &[&str] = &["kept", "dropped"];
/// What made a trace due: its wait was over, or the shorter one after its root; it proved a keep rule; it grew to
/// `spans_max` or `bytes_max`; memory ran short; the process stops; or a late span proved an earlier drop wrong.
pub const TRIGGERS: &[&str] =
    &["decision_wait", "root_received", "evidence", "trace_size", "pressure", "shutdown", "rescue"];
/// What late spans meet.
pub const LATE_VERDICTS: &[&str] = &["kept", "dropped", "rescued"];
/// Why kept spans are lost: Cloud Trace refused them for good, the process had to end, they cannot be encoded, they
/// name a project that is not allowed, nobody took them within `cloud_trace.give_up_after`, or the spool's disk changed them.
pub const DROP_REASONS: &[&str] = &["refused", "shutdown", "encode", "project_not_allowed", "gave_up", "corrupt"];
/// How kept spans are written otherwise than they were sent: mended text; replaced times; something cut or left out.
pub const ALTERATIONS: &[&str] = &["utf8", "times", "cut"];
/// What the spans of a project wait for whose calls fail; see [`crate::export::retry::Action::cause`].
pub const WAIT_CAUSES: &[&str] = &["unavailable", "quota", "unauthenticated", "denied"];
/// Where an earlier process left spans.
pub const RECOVERY_SOURCES: &[&str] = &["spool", "journal"];
/// What is wrong with the disk of the spool or of the journal: a segment ends within a record, or its records are not
/// what was written, or it is gone; a segment is not of this version and sink; a file cannot be read, or not be written; a
/// request of the journal does not fit into memory, or processes were killed while they had read it alone.
pub const DISK_FAULTS: &[&str] = &["torn", "corrupt", "foreign", "read", "write", "too_large", "fatal"];
/// gRPC status codes by number, under their names in the gRPC specification.
pub const SINK_CODES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Whose span a missing parent is; see [`crate::sampling::Parent`].
pub const PARENTS: &[&str] = &["local", "remote"];
/// The shares of spans for which a wait is suggested, with their labels.
pub const WAIT_SHARES: [(&str, f64); 2] = [("0.99", 0.99), ("0.999", 0.999)];
const WAIT_SHARE_LABELS: &[&str] = &[WAIT_SHARES[0].0, WAIT_SHARES[1].0];

const SERVICE: LabelDescription = LabelDescription { name: "service", values: LabelValues::Sender };

/// Every metric of the daemon.
pub const TABLE: &[Description] = &[
    counter(
        "spansieve_received_spans_total",
        &[listed("protocol", PROTOCOLS)],
        "Spans in well-formed requests, rejected ones included.",
    ),
    counter(
        "spansieve_rejected_spans_total",
        &[listed("reason", REJECT_REASONS)],
        "Spans rejected alone; the sender was told by partial_success.",
    ),
    counter(
        "spansieve_requests_total",
        &[listed("protocol", PROTOCOLS), listed("outcome", OUTCOMES)],
        "Export requests by how they were answered.",
    ),
    histogram(
        "spansieve_request_duration_seconds",
        &[listed("protocol", PROTOCOLS)],
        "From the end of a request's body to its answer.",
    ),
    counter(
        "spansieve_refused_connections_total",
        &[],
        "Connections closed at once, because as many as are allowed were open.",
    ),
    counter(
        "spansieve_denied_requests_total",
        &[listed("reason", DENIAL_REASONS)],
        "Export requests that `otlp.auth` turned away before their body was read.",
    ),
    counter(
        "spansieve_other_signal_requests_total",
        &[listed("signal", OTHER_SIGNALS)],
        "Requests with metrics, logs or profiles, which are refused.",
    ),
    counter(
        "spansieve_cut_connections_total",
        &[listed("reason", CUT_REASONS)],
        "Connections cut off, because their peer only held them.",
    ),
    counter(
        "spansieve_failed_handshakes_total",
        &[listed("reason", HANDSHAKE_FAILURES)],
        "TLS connections that ended before their first request.",
    ),
    gauge(
        "spansieve_certificate_expiry_timestamp_seconds",
        &[],
        "When the certificate of `otlp.tls` expires, in seconds since 1970; 0 without TLS.",
    ),
    counter(
        "spansieve_reloads_total",
        &[listed("outcome", RELOADS)],
        "Certificates and tokens that were read again because their files had changed.",
    ),
    gauge(
        "spansieve_held_spans",
        &[listed("state", HELD_STATES)],
        "Spans held: pending a decision, rescuable after a drop, or kept and waiting for Cloud Trace, in memory or in the spool.",
    ),
    gauge("spansieve_held_traces", &[listed("state", HELD_TRACE_STATES)], "Traces held, pending or rescuable."),
    gauge("spansieve_held_bytes", &[], "Bytes of the memory budget in use."),
    gauge("spansieve_memory_limit_bytes", &[], "The memory budget."),
    counter(
        "spansieve_decided_traces_total",
        &[
            LabelDescription { name: "policy", values: LabelValues::Policy },
            listed("verdict", VERDICTS),
            listed("trigger", TRIGGERS),
        ],
        "Decisions by the policy that kept or dropped the trace; empty for a trace that no policy kept.",
    ),
    gauge(
        "spansieve_month_estimate_spans",
        &[],
        "Spans that 30 days export at the present pace; 0 without a policy of type budget.",
    ),
    histogram("spansieve_decision_lag_seconds", &[], "How long after its due time a trace was decided."),
    counter(
        "spansieve_sampled_out_spans_total",
        &[],
        "Spans let go because no policy kept their trace, or one dropped it.",
    ),
    counter(
        "spansieve_late_spans_total",
        &[listed("verdict", LATE_VERDICTS)],
        "Spans that came after their trace was decided, by the verdict that they followed.",
    ),
    counter(
        "spansieve_forgotten_verdicts_total",
        &[listed("verdict", VERDICTS)],
        "Verdicts that made room for others in the decision caches: spans of these traces that still come begin them anew.",
    ),
    counter(
        "spansieve_restarted_traces_total",
        &[],
        "Traces that late spans began anew, as their verdict was forgotten; an estimate.",
    ),
    counter("spansieve_service_spans_total", &[SERVICE], "Spans by the service.name of their resource; an estimate."),
    counter(
        "spansieve_service_late_spans_total",
        &[SERVICE],
        "Of these, spans that came more than decision_wait after the first of their trace; an estimate.",
    ),
    counter(
        "spansieve_incomplete_traces_total",
        &[SERVICE, listed("parent", PARENTS)],
        "Traces in which the parent of a span of this service had not come when the wait was over; an estimate.",
    ),
    counter(
        "spansieve_duplicate_spans_total",
        &[],
        "Spans whose id another one of their trace had when its wait was over; an estimate.",
    ),
    gauge(
        "spansieve_suggested_decision_wait_seconds",
        &[listed("share", WAIT_SHARE_LABELS)],
        "The decision_wait within which this share of the spans of the last ten minutes came; 0: too few spans to tell.",
    ),
    counter("spansieve_exported_spans_total", &[], "Spans that Cloud Trace confirmed."),
    counter("spansieve_dropped_spans_total", &[listed("reason", DROP_REASONS)], "Kept spans that were lost for good."),
    counter(
        "spansieve_altered_spans_total",
        &[listed("reason", ALTERATIONS)],
        "Kept spans that were written otherwise than sent, as Cloud Trace would have refused them.",
    ),
    gauge(
        "spansieve_waiting_spans",
        &[listed("cause", WAIT_CAUSES)],
        "Kept spans of projects whose calls fail, by why the last one failed.",
    ),
    gauge(
        "spansieve_sink_calls_limit",
        &[],
        "Calls to Cloud Trace that a project may have under way; of several, the fewest.",
    ),
    counter(
        "spansieve_sink_batches_total",
        &[listed("code", SINK_CODES)],
        "Calls to Cloud Trace by gRPC status code, retries included.",
    ),
    histogram(
        "spansieve_sink_duration_seconds",
        &[listed("code", SINK_CODES)],
        "Duration of calls to Cloud Trace by gRPC status code.",
    ),
    counter(
        "spansieve_recovered_spans_total",
        &[listed("source", RECOVERY_SOURCES)],
        "Spans that an earlier process left: in the spool, found at start; in the journal, read back.",
    ),
    gauge("spansieve_spool_bytes", &[], "Bytes of the spool's files."),
    gauge("spansieve_spool_limit_bytes", &[], "The most bytes of the spool's files; 0: there is no spool."),
    counter("spansieve_spool_faults_total", &[listed("kind", DISK_FAULTS)], "What went wrong with the spool's files."),
    gauge("spansieve_journal_bytes", &[], "Bytes of the journal's files."),
    gauge("spansieve_journal_limit_bytes", &[], "The most bytes of the journal's files; 0: there is no journal."),
    gauge(
        "spansieve_journal_unread_bytes",
        &[],
        "Bytes of the files that an earlier process left in the journal and that are still to be read back.",
    ),
    histogram("spansieve_journal_sync_seconds", &[], "How long the disk took to sync a group of requests."),
    counter(
        "spansieve_journal_faults_total",
        &[listed("kind", DISK_FAULTS)],
        "What went wrong with the journal's files.",
    ),
    gauge(
        "spansieve_build_info",
        &[
            LabelDescription { name: "version", values: LabelValues::Build(env!("CARGO_PKG_VERSION")) },
            LabelDescription { name: "commit", values: LabelValues::Build(env!("SPANSIEVE_COMMIT")) },
        ],
        "Always 1.",
    ),
];

const fn listed(name: &'static str, values: &'static [&'static str]) -> LabelDescription {
    LabelDescription { name, values: LabelValues::Listed(values) }
}
const fn counter(name: &'static str, labels: &'static [LabelDescription], help: &'static str) -> Description {
    Description { name, kind: Kind::Counter, labels, help }
}
const fn gauge(name: &'static str, labels: &'static [LabelDescription], help: &'static str) -> Description {
    Description { name, kind: Kind::Gauge, labels, help }
}
const fn histogram(name: &'static str, labels: &'static [LabelDescription], help: &'static str) -> Description {
    Description { name, kind: Kind::Histogram, labels, help }
}

impl Description {
    /// The label values of every series that can occur before anything was sent when the policies have these names, in the order of `labels`.
    #[must_use]
    pub fn series<'a>(&self, policies: &[&'a str]) -> Vec<Vec<&'a str>> {
        let mut series = vec![Vec::new()];
        for label in self.labels {
            let values: Vec<&str> = match label.values {
                LabelValues::Listed(values) => values.to_vec(),
                LabelValues::Policy => std::iter::once("").chain(policies.iter().copied()).collect(),
                LabelValues::Sender => vec![OTHER],
                LabelValues::Build(value) => vec![value],
            };
            series = series
                .iter()
                .flat_map(|head| values.iter().map(|&value| head.iter().copied().chain([value]).collect()))
                .collect();
        }
        series.retain(|values| self.can_occur(values));
        series
    }

    /// Only a drop has no policy, and neither evidence nor a rescue ends in one.
    fn can_occur(&self, values: &[&str]) -> bool {
        let decided = self.labels.iter().any(|label| matches!(label.values, LabelValues::Policy));
        match values {
            [_, "dropped", trigger] if decided => !matches!(*trigger, "evidence" | "rescue"),
            [policy, ..] if decided => !policy.is_empty(),
            _ => true,
        }
    }
}
