//! The accounts of the model: its knowledge of each trace, and the expected changes of one act.

use std::collections::HashMap;

use super::reference::Facts;
use crate::sampling::Keep;

/// The model's knowledge of one trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) accepted: u64,
    /// Spans that left for the exporter. `released` counts the sampled-out ones.
    pub(super) left: u64,
    pub(super) released: u64,
    /// Facts of the spans that are held.
    pub(super) held: Facts,
    pub(super) phase: Phase,
    /// The verdict that its spans leave with.
    pub(super) keep: Option<Keep>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Phase {
    /// The trace was never seen.
    #[default]
    New,
    Pending {
        due_ms: u64,
    },
    Rescuable {
        expiry_ms: u64,
    },
    Kept,
    Gone,
    Vetoed,
}

impl Phase {
    pub(super) fn is_held(self) -> bool {
        matches!(self, Phase::Pending { .. } | Phase::Rescuable { .. })
    }
}

/// A request to the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Act<'a> {
    Insert(&'a HashMap<usize, Facts>),
    /// Make room: decide traces and let go of rescuable ones.
    Relief,
    /// Sweep the shards of this class.
    Sweep(usize),
    /// Put other rules in force.
    Reload,
    /// Evaluate the held spans for the rules in force.
    Rescan,
    Drain,
}

/// The counts that the table must report for an act.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) dropped_traces: u64,
    pub(super) kept_traces: u64,
    /// Late spans by their fate: kept, dropped, rescued.
    pub(super) late_spans: [u64; 3],
}

impl Changes {
    /// Adds the change of one trace from phase `before` to phase `after`.
    pub(super) fn add(&mut self, before: Phase, after: Phase, event: &Event<'_>) {
        let undecided = matches!(before, Phase::New | Phase::Pending { .. });
        let is_dropped = matches!(after, Phase::Rescuable { .. } | Phase::Gone | Phase::Vetoed);
        self.dropped_traces += u64::from(undecided && is_dropped);
        self.kept_traces += u64::from(before != Phase::Kept && after == Phase::Kept);
        let fate = if before == Phase::Kept {
            0
        } else if after == Phase::Kept {
            2
        } else {
            1
        };
        if !undecided {
            self.late_spans[fate] += event.arrived.spans;
        }
    }
}

/// The effect of one act on one trace.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) at: usize,
    pub(super) arrived: Facts,
    pub(super) left: &'a [(Keep, u64)],
    /// Shard, number of spans, and true if the trace is undecided.
    pub(super) held: Option<(usize, u64, bool)>,
    pub(super) act: Act<'a>,
}

/// Returns true if `late`, the verdict of late spans, is the verdict `first` of their trace. The cache rounds the kept
/// share of the traces to 40 bits, so the adjusted counts are compared.
pub(super) fn follows(first: Keep, late: Keep) -> bool {
    let same_count = first.threshold.adjusted_count() == late.threshold.adjusted_count();
    same_count && first == Keep { threshold: first.threshold, ..late }
}
