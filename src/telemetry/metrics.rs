//! The daemon's own metrics in the Prometheus text format: one table of names, cached handles, one function per event.
//!
//! Invariants
//! - Label values are bounded: protocols, codes and reasons are enums listed in [`TABLE`], policies come from the
//!   configuration, and the number of names that senders choose is limited ([`Services`]).
//! - Every series that can occur exists from the start, at 0, except those of senders' names. So a first error is an
//!   increase and not a new series.

mod counted;
mod decided_spans;
mod fleet;
mod open_metrics;
mod pace;
mod span_accounts;
mod table;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use self::counted::Counted;
use self::decided_spans::DecidedSpans;
use super::labels::OTHER;
use super::process;
use crate::otlp::scan::RejectReason;
use crate::sampling::settings::CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS;
use crate::sampling::{Parent, ShadowEffect};
use crate::span_metrics::{Format, SpanMetricsTotals};
use crate::tail::Services;
use crate::tail::tally::Trigger;
pub use counted::{Decided, ServiceSpans, ShadowCount};
pub use decided_spans::{PolicySpans, ServiceDecided};
pub use span_accounts::SpanAccounts;

pub use table::{
    Description, HELD_STATES, HELD_TRACE_STATES, LabelDescription, LabelValues, MetricKind, SINK_CODES, TABLE,
    WAIT_SHARES,
};
pub use values::{
    CutReason, DenialReason, Direction, DiskFault, DropReason, FleetLoss, FleetMessage, FleetPolicies,
    HandshakeFailure, LateVerdict, OtherSignal, Outcome, Protocol, RecoverySource, Reload, TraceVerdict, WaitCause,
};

/// Upper bounds of the buckets in seconds, from a fast acknowledgement to the deadline of a call to the sink.
const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Metadata that the interface of the recorder requires. The recorder in use ignores it.
const METADATA: Metadata<'static> = Metadata::new(env!("CARGO_CRATE_NAME"), Level::INFO, None);

/// Returns the metric label of a gRPC status code: its name in the gRPC specification.
#[must_use]
pub fn code_label(code: tonic::Code) -> &'static str {
    SINK_CODES.get(code as usize).copied().unwrap_or("UNKNOWN")
}

/// Amounts that are held at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldAmounts {
    /// Spans of undecided traces.
    pub pending_spans: u64,
    /// Undecided traces.
    pub pending_traces: u64,
    /// Spans of dropped traces that can still be rescued.
    pub rescuable_spans: u64,
    /// Dropped traces that can still be rescued.
    pub rescuable_traces: u64,
    /// Kept spans in memory that the sink has not confirmed yet.
    pub export_spans: u64,
    /// Kept spans in the spool.
    pub spooled_spans: u64,
    /// Bytes of the spool's files.
    pub spool_bytes: u64,
    /// The most bytes of the spool's files; 0 without a spool.
    pub spool_limit_bytes: u64,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// The most bytes of the journal's files; 0 without a journal.
    pub journal_limit_bytes: u64,
    /// Bytes of the journal's files that an earlier process left and that are not read back yet.
    pub journal_unread_bytes: u64,
    /// Bytes of the budget in use.
    pub used_bytes: u64,
    /// Bytes of the budget (`memory.limit`).
    pub limit_bytes: u64,
}

impl HeldAmounts {
    /// Returns the number of held spans in all states.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.pending_spans + self.rescuable_spans + self.export_spans + self.spooled_spans
    }
}

