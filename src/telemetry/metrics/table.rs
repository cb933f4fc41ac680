//! The table of every metric with its labels and their values. A test compares it with `docs/metrics.md`.

use super::values::{
    CutReason, DenialReason, Direction, DiskFault, DropReason, FleetLoss, FleetMessage, FleetPolicies,
    HandshakeFailure, LateVerdict, OtherSignal, Outcome, Protocol, RecoverySource, Reload, TraceVerdict, WaitCause,
};
use crate::otlp::altered;
pub use crate::otlp::reply::STATUS_CODES as SINK_CODES;
use crate::otlp::scan::RejectReason;
use crate::sampling::{Parent, ShadowEffect};
use crate::tail::tally::Trigger;
use crate::telemetry::labels::OTHER;

/// A metric, as `/metrics` and `docs/metrics.md` show it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The full name, with the unit last.
    pub name: &'static str,
    /// The Prometheus type.
    pub kind: MetricKind,
    /// The labels of the metric.
    pub labels: &'static [LabelDescription],
    /// The help text, one sentence or more.
    pub help: &'static str,
}

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A histogram with classic buckets.
    Histogram,
}

impl MetricKind {
    /// Returns the type as it appears in `# TYPE` lines.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct LabelDescription {
    /// The name of the label.
    pub name: &'static str,
    /// The values that the label can have.
    pub values: LabelValues,
}

/// The set of values of a label. It is always bounded.
#[derive(Clone, Copy, Debug)]
pub enum LabelValues {
    /// One of the listed values.
    Listed(&'static [&'static str]),
    /// One of the listed values. Only the first one has a series from the start; that of another begins with the first
    /// event that has it.
    Occurring(&'static [&'static str]),
    /// The name of a policy of the configuration, or empty if no policy is involved.
    Policy,
    /// The name of a shadow policy of the configuration.
    ShadowPolicy,
    /// A name that a sender chose: one of the first `telemetry.services_max`, or `other`.
    Sender,
    /// A value that is fixed when the program is built.
    Build(&'static str),
}

/// States of held spans. Only the first two apply to whole traces.
pub const HELD_STATES: &[&str] = &["pending", "rescuable", "export", "spooled"];
/// States of held traces.
pub const HELD_TRACE_STATES: &[&str] = &["pending", "rescuable"];

/// Shares of spans for which a wait is suggested, each with its label.
pub const WAIT_SHARES: [(&str, f64); 2] = [("0.99", 0.99), ("0.999", 0.999)];
const WAIT_SHARE_LABELS: &[&str] = &[WAIT_SHARES[0].0, WAIT_SHARES[1].0];

const POLICY: LabelDescription = LabelDescription { name: "policy", values: LabelValues::Policy };
const SHADOW_POLICY: LabelDescription = LabelDescription { name: "policy", values: LabelValues::ShadowPolicy };
const SERVICE: LabelDescription = LabelDescription { name: "service", values: LabelValues::Sender };

