//! What became of a trace, for a reader who asks.

/// What the table knows of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is undecided.
    Pending,
    /// The policy of this number kept it.
    Kept {
        /// See [`crate::sampling::Keep::policy`].
        policy: u16,
    },
    /// No policy kept it.
    SampledOut {
        /// Its spans are still held: late spans can prove the drop wrong.
        rescuable: bool,
    },
    /// A policy of type `drop` dropped it.
    Vetoed,
    /// No span of it came, or its verdict is forgotten.
    Unknown,
}