/// The metrics of one daemon. Handles of frequent events are cached. Those of rare events are looked up by their
/// labels.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    received: [Counter; Protocol::ALL.len()],
    request_duration: [Histogram; Protocol::ALL.len()],
    decision_lag: Histogram,
    sampled_out: Counter,
    handed_over: Counter,
    exported: Counter,
    received_bytes: [Counter; Protocol::ALL.len()],
    services: Services,
    decided_spans: DecidedSpans,
    journal_sync: Histogram,
    counted: Counted,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates metrics with a recorder of their own, so that several daemons can live in one process.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policies(&[])
    }

    /// Does the same as [`Metrics::new`], with the series of the configured policies (given by name) at 0 from the
    /// start.
    #[must_use]
    pub fn with_policies(policies: &[&str]) -> Self {
        Self::create(policies, Services::default())
    }

    /// Does the same as [`Metrics::new`], with the spans by service that `services` counts.
    #[must_use]
    pub fn with_services(services: Services) -> Self {
        Self::create(&[], services)
    }

    fn create(policies: &[&str], services: Services) -> Self {
        // The only possible error is an empty list of buckets.
        let builder = PrometheusBuilder::new().set_buckets(BUCKETS).unwrap_or_default();
        let recorder = builder.build_recorder();
        for metric in TABLE {
            describe(&recorder, metric);
            declare(&recorder, metric, &metric.series(policies));
        }
        let protocol = |p: Protocol| [("protocol", p.as_str())];
        let metrics = Metrics {
            handle: recorder.handle(),
            received: Protocol::ALL.map(|p| counter(&recorder, "spansieve_received_spans_total", &protocol(p))),
            request_duration: Protocol::ALL
                .map(|p| histogram(&recorder, "spansieve_request_duration_seconds", &protocol(p))),
            decision_lag: histogram(&recorder, "spansieve_decision_lag_seconds", &[]),
            sampled_out: counter(&recorder, "spansieve_sampled_out_spans_total", &[]),
            handed_over: counter(&recorder, "spansieve_handed_over_spans_total", &[]),
            exported: counter(&recorder, "spansieve_exported_spans_total", &[]),
            received_bytes: Protocol::ALL.map(|p| counter(&recorder, "spansieve_received_bytes_total", &protocol(p))),
            services,
            decided_spans: DecidedSpans::default(),
            journal_sync: histogram(&recorder, "spansieve_journal_sync_seconds", &[]),
            counted: Counted::default(),
            recorder,
        };
        let build = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("SPANSIEVE_COMMIT"))];
        metrics.set("spansieve_build_info", &build, 1);
        metrics
    }

    /// Creates the series of these policies and shadow policies, at 0 unless they exist already. Series of policies that
    /// are no longer in force stay, because counters must not disappear.
    pub fn declare_policies<'a>(&self, policies: impl Iterator<Item = &'a str>, shadow: impl Iterator<Item = &'a str>) {
        let (policies, shadow): (Vec<_>, Vec<_>) = (policies.collect(), shadow.collect());
        let names = |label: &LabelDescription| label.name == "policy";
        for metric in TABLE.iter().filter(|metric| metric.labels.iter().any(names)) {
            declare(&self.recorder, metric, &metric.series_with_shadow(&policies, &shadow));
        }
    }

    /// Counts the bytes of a well-formed request after decompression.
    pub fn received_bytes(&self, protocol: Protocol, bytes: usize) {
        self.received_bytes[protocol as usize].increment(bytes as u64);
    }

    /// Counts the `spans` spans of a well-formed request.
    pub fn received(&self, protocol: Protocol, spans: u64) {
        self.counted.received.count(&self.received[protocol as usize], spans);
    }

    /// Counts `spans` spans that were rejected alone for `reason`.
    pub fn rejected(&self, reason: RejectReason, spans: u64) {
        self.counted.rejected.add(spans);
        self.count("spansieve_rejected_spans_total", &[("reason", reason.as_str())], spans);
    }

    /// Counts a request that was answered with `outcome`, `elapsed` after the end of its body.
    pub fn request(&self, protocol: Protocol, outcome: Outcome, elapsed: Duration) {
        self.request_duration[protocol as usize].record(elapsed);
        self.count("spansieve_requests_total", &[("protocol", protocol.as_str()), ("outcome", outcome.as_str())], 1);
    }

    /// Counts a connection that was closed at once because too many were open.
    pub fn connection_refused(&self) {
        self.count("spansieve_refused_connections_total", &[], 1);
    }

    /// Counts an export request that was turned away for `reason`.
    pub fn denied(&self, reason: DenialReason) {
        self.count("spansieve_denied_requests_total", &[("reason", reason.as_str())], 1);
    }

    /// Counts a request with `signal`.
    pub fn other_signal(&self, signal: OtherSignal) {
        self.count("spansieve_other_signal_requests_total", &[("signal", signal.as_str())], 1);
    }

    /// Counts a connection that was cut off for `reason`.
    pub fn connection_cut(&self, reason: CutReason) {
        self.count("spansieve_cut_connections_total", &[("reason", reason.as_str())], 1);
    }

    /// Counts a TLS connection that failed before its first request for `reason`.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.count("spansieve_failed_handshakes_total", &[("reason", reason.as_str())], 1);
    }

    /// Sets the expiry of the certificate in use, in seconds since 1970.
    pub fn certificate_expiry(&self, expiry_s: u64) {
        self.set("spansieve_certificate_expiry_timestamp_seconds", &[], expiry_s);
    }

    /// Counts an attempt to read changed files again with `outcome`.
    pub fn reloaded(&self, outcome: Reload) {
        self.count("spansieve_reloads_total", &[("outcome", outcome.as_str())], 1);
    }

    /// Counts an attempt to apply a changed configuration with `outcome`.
    pub fn config_reloaded(&self, outcome: Reload) {
        self.count("spansieve_config_reloads_total", &[("outcome", outcome.as_str())], 1);
    }

    /// Notes if the configuration on disk cannot be used.
    pub fn config_rejected(&self, is_rejected: bool) {
        self.set("spansieve_config_rejected", &[], is_rejected.into());
    }

    /// Sets the hash of the configuration in force, of at most 53 bits.
    pub fn config_hash(&self, hash: u64) {
        self.set("spansieve_config_hash", &[], hash);
    }

    /// Counts `traces` decided traces. `policy` is empty for a drop, unless a policy of type `drop` dropped the traces.
    pub fn decided(&self, policy: &str, verdict: TraceVerdict, trigger: Trigger, traces: u64) {
        let labels = [("policy", policy), ("verdict", verdict.as_str()), ("trigger", trigger.as_str())];
        self.counted.decided(policy, verdict, trigger, traces);
        self.count("spansieve_decided_traces_total", &labels, traces);
    }

    /// Counts decided traces, and their spans, to which the shadow policy `policy` would have given another verdict.
    pub fn shadowed(&self, policy: &str, effect: ShadowEffect, traces: u64, spans: u64) {
        let labels = [("policy", policy), ("effect", effect.as_str())];
        self.count("spansieve_shadow_traces_total", &labels, traces);
        self.count("spansieve_shadow_spans_total", &labels, spans);
        let total = self.counted.shadowed(policy, effect, traces, spans);
        gauge(&self.recorder, "spansieve_shadow_dollars", &labels).set(dollars(total));
    }

    /// Records `traces` traces that were decided `lag` after they were due.
    pub fn decision_lag(&self, lag: Duration, traces: usize) {
        self.decision_lag.record_many(lag.as_secs_f64(), traces);
    }

    /// Counts `spans` sampled-out spans.
    pub fn sampled_out(&self, spans: u64) {
        self.counted.sampled_out.count(&self.sampled_out, spans);
    }

    /// Counts spans of undecided traces that another instance has taken.
    pub fn handed_over(&self, spans: u64) {
        self.counted.handed_over.count(&self.handed_over, spans);
    }

    /// Counts `spans` late spans and their fate.
    pub fn late(&self, verdict: LateVerdict, spans: u64) {
        self.count("spansieve_late_spans_total", &[("verdict", verdict.as_str())], spans);
    }

    /// Counts `ids` forgotten verdicts.
    pub fn forgotten(&self, verdict: TraceVerdict, ids: u64) {
        self.count("spansieve_forgotten_verdicts_total", &[("verdict", verdict.as_str())], ids);
    }

    /// Counts `traces` traces that began again because their verdict was forgotten.
    pub fn restarted(&self, traces: u64) {
        self.count("spansieve_restarted_traces_total", &[], traces);
    }

    /// Counts `spans` spans of a service, of which `late_spans` were late. The name may be any bytes.
    pub fn service_spans(&self, service: &[u8], spans: u64, late_spans: u64) {
        let service = self.services.label(service);
        self.count("spansieve_service_spans_total", &[("service", &service)], spans);
        // This also adds 0, so that the series exists and a first late span is an increase.
        self.count("spansieve_service_late_spans_total", &[("service", &service)], late_spans);
        self.counted.service_spans(service, spans, late_spans);
    }

    /// Counts `traces` traces in which a span of a service has no `parent`. The name may be any bytes.
    pub fn incomplete(&self, service: &[u8], parent: Parent, traces: u64) {
        let service = self.services.label(service);
        self.count("spansieve_incomplete_traces_total", &[("service", &service), ("parent", parent.as_str())], traces);
    }

    /// Counts `spans` spans whose id another span of their trace has, too.
    pub fn duplicates(&self, spans: u64) {
        self.count("spansieve_duplicate_spans_total", &[], spans);
    }

    /// Sets the wait within which the share `share`, one of [`WAIT_SHARES`], of the spans came; 0 if it is not known.
    pub fn suggested_wait(&self, share: &'static str, wait_ms: u64) {
        let seconds = Duration::from_millis(wait_ms).as_secs_f64();
        gauge(&self.recorder, "spansieve_suggested_decision_wait_seconds", &[("share", share)]).set(seconds);
    }

    /// Counts `spans` spans that the sink confirmed.
    pub fn exported(&self, spans: u64) {
        self.counted.exported.count(&self.exported, spans);
    }

    /// Counts `spans` kept spans that were lost for `reason`.
    pub fn dropped(&self, reason: DropReason, spans: u64) {
        self.counted.dropped.add(spans);
        self.count("spansieve_dropped_spans_total", &[("reason", reason.as_str())], spans);
    }

    /// Counts `spans` kept spans that were altered before they were written, for `reason`, one of
    /// [`altered::REASONS`](crate::otlp::altered::REASONS).
    pub fn altered(&self, reason: &'static str, spans: u64) {
        self.count("spansieve_altered_spans_total", &[("reason", reason)], spans);
    }

    /// Counts `spans` spans of an earlier process that were found in `source`.
    pub fn recovered(&self, source: RecoverySource, spans: u64) {
        self.counted.recovered.add(spans);
        self.count("spansieve_recovered_spans_total", &[("source", source.as_str())], spans);
    }

    /// Counts a fault of the journal's files.
    pub fn journal_fault(&self, kind: DiskFault) {
        self.count("spansieve_journal_faults_total", &[("kind", kind.as_str())], 1);
    }

    /// Records the time that the disk took to sync a group of requests.
    pub fn journal_sync(&self, elapsed: Duration) {
        self.journal_sync.record(elapsed);
    }

    /// Counts a fault of the spool's files.
    pub fn spool_fault(&self, kind: DiskFault) {
        self.count("spansieve_spool_faults_total", &[("kind", kind.as_str())], 1);
    }

    /// Sets the number of spans of projects whose calls fail, in the order of [`WaitCause::ALL`].
    pub fn waiting(&self, spans: [u64; WaitCause::ALL.len()]) {
        for (cause, spans) in WaitCause::LABELS.into_iter().zip(spans) {
            self.set("spansieve_waiting_spans", &[("cause", cause)], spans);
        }
    }

    /// Sets the most calls that a project may have under way: the lowest value of all projects with something to write.
    pub fn sink_calls_limit(&self, limit: usize) {
        self.set("spansieve_sink_calls_limit", &[], limit as u64);
    }

    /// Counts a call to the sink that ended with a status code, one of [`SINK_CODES`]; see [`code_label`].
    pub fn sink_call(&self, code: &'static str, elapsed: Duration) {
        let labels = [("code", code)];
        self.count("spansieve_sink_batches_total", &labels, 1);
        histogram(&self.recorder, "spansieve_sink_duration_seconds", &labels).record(elapsed);
    }

    /// Sets the number of spans that a month exports at the present pace.
    pub fn month_estimate(&self, spans: f64) {
        gauge(&self.recorder, "spansieve_month_estimate_spans", &[]).set(spans);
    }

    /// Returns the terms of the conservation law, with the spans that are `held` now.
    #[must_use]
    pub fn accounts(&self, held: &HeldAmounts) -> SpanAccounts {
        self.counted.accounts(held)
    }

    /// Returns the decided traces by policy, verdict and trigger, without those that did not occur.
    #[must_use]
    pub fn decided_traces(&self) -> Vec<Decided> {
        self.counted.decided_traces()
    }

    /// Returns the spans by the label of their service, in the order of the labels. These are estimates.
    #[must_use]
    pub fn services(&self) -> Vec<(std::sync::Arc<str>, ServiceSpans)> {
        self.counted.services()
    }

    /// Returns the counts of shadow policies, without those that are 0.
    #[must_use]
    pub fn shadow_counts(&self) -> Vec<ShadowCount> {
        self.counted.shadow_counts()
    }

    /// Returns the text of all metrics in the classic text format of Prometheus.
    #[must_use]
    pub fn render(&self, held: HeldAmounts) -> String {
        let spans = [held.pending_spans, held.rescuable_spans, held.export_spans, held.spooled_spans];
        for (state, spans) in HELD_STATES.iter().zip(spans) {
            self.set("spansieve_held_spans", &[("state", state)], spans);
        }
        for (state, traces) in HELD_TRACE_STATES.iter().zip([held.pending_traces, held.rescuable_traces]) {
            self.set("spansieve_held_traces", &[("state", state)], traces);
        }
        self.set("spansieve_spool_bytes", &[], held.spool_bytes);
        self.set("spansieve_spool_limit_bytes", &[], held.spool_limit_bytes);
        self.set("spansieve_journal_bytes", &[], held.journal_bytes);
        self.set("spansieve_journal_limit_bytes", &[], held.journal_limit_bytes);
        self.set("spansieve_journal_unread_bytes", &[], held.journal_unread_bytes);
        self.set("spansieve_held_bytes", &[], held.used_bytes);
        self.set("spansieve_memory_limit_bytes", &[], held.limit_bytes);
        self.set_decided_spans();
        self.handle.render()
    }

    /// Writes the text that `/metrics` serves in `format`, with the metrics that `more` writes.
    ///
    /// # Errors
    /// If `out` or `more` fails.
    pub fn exposition(
        &self,
        held: HeldAmounts,
        format: Format,
        out: &mut dyn fmt::Write,
        more: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result,
    ) -> fmt::Result {
        let mut text = self.render(held);
        if format == Format::OpenMetrics {
            text = open_metrics::of_prometheus(&text);
        }
        process::render(format, &mut text);
        out.write_str(&text)?;
        drop(text);
        more(out)?;
        if format == Format::OpenMetrics { out.write_str("# EOF\n") } else { Ok(()) }
    }

    /// Sets the totals of the metrics of spans.
    pub fn span_metrics(&self, totals: &SpanMetricsTotals) {
        let counters = [
            ("spansieve_calls_total", totals.calls),
            ("spansieve_adjusted_calls_total", totals.adjusted_calls.round() as u64),
            ("spansieve_unrepresented_calls_total", totals.unrepresented_calls),
            ("spansieve_span_metrics_overflow_calls_total", totals.overflow_calls),
            ("spansieve_span_metrics_expired_series_total", totals.expired_series),
        ];
        for (name, value) in counters {
            counter(&self.recorder, name, &[]).absolute(value);
        }
        self.set("spansieve_span_metrics_series", &[], totals.series as u64);
        self.set("spansieve_span_metrics_normalized_series", &[], totals.normalized_series as u64);
        self.set("spansieve_span_metrics_bytes", &[], totals.bytes as u64);
    }

    /// Empties the buffers of the histograms. Call it every few seconds, because scrapes may never come.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], n: u64) {
        counter(&self.recorder, name, labels).increment(n);
    }

    fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        gauge(&self.recorder, name, labels).set(value as f64);
    }
}

