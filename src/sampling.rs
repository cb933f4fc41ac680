//! Policies, compiled to span predicates and a trace verdict.
//!
//! A policy never sees a span: the scan asks [`Policies`] for bits ([`crate::otlp::scan::Probe`]), the trace table
//! or-s them into a [`Summary`], and the verdict is an expression over that. Summaries merge (or, min, max, sum), so
//! the order of arrival never changes a verdict, and no policy holds a span.

mod expression;
mod keys;
mod policies;
mod predicates;
#[cfg(any(test, fuzzing))]
pub mod reference;
mod summary;
pub mod threshold;

pub use policies::{CompileError, Policies};
pub use summary::{KeyFact, Summary};
pub use threshold::Threshold;

/// The verdict that a trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The policy that kept it: its place in `tail_sampling.policies`.
    pub policy: u16,
    /// How strict the keeping was; gives the adjusted count.
    pub threshold: Threshold,
}
