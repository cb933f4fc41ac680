//! The daemon that writes to the embedded Cloud Trace, where both are in one process: it knows what became of the traces
//! that are not stored here.

use std::fmt::Debug;

use serde::Serialize;

use crate::otlp::TraceId;

/// A daemon that can be asked.
pub trait Origin: Debug + Send + Sync {
    /// What became of the trace `id`.
    fn fate(&self, id: TraceId) -> Fate;

    /// What came to the daemon so far, and what became of it.
    fn traffic(&self) -> Traffic;
}

/// What became of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The daemon has not decided it yet.
    Pending,
    /// The daemon kept it.
    Kept {
        /// The name of the policy that kept it.
        policy: String,
    },
    /// No policy kept it.
    SampledOut {
        /// The daemon still holds its spans: a late error can bring it back.
        rescuable: bool,
    },
    /// A policy of type `drop` dropped it.
    Dropped,
    /// The daemon does not know it.
    Unknown,
}

impl Fate {
    /// The fate as the API names it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Fate::Pending => "pending",
            Fate::Kept { .. } => "kept",
            Fate::SampledOut { .. } => "sampled_out",
            Fate::Dropped => "dropped",
            Fate::Unknown => "unknown",
        }
    }

    /// Why the trace is not stored, for a reader who looks for it. `evicted`: traces have gone to make room.
    #[must_use]
    pub fn explain(&self, evicted: bool) -> String {
        match self {
            Fate::Pending => "this trace is pending: the daemon has not decided yet whether to keep it".into(),
            Fate::Kept { policy } if evicted => {
                format!("the policy {policy} kept this trace: it is on its way here, or it was evicted to make room")
            }
            Fate::Kept { policy } => format!("the policy {policy} kept this trace: it is on its way here"),
            Fate::SampledOut { rescuable: true } => {
                "this trace was sampled out: no policy kept it; a late error or slow span can still bring it back"
                    .into()
            }
            Fate::SampledOut { rescuable: false } => "this trace was sampled out: no policy kept it".into(),
            Fate::Dropped => "this trace was dropped by a policy of type drop".into(),
            Fate::Unknown => {
                "the daemon does not know this trace: no span of it came, or its verdict is forgotten".into()
            }
        }
    }
}

/// Spans and traces since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Spans that senders sent.
    pub received_spans: u64,
    /// Spans of undecided traces.
    pub pending_spans: u64,
    /// Undecided traces.
    pub pending_traces: u64,
    /// Traces that were kept.
    pub kept_traces: u64,
    /// Traces that were not kept.
    pub sampled_out_traces: u64,
    /// Their spans.
    pub sampled_out_spans: u64,
}

#[cfg(test)]
mod tests;