/// Returns the price of spans in Cloud Trace.
#[must_use]
pub fn dollars(spans: u64) -> f64 {
    spans as f64 * CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS / 1e6
}

/// Registers the help text of `metric`.
fn describe(recorder: &PrometheusRecorder, metric: &Description) {
    let (name, help) = (metric.name.into(), SharedString::const_str(metric.help));
    match metric.kind {
        MetricKind::Counter => recorder.describe_counter(name, None, help),
        MetricKind::Gauge => recorder.describe_gauge(name, None, help),
        MetricKind::Histogram => recorder.describe_histogram(name, None, help),
    }
}

/// Registers series of `metric`, which have these label values.
fn declare(recorder: &PrometheusRecorder, metric: &Description, series: &[Vec<&str>]) {
    for values in series {
        let labels: Vec<_> = metric.labels.iter().map(|label| label.name).zip(values.iter().copied()).collect();
        match metric.kind {
            MetricKind::Counter => drop(counter(recorder, metric.name, &labels)),
            MetricKind::Gauge => drop(gauge(recorder, metric.name, &labels)),
            MetricKind::Histogram => drop(histogram(recorder, metric.name, &labels)),
        }
    }
}

fn counter(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
    recorder.register_counter(&key(name, labels), &METADATA)
}

fn gauge(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
    recorder.register_gauge(&key(name, labels), &METADATA)
}

