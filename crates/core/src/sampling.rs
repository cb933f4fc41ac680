//! Policies, compiled to span predicates and a trace verdict.
//!
//! A policy never sees a span. The scan asks [`Policies`] for the bits of each span ([`crate::otlp::scan::Probe`]). The
//! trace table combines them with OR in a [`Summary`], and the verdict is an expression over the summary. Summaries
//! merge (by OR, minimum, maximum and sum), so the order of arrival never changes a verdict. No policy holds a span.

pub mod annotation;
mod answer;
mod compile;
mod composite;
mod expression;
mod fleet;
pub mod keyed;
mod keys;
mod limiter;
mod memory;
mod names;
mod parts;
mod policies;
mod predicates;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod reference;
pub mod settings;
mod shadow;
mod state;
mod summary;
#[cfg(test)]
mod tests;
pub mod threshold;
pub mod tracestate;

pub use answer::Answer;
pub use fleet::{ConfigMark, NameMark};
pub use names::PolicyNames;
pub use parts::{PolicyPart, PolicyParts};
pub use policies::{CompileError, Policies, PolicyError, PolicySet};
pub use shadow::ShadowEffect;
pub(crate) use summary::wire;
pub use summary::{KeyFact, Summary};
pub use threshold::Threshold;

/// The verdict that a trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The policy that keeps the trace, as an index into [`Policies::names`].
    pub policy: u16,
    /// The threshold that the trace has passed. It determines the adjusted count.
    pub threshold: Threshold,
    /// True if the trace was dropped at first and late spans rescued it.
    pub rescued: bool,
    /// The kind of parent that was missing when the decision wait was over. `None` if no span lacked its parent, or if
    /// the trace did not wait.
    pub missing_parent: Option<Parent>,
    /// True if the verdict is only annotated: with `dry_run`, dropped traces are exported, too.
    pub dry_run: bool,
}

labels! {
    /// The process that made the parent of a span.
    #[repr(usize)]
    pub enum Parent {
        /// The parent is from the same process.
        Local = "local",
        /// The parent is from another process: the caller, or a proxy between the caller and the process.
        Remote = "remote",
    }
}

impl Keep {
    /// Creates the verdict of `policy` on a trace that was not dropped before and has all parents.
    #[must_use]
    pub const fn new(policy: u16, threshold: Threshold) -> Self {
        Keep { policy, threshold, rescued: false, missing_parent: None, dry_run: false }
    }

    /// Creates the mark of a trace that was dropped and is exported only because of `dry_run`. `policy` is the policy
    /// of type `drop` that dropped it.
    #[must_use]
    pub const fn only_dry_run(policy: Option<u16>) -> Self {
        let policy = match policy {
            Some(policy) => policy,
            None => u16::MAX,
        };
        Keep { dry_run: true, ..Keep::new(policy, Threshold::NEVER) }
    }

    /// Returns true if the trace was dropped: no threshold that keeps a trace is [`Threshold::NEVER`].
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.threshold == Threshold::NEVER
    }

    /// Returns the threshold that the trace has passed to be exported. In a dry run every trace is exported.
    #[must_use]
    pub fn export_threshold(&self) -> Threshold {
        if self.dry_run { Threshold::ALWAYS } else { self.threshold }
    }
}

/// The outcome of a decision on a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A policy keeps the trace.
    Kept(Keep),
    /// No policy keeps the trace. Late spans may still rescue it.
    Dropped,
    /// A policy of type `drop` drops the trace. Late spans cannot rescue it. The number is the policy's index in
    /// [`Policies::names`].
    DroppedByPolicy(u16),
}
