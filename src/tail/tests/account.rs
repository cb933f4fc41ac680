//! The model's books: what it knows of each trace, and what may become of one.

use std::collections::HashMap;

use super::reference::Facts;
use crate::sampling::Keep;

/// What the model knows of a trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) accepted: u64,
    /// Gone to the exporter, and let go.
    pub(super) left: u64,
    pub(super) released: u64,
    /// What is held.
    pub(super) held: Facts,
    pub(super) phase: Phase,
    /// What its spans leave with.
    pub(super) keep: Option<Keep>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Phase {
    /// Never seen.
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

/// What the table was asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Act<'a> {
    Insert(&'a HashMap<usize, Facts>),
    /// Makes room by deciding and letting go.
    Relief,
    /// Of the shards of this class.
    Sweep(usize),
    Drain,
}

/// What the table ought to count of an act.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) dropped_traces: u64,
    pub(super) kept_traces: u64,
    /// Kept, dropped, rescued.
    pub(super) late_spans: [u64; 3],
}

impl Changes {
    /// One trace went from phase `before` to phase `after`.
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

/// What happened to one trace in one act.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) at: usize,
    pub(super) arrived: Facts,
    pub(super) left: &'a [(Keep, u64)],
    /// Shard, spans, and whether it is undecided.
    pub(super) held: Option<(usize, u64, bool)>,
    pub(super) act: Act<'a>,
}

/// Late spans leave as their trace did; the cache rounds the part of the traces that is kept to 40 bits.
pub(super) fn follows(first: Keep, late: Keep) -> bool {
    let same_count = first.threshold.adjusted_count() == late.threshold.adjusted_count();
    same_count && first == Keep { threshold: first.threshold, ..late }
}