/// Every metric of the daemon.
pub const TABLE: &[Description] = &[
    counter(
        "spansieve_received_spans_total",
        &[listed("protocol", &Protocol::LABELS)],
        "Spans in well-formed requests, rejected ones included.",
    ),
    counter(
        "spansieve_received_bytes_total",
        &[listed("protocol", &Protocol::LABELS)],
        "Bytes of these requests, decompressed.",
    ),
    counter(
        "spansieve_rejected_spans_total",
        &[listed("reason", &RejectReason::LABELS)],
        "Spans that were rejected alone because they are invalid. The sender was told in partial_success.",
    ),
    counter(
        "spansieve_requests_total",
        &[listed("protocol", &Protocol::LABELS), listed("outcome", &Outcome::LABELS)],
        "Export requests by their answer.",
    ),
    histogram(
        "spansieve_request_duration_seconds",
        &[listed("protocol", &Protocol::LABELS)],
        "Time from the end of a request's body to its answer.",
    ),
    counter(
        "spansieve_refused_connections_total",
        &[],
        "Connections that were closed at once because the limit of open connections was reached.",
    ),
    counter(
        "spansieve_denied_requests_total",
        &[listed("reason", &DenialReason::LABELS)],
        "Export requests that `otlp.auth` turned away before their body was read, and requests to the API without a valid token.",
    ),
    counter(
        "spansieve_other_signal_requests_total",
        &[listed("signal", &OtherSignal::LABELS)],
        "Requests with metrics, logs or profiles, which are refused.",
    ),
    counter(
        "spansieve_cut_connections_total",
        &[listed("reason", &CutReason::LABELS)],
        "Connections that were cut off because the client sent a head too slowly or too large, did not read its answers, sent too many frames without requests, or had no request while another connection needed the place.",
    ),
    counter(
        "spansieve_failed_handshakes_total",
        &[listed("reason", &HandshakeFailure::LABELS)],
        "TLS connections that ended before their first request.",
    ),
    gauge(
        "spansieve_certificate_expiry_timestamp_seconds",
        &[],
        "Expiry of the certificate of `otlp.tls`, in seconds since 1970; 0 without TLS.",
    ),
    counter(
        "spansieve_reloads_total",
        &[listed("outcome", &Reload::LABELS)],
        "Attempts to read certificates and tokens again because their files had changed.",
    ),
    counter(
        "spansieve_config_reloads_total",
        &[listed("outcome", &Reload::LABELS)],
        "Attempts to apply a changed configuration.",
    ),
    gauge(
        "spansieve_config_rejected",
        &[],
        "1 if the configuration that is on disk cannot be used, so that an earlier one is in force, else 0.",
    ),
    gauge(
        "spansieve_config_hash",
        &[],
        "The first 48 bits of the SHA-256 of the configuration in force, as a number; 0 if it is not from a file.",
    ),
    gauge(
        "spansieve_held_spans",
        &[listed("state", HELD_STATES)],
        "Spans held: pending a decision, rescuable after a drop, or kept and waiting for the sink, in memory or in the spool.",
    ),
    gauge("spansieve_held_traces", &[listed("state", HELD_TRACE_STATES)], "Traces held, pending or rescuable."),
    gauge("spansieve_held_bytes", &[], "Bytes of the memory budget in use."),
    gauge("spansieve_memory_limit_bytes", &[], "Bytes of the memory budget (`memory.limit`)."),
    counter(
        "spansieve_decided_traces_total",
        &[POLICY, listed("verdict", &TraceVerdict::LABELS), listed("trigger", &Trigger::LABELS)],
        "Decided traces by the policy that kept or dropped them. `policy` is empty for a trace that no policy kept.",
    ),
    counter(
        "spansieve_decided_spans_total",
        &[POLICY, listed("verdict", &TraceVerdict::LABELS)],
        "Spans by the policy that kept or dropped their traces, counted when they go to the exporter or are let go of.",
    ),
    counter(
        "spansieve_decided_bytes_total",
        &[POLICY, listed("verdict", &TraceVerdict::LABELS)],
        "Bytes of these spans, as they were sent.",
    ),
    gauge(
        "spansieve_policy_month_dollars",
        &[POLICY],
        "The price of the spans that the policy keeps in 30 days at the present pace, at Cloud Trace's list price.",
    ),
    counter(
        "spansieve_shadow_traces_total",
        &[SHADOW_POLICY, listed("effect", &ShadowEffect::LABELS)],
        "Decided traces that a shadow policy would have kept or dropped in addition.",
    ),
    counter(
        "spansieve_shadow_spans_total",
        &[SHADOW_POLICY, listed("effect", &ShadowEffect::LABELS)],
        "Spans of these traces that had come when the traces were decided.",
    ),
    gauge(
        "spansieve_shadow_dollars",
        &[SHADOW_POLICY, listed("effect", &ShadowEffect::LABELS)],
        "The price of these spans at Cloud Trace's list price, since the start.",
    ),
    gauge(
        "spansieve_month_estimate_spans",
        &[],
        "Spans that will be exported in 30 days at the present pace; 0 without a policy of type budget.",
    ),
    histogram("spansieve_decision_lag_seconds", &[], "Time from when a trace was due to its decision."),
    counter("spansieve_sampled_out_spans_total", &[], "Spans of dropped traces that are no longer held."),
    counter(
        "spansieve_handed_over_spans_total",
        &[],
        "Spans of undecided traces that another instance took when this process stopped.",
    ),
    counter(
        "spansieve_late_spans_total",
        &[listed("verdict", &LateVerdict::LABELS)],
        "Spans that came after their trace was decided, by the verdict that they followed.",
    ),
    counter(
        "spansieve_forgotten_verdicts_total",
        &[listed("verdict", &TraceVerdict::LABELS)],
        "Verdicts that the decision caches forgot to make room for others. Later spans of these traces begin them again.",
    ),
    counter(
        "spansieve_restarted_traces_total",
        &[],
        "Traces that began again with a late span because their verdict was forgotten; an estimate.",
    ),
    counter(
        "spansieve_service_decided_spans_total",
        &[SERVICE, listed("verdict", &TraceVerdict::LABELS)],
        "Spans by service and by the verdict on their traces, counted when they go to the exporter or are let go of.",
    ),
    counter(
        "spansieve_service_decided_bytes_total",
        &[SERVICE, listed("verdict", &TraceVerdict::LABELS)],
        "Bytes of these spans, as they were sent.",
    ),
    gauge(
        "spansieve_service_month_dollars",
        &[SERVICE],
        "The price of the spans of the service that are kept in 30 days at the present pace, at Cloud Trace's list price.",
    ),
    counter("spansieve_service_spans_total", &[SERVICE], "Spans by the service.name of their resource; an estimate."),
    counter(
        "spansieve_service_late_spans_total",
        &[SERVICE],
        "Spans of a service that came more than decision_wait after the first span of their trace; an estimate.",
    ),
    counter(
        "spansieve_incomplete_traces_total",
        &[SERVICE, listed("parent", &Parent::LABELS)],
        "Traces in which the parent of a span of this service had not come when the wait was over; an estimate.",
    ),
    counter(
        "spansieve_duplicate_spans_total",
        &[],
        "Spans whose id another span of the same trace had, too, when the wait was over; an estimate.",
    ),
    gauge(
        "spansieve_suggested_decision_wait_seconds",
        &[listed("share", WAIT_SHARE_LABELS)],
        "The decision_wait within which this share of the spans of the last ten minutes came; 0 if there were too few spans to tell.",
    ),
    counter("spansieve_exported_spans_total", &[], "Spans that the sink confirmed."),
    counter(
        "spansieve_dropped_spans_total",
        &[listed("reason", &DropReason::LABELS)],
        "Kept spans that were lost for good.",
    ),
    counter(
        "spansieve_altered_spans_total",
        &[listed("reason", &altered::REASONS)],
        "Kept spans that were changed before they were written because the sink would have refused them.",
    ),
    gauge(
        "spansieve_waiting_spans",
        &[listed("cause", &WaitCause::LABELS)],
        "Kept spans of projects whose calls fail, by the cause of the last failure.",
    ),
    gauge(
        "spansieve_sink_calls_limit",
        &[],
        "The most calls to the sink that a project may have under way; the lowest value if there are several projects.",
    ),
    counter(
        "spansieve_sink_batches_total",
        &[listed("code", SINK_CODES)],
        "Calls to the sink by gRPC status code, retries included.",
    ),
    histogram(
        "spansieve_sink_duration_seconds",
        &[LabelDescription { name: "code", values: LabelValues::Occurring(SINK_CODES) }],
        "Duration of calls to the sink by gRPC status code.",
    ),
    counter(
        "spansieve_recovered_spans_total",
        &[listed("source", &RecoverySource::LABELS)],
        "Spans that an earlier process left: those found in the spool at the start, and those read back from the journal.",
    ),
    gauge("spansieve_spool_bytes", &[], "Bytes of the spool's files."),
    gauge("spansieve_spool_limit_bytes", &[], "The most bytes of the spool's files; 0 without a spool."),
    counter("spansieve_spool_faults_total", &[listed("kind", &DiskFault::LABELS)], "Faults of the spool's files."),
    gauge("spansieve_journal_bytes", &[], "Bytes of the journal's files."),
    gauge("spansieve_journal_limit_bytes", &[], "The most bytes of the journal's files; 0 without a journal."),
    gauge(
        "spansieve_journal_unread_bytes",
        &[],
        "Bytes of the files that an earlier process left in the journal and that are still to be read back.",
    ),
    histogram("spansieve_journal_sync_seconds", &[], "Time that the disk took to sync a group of requests."),
    counter("spansieve_journal_faults_total", &[listed("kind", &DiskFault::LABELS)], "Faults of the journal's files."),
    counter(
        "spansieve_calls_total",
        &[],
        "Spans that the metrics of spans have counted, before any trace was dropped; 0 without `span_metrics`.",
    ),
    counter(
        "spansieve_adjusted_calls_total",
        &[],
        "Counted spans of kept traces, each as many times as the number of traces that its trace stands for.",
    ),
    counter(
        "spansieve_unrepresented_calls_total",
        &[],
        "Counted spans of dropped traces that no policy could have kept, and of traces that another instance took: no kept trace stands for them.",
    ),
    gauge("spansieve_span_metrics_series", &[], "Combinations of labels that the metrics of spans have at present."),
    counter(
        "spansieve_span_metrics_overflow_calls_total",
        &[],
        "Counted spans that have no series of their own because `span_metrics.max_series` is reached.",
    ),
    counter(
        "spansieve_span_metrics_expired_series_total",
        &[],
        "Combinations of labels that were removed because no span had them for `span_metrics.expire_after`.",
    ),
    gauge(
        "spansieve_span_metrics_normalized_series",
        &[],
        "With `span_metrics.span_names: dry_run`, the combinations of labels that there would be with `normalized`; else 0.",
    ),
    gauge("spansieve_span_metrics_bytes", &[], "Memory of the metrics of spans."),
    gauge(
        "spansieve_fleet_up",
        &[],
        "1 if the engine of the fleet can be reached, else 0: traces are decided alone then. 0 without `fleet.url`.",
    ),
    gauge(
        "spansieve_fleet_members",
        &[listed("policies", &FleetPolicies::LABELS)],
        "Members of the fleet, this one included, by their policies.",
    ),
    counter(
        "spansieve_fleet_messages_total",
        &[listed("direction", &Direction::LABELS), listed("kind", &FleetMessage::LABELS)],
        "Messages between this member and others.",
    ),
    counter(
        "spansieve_fleet_bytes_total",
        &[listed("direction", &Direction::LABELS)],
        "Bytes of the batches of these messages.",
    ),
    counter(
        "spansieve_fleet_lost_messages_total",
        &[listed("reason", &FleetLoss::LABELS)],
        "Messages, reports and batches that had no effect. What matters is repeated.",
    ),
    histogram(
        "spansieve_fleet_lag_seconds",
        &[],
        "Time from the end of a batch at its sender to its arrival, by the clocks of both.",
    ),
    counter("spansieve_fleet_owned_decisions_total", &[], "Traces that this member decided as their owner."),
    counter(
        "spansieve_fleet_early_decisions_total",
        &[],
        "Traces that this member decided as their owner before their time, because it remembers no more summaries.",
    ),
    counter(
        "spansieve_fleet_split_traces_total",
        &[],
        "Traces that were decided here without their owner, and otherwise than by it.",
    ),
    gauge("spansieve_fleet_owned_traces", &[], "Traces whose summaries this member holds as their owner."),
    gauge("spansieve_fleet_unconfirmed_proofs", &[], "Keeps on evidence that other members have not confirmed yet."),
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
    Description { name, kind: MetricKind::Counter, labels, help }
}
const fn gauge(name: &'static str, labels: &'static [LabelDescription], help: &'static str) -> Description {
    Description { name, kind: MetricKind::Gauge, labels, help }
}
const fn histogram(name: &'static str, labels: &'static [LabelDescription], help: &'static str) -> Description {
    Description { name, kind: MetricKind::Histogram, labels, help }
}

