//! The report that the demo prints every few seconds.

use std::fmt::Write;

use super::Stage;
use crate::emulator::{Filter, Query};
use crate::telemetry::metrics::{Decided, SpanAccounts, TraceVerdict};

/// Returns a few lines: the numbers of received and kept spans, the reasons, and links to a kept error and a kept slow
/// trace.
pub(super) fn render(stage: &Stage) -> String {
    let SpanAccounts { received, exported, .. } = stage.observed.accounts();
    let share = if received > 0 { 100.0 * exported as f64 / received as f64 } else { 0.0 };
    let mut text = format!("received {received} spans, kept {exported} of them ({share:.1} %)");
    let mut kept = stage.observed.decided_traces();
    kept.retain(|decided| decided.verdict == TraceVerdict::Kept);
    kept.sort_by_key(|decided| std::cmp::Reverse(decided.traces));
    for Decided { policy, trigger, traces, .. } in kept {
        let _ = write!(text, "\n  {traces:>6} traces by {policy} ({})", trigger.as_str());
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
