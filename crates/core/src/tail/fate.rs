//! The fate of a trace, as the table reports it on request.

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
