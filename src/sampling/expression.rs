//! The verdict of one policy, as an expression over a trace's summary.

use crate::otlp::scan::Bits;

use super::{Summary, Threshold};

/// What a policy says of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// Every trace.
    Always,
    /// Traces with a span for which any of these predicates holds.
    AnySpan(Bits),
    /// Traces longer than `over_ms`, and not longer than `up_to_ms`.
    Duration { over_ms: u64, up_to_ms: Option<u64> },
    /// Traces whose randomness reaches the threshold.
    Ratio(Threshold),
}

impl Expression {
    /// The threshold at which the policy keeps the trace; `None` if it does not.
    #[inline]
    pub(super) fn evaluate(&self, summary: &Summary, randomness: u64) -> Option<Threshold> {
        let (holds, threshold) = match self {
            Expression::Always => (true, Threshold::ALWAYS),
            Expression::AnySpan(bits) => (summary.bits & bits != 0, Threshold::ALWAYS),
            Expression::Duration { over_ms, up_to_ms } => {
                let duration_ms = summary.duration_ms();
                let under = up_to_ms.is_none_or(|up_to_ms| duration_ms <= up_to_ms);
                (duration_ms > *over_ms && under, Threshold::ALWAYS)
            }
            Expression::Ratio(threshold) => (threshold.keeps(randomness), *threshold),
        };
        holds.then_some(threshold)
    }

    /// Keeps on evidence: whatever it keeps counts once.
    pub(super) fn is_evidence(&self) -> bool {
        !matches!(self, Expression::Ratio(_))
    }

    /// Once it holds for some spans of a trace it holds for all of them: more spans cannot take the proof back.
    pub(super) fn is_monotone(&self) -> bool {
        match self {
            Expression::Always | Expression::AnySpan(_) | Expression::Duration { up_to_ms: None, .. } => true,
            Expression::Duration { .. } | Expression::Ratio(_) => false,
        }
    }
}
