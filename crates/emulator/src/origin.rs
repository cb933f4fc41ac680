//! The interface to the daemon that writes to the embedded Cloud Trace, if both are in one process. The daemon knows
//! why a trace is not stored here.

use std::fmt::Debug;

use serde::Serialize;

use crate::otlp::TraceId;

/// A daemon that the embedded Cloud Trace can ask about its traces.
pub trait DaemonQueries: Debug + Send + Sync {
    /// Returns the fate of the trace `id`.
    fn fate(&self, id: TraceId) -> TraceFate;

    /// Returns the daemon's counts of spans and traces.
    fn traffic(&self) -> TrafficCounts;
}

/// The state or verdict of a trace in the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceFate {
    /// The trace is pending: the daemon has not decided it yet.
    Pending,
    /// The daemon kept the trace.
    Kept {
        /// The name of the policy that kept it.
        policy: String,
    },
    /// No policy kept the trace.
    SampledOut {
        /// True if the daemon still holds the spans, so that a late error can bring the trace back.
        rescuable: bool,
    },
    /// A policy of type `drop` dropped the trace.
    Dropped,
    /// The daemon does not know the trace.
    Unknown,
}

impl TraceFate {
    /// Returns the fate's name in the API.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            TraceFate::Pending => "pending",
            TraceFate::Kept { .. } => "kept",
            TraceFate::SampledOut { .. } => "sampled_out",
            TraceFate::Dropped => "dropped",
            TraceFate::Unknown => "unknown",
        }
    }

    /// Returns the reason why the trace is not stored, as text for the user. `evicted` is true if the store has evicted
    /// traces to make room.
    #[must_use]
    pub fn explain(&self, evicted: bool) -> String {
        match self {
            TraceFate::Pending => "this trace is pending: the daemon has not decided yet whether to keep it".into(),
            TraceFate::Kept { policy } if evicted => {
                format!("the policy {policy} kept this trace: it is on its way here, or it was evicted to make room")
            }
            TraceFate::Kept { policy } => format!("the policy {policy} kept this trace: it is on its way here"),
            TraceFate::SampledOut { rescuable: true } => {
                "this trace was sampled out: no policy kept it; a late error or slow span can still bring it back"
                    .into()
            }
            TraceFate::SampledOut { rescuable: false } => "this trace was sampled out: no policy kept it".into(),
            TraceFate::Dropped => "this trace was dropped by a policy of type drop".into(),
            TraceFate::Unknown => {
                "the daemon does not know this trace: no span of it came, or its verdict is forgotten".into()
            }
        }
    }
}

/// Counts of spans and traces. Totals count since the daemon's start; pending counts are current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrafficCounts {
    /// Spans received from senders.
    pub received_spans: u64,
    /// Spans of pending traces.
    pub pending_spans: u64,
    /// Number of pending traces.
    pub pending_traces: u64,
    /// Traces that were kept.
    pub kept_traces: u64,
    /// Traces that were not kept.
    pub sampled_out_traces: u64,
    /// Spans of traces that were not kept.
    pub sampled_out_spans: u64,
}

#[cfg(test)]
mod tests;