fn histogram(recorder: &PrometheusRecorder, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
    recorder.register_histogram(&key(name, labels), &METADATA)
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    debug_assert!(is_listed(name, labels), "{name} {labels:?} is not in the table");
    let labels: Vec<Label> = labels.iter().map(|&(name, value)| Label::new(name, value.to_owned())).collect();
    Key::from_parts(name, labels)
}

/// Returns true if the table has the metric with these labels and values. Any name of a policy or sender is accepted.
fn is_listed(name: &str, labels: &[(&'static str, &str)]) -> bool {
    let Some(metric) = TABLE.iter().find(|metric| metric.name == name) else { return false };
    let policies: Vec<&str> =
        labels.iter().filter(|(name, value)| *name == "policy" && !value.is_empty()).map(|(_, value)| *value).collect();
    let names_match = metric.labels.iter().map(|label| label.name).eq(labels.iter().map(|(name, _)| *name));
    let values = metric.labels.iter().zip(labels).map(|(label, (_, value))| match label.values {
        LabelValues::Sender => OTHER,
        LabelValues::Occurring(values) if values.contains(value) => values[0],
        _ => value,
    });
    names_match
        && metric
            .series_with_shadow(&policies, &policies)
            .iter()
            .any(|series| series.iter().copied().eq(values.clone()))
}
