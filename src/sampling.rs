//! Policies, compiled to span predicates and a trace verdict.
//!
//! A policy never sees a span: the scan asks [`Policies`] for bits ([`crate::otlp::scan::Probe`]), the trace table
//! or-s them into a [`Summary`], and the verdict is an expression over that. Summaries merge (or, min, max, sum), so
//! the order of arrival never changes a verdict, and no policy holds a span.

pub mod annotation;
mod compile;
mod composite;
mod expression;
pub mod keyed;
mod keys;
mod limiter;
mod policies;
mod predicates;
#[cfg(any(test, fuzzing))]
pub mod reference;
mod state;
mod summary;
#[cfg(test)]
mod tests;
pub mod threshold;
pub mod tracestate;

pub use policies::{CompileError, Misfit, Policies};
pub use summary::{KeyFact, Summary};
pub use threshold::Threshold;

/// The verdict that a trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The policy that kept it: its place in `tail_sampling.policies`.
    pub policy: u16,
    /// How strict the keeping was; gives the adjusted count.
    pub threshold: Threshold,
    /// It was dropped at first: late spans proved that wrong.
    pub rescued: bool,
    /// The parent of one of its spans had not come when its wait was over. `None` also for a trace that did not wait.
    pub missing_parent: Option<Parent>,
}

/// Whose span a span's parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Parent {
    /// The same process's.
    Local,
    /// A caller's, or of whoever stands between the two.
    Remote,
}

impl Parent {
    /// Both, in the order of their numbers.
    pub const ALL: [Parent; 2] = [Parent::Local, Parent::Remote];

    /// As a metric label and in the annotation.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Parent::Local => "local",
            Parent::Remote => "remote",
        }
    }
}

impl Keep {
    /// Kept by this policy in the first place.
    #[must_use]
    pub const fn new(policy: u16, threshold: Threshold) -> Self {
        Keep { policy, threshold, rescued: false, missing_parent: None }
    }
}

/// What is decided about a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A policy keeps it.
    Kept(Keep),
    /// No policy keeps it, but late spans may prove one yet.
    Dropped,
    /// This policy (its place in `tail_sampling.policies`), of type `drop`, drops it for good.
    Vetoed(u16),
}
