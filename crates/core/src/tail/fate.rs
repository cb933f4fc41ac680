//! The fate of a trace, as the table reports it on request.

use super::decision_facts::DecisionFacts;
use super::table::Millis;
use super::tally::Trigger;
use crate::sampling::{Keep, Summary};

/// The state of a trace, as far as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The trace is not decided yet.
    Pending,
    /// A policy kept the trace.
    Kept {
        /// The number of the policy; see [`crate::sampling::Keep::policy`].
        policy: u16,
    },
    /// The trace was dropped because no policy kept it.
    SampledOut {
        /// True if the spans are still held, so that a late span can rescue the trace.
        rescuable: bool,
    },
    /// A policy of type `drop` dropped the trace.
    DroppedByPolicy,
    /// No span of the trace has come, or its verdict is forgotten.
    Unknown,
}

/// Everything that the table knows of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceReport {
    /// The state of the trace.
    pub fate: Fate,
    /// The verdict on a kept trace.
    pub keep: Option<Keep>,
    /// The facts about the decision. `None` if the trace is pending or unknown, if an earlier process decided it, or if
    /// the table does not remember facts ([`Table::with_facts`](super::Table::with_facts)) and the spans are gone.
    pub decision: Option<DecisionFacts>,
    /// The facts about a trace whose spans are in the table: it is pending or rescuable.
    pub held: Option<HeldReport>,
}

/// The facts about a trace whose spans are in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldReport {
    /// The summary of its spans.
    pub summary: Summary,
    /// The reason why it is decided at that time, or why it was decided.
    pub trigger: Trigger,
    /// The time at which it is decided, or at which it stops being rescuable, in milliseconds of the table's clock. Memory
    /// pressure can bring it forward.
    pub until_ms: Millis,
}
