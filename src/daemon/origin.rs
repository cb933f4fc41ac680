//! Answers the questions of the embedded Cloud Trace about the fate of a trace, and of all spans and traces so far.

use std::sync::Arc;

use super::observed::Observed;
use crate::emulator::origin::{DaemonQueries, TraceFate, TrafficCounts};
use crate::otlp::TraceId;
use crate::tail;
use crate::tail::tally::Trigger;
use crate::telemetry::metrics::{Decided, HeldAmounts, SpanAccounts, TraceVerdict};

/// Answers the questions of the embedded Cloud Trace.
#[derive(Debug)]
pub(super) struct Answers(pub(super) Arc<Observed>);

impl DaemonQueries for Answers {
    fn fate(&self, id: TraceId) -> TraceFate {
        match self.0.pipeline.table.fate(id) {
            tail::Fate::Pending => TraceFate::Pending,
            tail::Fate::Kept { policy } => {
                TraceFate::Kept { policy: self.0.pipeline.policy_names.get(policy).unwrap_or_default() }
            }
            tail::Fate::SampledOut { rescuable } => TraceFate::SampledOut { rescuable },
            tail::Fate::DroppedByPolicy => TraceFate::Dropped,
            tail::Fate::Unknown => TraceFate::Unknown,
        }
    }

    fn traffic(&self) -> TrafficCounts {
        let observed = &self.0;
        traffic(&observed.accounts(), &observed.decided_traces(), &observed.held())
    }
}

/// Returns the traffic so far.
fn traffic(accounts: &SpanAccounts, decided: &[Decided], held: &HeldAmounts) -> TrafficCounts {
    let traces = |is_one: fn(&Decided) -> bool| -> u64 {
        decided.iter().filter(|decided| is_one(decided)).map(|decided| decided.traces).sum()
    };
    let rescued = traces(|decided| decided.trigger == Trigger::Rescue);
    let dropped = traces(|decided| decided.verdict == TraceVerdict::Dropped);
    TrafficCounts {
        received_spans: accounts.received,
        pending_spans: held.pending_spans,
        pending_traces: held.pending_traces,
        kept_traces: traces(|decided| decided.verdict == TraceVerdict::Kept),
        // A trace that was rescued was decided twice.
        sampled_out_traces: dropped.saturating_sub(rescued),
        sampled_out_spans: accounts.sampled_out + held.rescuable_spans,
    }
}

#[cfg(test)]
mod tests;
