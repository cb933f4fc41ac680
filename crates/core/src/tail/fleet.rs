//! The reports of a table to the fleet, and the verdicts of the fleet for the table (docs/fleet.md).
//!
//! With a fleet, a trace whose wait is over is not decided here. Its summary goes to the owner of the trace, and the
//! verdict of the owner is followed. If no verdict comes in time, or if the fleet cannot be reached, the trace is decided
//! alone, on the spans that are here.

use std::sync::atomic::{AtomicBool, Ordering};

use super::table::Millis;
use super::tally::Trigger;
use crate::otlp::TraceId;
use crate::sampling::{Keep, Summary, Verdict};

/// The times of the work of a table with its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetTimes {
    /// The time from the first unreported span of a trace to the report of its summary.
    pub quiet_ms: Millis,
    /// The least time between two reports of a trace.
    pub repeat_ms: Millis,
    /// The time for which a trace whose wait is over waits for the verdict of its owner.
    pub verdict_wait_ms: Millis,
}

/// The fleet of a table.
#[derive(Debug)]
pub struct TableFleet {
    pub(super) times: FleetTimes,
    /// True while no other instance can be reached. Traces are decided alone then.
    is_alone: AtomicBool,
}

impl TableFleet {
    /// Creates the fleet of one table. No other instance can be reached at first.
    #[must_use]
    pub fn new(times: FleetTimes) -> Self {
        TableFleet { times, is_alone: AtomicBool::new(true) }
    }

    /// Sets if other instances can be reached.
    pub fn set_alone(&self, is_alone: bool) {
        self.is_alone.store(is_alone, Ordering::Relaxed);
    }

    /// Returns true while no other instance can be reached.
    pub fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }
}

/// Returns true if a held trace that was dropped with this trigger was decided without its owner. One that was dropped under
/// memory pressure is not held.
pub(crate) fn is_without_owner(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::Alone | Trigger::TraceSize)
}

/// The trigger of a report that needs an answer although the owner had decided the trace: it may not know all spans.
pub(crate) const NEEDS_ANSWER: Trigger = Trigger::Alone;

/// Returns true if the owner is to answer a report of a dropped trace that has this trigger.
pub(crate) fn needs_answer(trigger: Trigger) -> bool {
    trigger == NEEDS_ANSWER || is_without_owner(trigger)
}

/// The summary of all spans of a trace that a table holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The trace.
    pub id: TraceId,
    /// The summary of its spans here.
    pub summary: Summary,
    /// The time after which the wait of the trace is over here; 0 if it is over.
    pub due_in_ms: Millis,
    /// The reason for which it will be over.
    pub trigger: Trigger,
    /// True if the trace is undecided here, false if it is dropped and late spans came.
    pub waits: bool,
}

/// A trace that a table has kept on evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// The trace.
    pub id: TraceId,
    /// The verdict.
    pub keep: Keep,
    /// True if the trace had been dropped here. Then others have dropped it, too.
    pub was_dropped: bool,
}

/// The reports to the fleet of one round of work on a table.
#[derive(Debug, Default)]
pub struct FleetReports {
    /// The summaries of traces.
    pub reports: Vec<Report>,
    /// The traces that were kept on evidence.
    pub proofs: Vec<Proof>,
}

impl FleetReports {
    /// Returns true if there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.proofs.is_empty()
    }

    /// Returns the bytes of memory that the buffers take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // All summaries for the same policies have as many keys.
        let keys = self.reports.first().map_or(0, |report| report.summary.heap_bytes()) * self.reports.len();
        keys + self.reports.capacity() * size_of::<Report>() + self.proofs.capacity() * size_of::<Proof>()
    }
}

/// The verdict of the fleet on a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Followed {
    /// The trace.
    pub id: TraceId,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason why the trace was decided when it was.
    pub trigger: Trigger,
    /// The number of spans of this table that a drop took into account.
    pub spans: u32,
    /// The generation of the policies that gave the verdict. A drop by other policies than those in force has no effect.
    pub generation: u16,
}
