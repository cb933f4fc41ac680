//! What a policy says of a trace, as an expression over the trace's summary.
//!
//! An expression yields a threshold, so that ratios within other policies are honest: what every part must keep is as
//! strict as its strictest part, and what one part may keep as its least strict. `not` is pushed down to the leaves
//! when an expression is made, where a ratio becomes its complement.

use super::state::State;
use super::{Summary, Threshold};
use crate::otlp::scan::Bits;

/// What a decision looks at.
#[derive(Clone, Copy)]
pub(super) struct Trace<'a> {
    pub(super) summary: &'a Summary,
    pub(super) randomness: u64,
    pub(super) now_ms: u64,
    pub(super) states: &'a [State],
}

/// What a policy says of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// Traces of which a fact is true, or is not: what it keeps counts once.
    Fact { fact: Fact, expected: bool },
    /// Traces whose randomness reaches the threshold.
    Ratio(Threshold),
    /// Traces that one of the policies' states lets pass, or does not.
    State { index: usize, expected: bool },
    /// Traces that each of these keeps.
    All(Vec<Expression>),
    /// Traces that one of these keeps.
    Any(Vec<Expression>),
}

/// Something that is true of a summary or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fact {
    /// Any of these conditions held for a span.
    AnySpan(Bits),
    /// Longer than `over_ms`, and not longer than `up_to_ms`.
    Duration { over_ms: u64, up_to_ms: Option<u64> },
    /// At least `min` spans, and at most `max`.
    SpanCount { min: u32, max: Option<u32> },
}

impl Fact {
    fn holds(&self, summary: &Summary) -> bool {
        match self {
            Fact::AnySpan(bits) => summary.bits & bits != 0,
            Fact::Duration { over_ms, .. } => summary.duration_ms() > *over_ms && !self.is_past(summary),
            Fact::SpanCount { min, .. } => summary.span_count >= *min && !self.is_past(summary),
        }
    }

    /// The summary is over the upper bound, for good.
    fn is_past(&self, summary: &Summary) -> bool {
        match self {
            Fact::AnySpan(_) => false,
            Fact::Duration { up_to_ms, .. } => up_to_ms.is_some_and(|max| summary.duration_ms() > max),
            Fact::SpanCount { max, .. } => max.is_some_and(|max| summary.span_count > max),
        }
    }

    fn has_upper_bound(&self) -> bool {
        matches!(self, Fact::Duration { up_to_ms: Some(_), .. } | Fact::SpanCount { max: Some(_), .. })
    }

    /// It is as expected, and more spans cannot change that.
    fn is_settled(&self, summary: &Summary, expected: bool) -> bool {
        if expected { self.holds(summary) && !self.has_upper_bound() } else { self.is_past(summary) }
    }
}

impl Expression {
    pub(super) fn fact(fact: Fact) -> Self {
        Expression::Fact { fact, expected: true }
    }

    pub(super) fn state(index: usize) -> Self {
        Expression::State { index, expected: true }
    }

    /// What keeps the traces that each of `parts` keeps. Those with state come last: a limiter is asked only about
    /// traces that all else would keep.
    pub(super) fn all(mut parts: Vec<Expression>) -> Self {
        parts.sort_by_key(Expression::is_stateful);
        Expression::All(parts)
    }

    /// What keeps the traces that this does not.
    pub(super) fn negated(self) -> Self {
        match self {
            Expression::Fact { fact, expected } => Expression::Fact { fact, expected: !expected },
            Expression::Ratio(threshold) => Expression::Ratio(threshold.complement()),
            Expression::State { index, expected } => Expression::State { index, expected: !expected },
            Expression::All(parts) => Expression::Any(parts.into_iter().map(Expression::negated).collect()),
            Expression::Any(parts) => Expression::All(parts.into_iter().map(Expression::negated).collect()),
        }
    }

    /// The threshold at which the policy keeps the trace; `None` if it does not.
    pub(super) fn evaluate(&self, trace: &Trace<'_>) -> Option<Threshold> {
        let threshold = match self {
            Expression::Fact { fact, expected } => Threshold::certain(fact.holds(trace.summary) == *expected),
            Expression::Ratio(threshold) => *threshold,
            Expression::State { index, expected } => {
                let threshold = trace.states.get(*index)?.threshold(trace);
                if *expected { threshold } else { threshold.complement() }
            }
            Expression::All(parts) => {
                let strictest = |so_far: Threshold, part: &Expression| Some(so_far.max(part.evaluate(trace)?));
                parts.iter().try_fold(Threshold::ALWAYS, strictest)?
            }
            Expression::Any(parts) => {
                let mut least = Threshold::NEVER;
                for part in parts {
                    least = part.evaluate(trace).map_or(least, |threshold| threshold.min(least));
                    if least == Threshold::ALWAYS {
                        break;
                    }
                }
                least
            }
        };
        threshold.keeps(trace.randomness).then_some(threshold)
    }

    /// Evidence keeps the trace, whatever its randomness, and more spans cannot take the proof back.
    pub(super) fn is_settled(&self, summary: &Summary) -> bool {
        match self {
            Expression::Fact { fact, expected } => fact.is_settled(summary, *expected),
            Expression::Ratio(threshold) => *threshold == Threshold::ALWAYS,
            Expression::State { .. } => false,
            Expression::All(parts) => parts.iter().all(|part| part.is_settled(summary)),
            Expression::Any(parts) => parts.iter().any(|part| part.is_settled(summary)),
        }
    }

    /// It may keep a trace whatever its randomness.
    pub(super) fn can_be_certain(&self) -> bool {
        match self {
            Expression::Fact { .. } | Expression::State { .. } => true,
            Expression::Ratio(threshold) => *threshold == Threshold::ALWAYS,
            Expression::All(parts) => parts.iter().all(Expression::can_be_certain),
            Expression::Any(parts) => parts.iter().any(Expression::can_be_certain),
        }
    }

    /// What it says depends on other traces.
    pub(super) fn is_stateful(&self) -> bool {
        match self {
            Expression::Fact { .. } | Expression::Ratio(_) => false,
            Expression::State { .. } => true,
            Expression::All(parts) | Expression::Any(parts) => parts.iter().any(Expression::is_stateful),
        }
    }
}
