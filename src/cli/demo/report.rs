//! The report that the demo prints every few seconds.

use std::fmt::Write;

use super::Stage;
use crate::emulator::{Filter, Query};
use crate::telemetry::metrics::scraped::{label, series, sum};

/// Returns a few lines: the numbers of received and kept spans, the reasons, and links to a kept error and a kept slow
/// trace.
pub(super) fn render(stage: &Stage) -> String {
    let metrics = (stage.scrape)();
    let received = sum(&metrics, "spansieve_received_spans_total");
    let exported = sum(&metrics, "spansieve_exported_spans_total");
    let share = if received > 0.0 { 100.0 * exported / received } else { 0.0 };
    let mut text = format!("received {received} spans, kept {exported} of them ({share:.1} %)");
    let decided = series(&metrics, "spansieve_decided_traces_total");
    let mut kept: Vec<_> =
        decided.filter(|(labels, traces)| label(labels, "verdict") == Some("kept") && *traces > 0.0).collect();
    kept.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    for (labels, traces) in kept {
        let _ = write!(text, "\n  {traces:>6} traces by {}", label(labels, "policy").unwrap_or("?"));
        let _ = write!(text, " ({})", label(labels, "trigger").unwrap_or("?"));
    }
    for (what, filter, policy) in [("error", Filter::Errors, None), ("slow", Filter::Slow, Some("slow"))] {
        let policy = policy.map(str::to_owned);
        let newest = stage.store.traces(&Query { filter, policy, limit: 1, ..Query::default() });
        if let Some(trace) = newest.first() {
            let _ = write!(text, "\n  a kept {what} trace: {}/traces/{}", stage.page, trace.trace_id);
        }
    }
    text
}
