//! Counts of what one shard holds.

use super::{HeldState, HeldTrace};
use crate::sampling::Summary;

/// Counts of the traces and spans that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldCounts {
    /// Undecided traces.
    pub pending_traces: u64,
    /// Spans of undecided traces.
    pub pending_spans: u64,
    /// Dropped traces that can still be rescued.
    pub rescuable_traces: u64,
    /// Spans of dropped traces that can still be rescued.
    pub rescuable_spans: u64,
    /// Wire bytes of the rescuable spans.
    pub rescuable_bytes: u64,
}

impl HeldCounts {
    /// Adds the spans of `summary`, which came for a trace that is held already.
    pub(super) fn count(&mut self, state: HeldState, summary: &Summary) {
        match state {
            HeldState::Pending { .. } => self.pending_spans += u64::from(summary.span_count),
            HeldState::Dropped { .. } => {
                self.rescuable_spans += u64::from(summary.span_count);
                self.rescuable_bytes += summary.span_bytes;
            }
        }
    }

    pub(super) fn add(&mut self, trace: &HeldTrace) {
        match trace.state {
            HeldState::Pending { .. } => self.pending_traces += 1,
            HeldState::Dropped { .. } => self.rescuable_traces += 1,
        }
        self.count(trace.state, &trace.summary);
    }

    pub(super) fn remove(&mut self, trace: &HeldTrace) {
        let spans = u64::from(trace.summary.span_count);
        match trace.state {
            HeldState::Pending { .. } => {
                self.pending_traces -= 1;
                self.pending_spans -= spans;
            }
            HeldState::Dropped { .. } => {
                self.rescuable_traces -= 1;
                self.rescuable_spans -= spans;
                self.rescuable_bytes -= trace.summary.span_bytes;
            }
        }
    }
}

impl std::ops::Add for HeldCounts {
    type Output = HeldCounts;

    fn add(self, other: HeldCounts) -> HeldCounts {
        HeldCounts {
            pending_traces: self.pending_traces + other.pending_traces,
            pending_spans: self.pending_spans + other.pending_spans,
            rescuable_traces: self.rescuable_traces + other.rescuable_traces,
            rescuable_spans: self.rescuable_spans + other.rescuable_spans,
            rescuable_bytes: self.rescuable_bytes + other.rescuable_bytes,
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl super::Shard {
    /// Returns every held trace with the number of its spans, and true if it is undecided.
    pub(in crate::tail) fn held_traces(&self) -> impl Iterator<Item = (crate::otlp::TraceId, u64, bool)> {
        self.traces.iter().map(|trace| {
            let pending = matches!(trace.state, HeldState::Pending { .. });
            (trace.id, u64::from(trace.summary.span_count), pending)
        })
    }
}