impl Description {
    /// Returns the label values of every series that can occur before anything was sent, if the policies have these
    /// names, and if there are no shadow policies. The values have the order of `labels`.
    #[must_use]
    pub fn series<'a>(&self, policies: &[&'a str]) -> Vec<Vec<&'a str>> {
        self.series_with_shadow(policies, &[])
    }

    /// Does the same as [`Description::series`] for shadow policies with these names, too.
    #[must_use]
    pub fn series_with_shadow<'a>(&self, policies: &[&'a str], shadow: &[&'a str]) -> Vec<Vec<&'a str>> {
        let mut series = vec![Vec::new()];
        for label in self.labels {
            let values: Vec<&str> = match label.values {
                LabelValues::Listed(values) => values.to_vec(),
                LabelValues::Occurring(values) => values.iter().copied().take(1).collect(),
                LabelValues::Policy => std::iter::once("").chain(policies.iter().copied()).collect(),
                LabelValues::ShadowPolicy => shadow.to_vec(),
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

    /// Returns true if decisions with these values can occur. Only a drop can have no policy, and evidence and rescue
    /// never end in a drop.
    fn can_occur(&self, values: &[&str]) -> bool {
        let decided = self.labels.iter().any(|label| matches!(label.values, LabelValues::Policy));
        let is_kept_by =
            |trigger: &str| [Trigger::Evidence, Trigger::Rescue].iter().any(|kept| kept.as_str() == trigger);
        match values {
            [_, verdict, trigger] if decided && *verdict == TraceVerdict::Dropped.as_str() => !is_kept_by(trigger),
            [policy, verdict] if decided => !policy.is_empty() || *verdict == TraceVerdict::Dropped.as_str(),
            [policy, ..] if decided => !policy.is_empty(),
            _ => true,
        }
    }
}
