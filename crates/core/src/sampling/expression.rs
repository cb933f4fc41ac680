//! Expressions over the summary of a trace. A policy is compiled to one.
//!
//! An expression returns a threshold, so that the adjusted count is right for ratios within other policies, too. If
//! every part must keep a trace, the threshold is that of the strictest part. If one part is enough, it is that of the
//! least strict part. `not` is pushed down to the leaves when an expression is made. There a ratio becomes its
//! complement.

use super::state::PolicyState;
use super::{Summary, Threshold};
use crate::otlp::scan::Bits;

/// The input of a decision.
#[derive(Clone, Copy)]
pub(super) struct DecisionInput<'a> {
    pub(super) summary: &'a Summary,
    pub(super) randomness: u64,
    pub(super) now_ms: u64,
    /// The number of instances that share each limit.
    pub(super) members: u32,
    pub(super) states: &'a [PolicyState],
    /// The answer that every state is assumed to give, so that no state is asked. `None` at a decision.
    pub(super) assumed: Option<AssumedStates>,
}

/// An assumption about the answers of all states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AssumedStates {
    /// No expression on a state keeps a trace.
    Refuse,
    /// Every expression on a state keeps every trace.
    Pass,
    /// An expression on a state that keeps ratios of traces keeps every trace; on any other, it keeps none.
    Chance,
}

/// A rule that keeps some traces. The variants say which ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// Keeps the traces for which the fact is `expected`. Their adjusted count is 1.
    Fact { fact: Fact, expected: bool },
    /// Keeps the traces whose randomness is at least the threshold.
    Ratio(Threshold),
    /// Keeps the traces that a state lets pass, or if not `expected`, those that it does not. `index` is that of the
    /// state in [`DecisionInput::states`].
    State { index: usize, expected: bool },
    /// Keeps the traces that every part keeps.
    All(Vec<Expression>),
    /// Keeps the traces that at least one part keeps.
    Any(Vec<Expression>),
}

/// A statement about a summary that is true or false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fact {
    /// At least one of these conditions holds for at least one span.
    AnySpan(Bits),
    /// The trace is longer than `over_ms`, and not longer than `up_to_ms`.
    Duration { over_ms: u64, up_to_ms: Option<u64> },
    /// The trace has at least `min` spans, and at most `max`.
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

    /// Returns true if the summary is above the upper bound. More spans cannot bring it back.
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

    /// Returns true if the fact is as `expected`, and more spans cannot change that.
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

    /// Creates an expression that keeps the traces that each of `parts` keeps. Parts with state are evaluated last, so
    /// that a limiter is charged only for traces that all other parts keep.
    pub(super) fn all(mut parts: Vec<Expression>) -> Self {
        parts.sort_by_key(Expression::is_stateful);
        Expression::All(parts)
    }

    /// Returns an expression that keeps the traces that this one does not keep. A ratio becomes its complement
    /// ([`Threshold::complement`]).
    pub(super) fn negated(self) -> Self {
        match self {
            Expression::Fact { fact, expected } => Expression::Fact { fact, expected: !expected },
            Expression::Ratio(threshold) => Expression::Ratio(threshold.complement()),
            Expression::State { index, expected } => Expression::State { index, expected: !expected },
            Expression::All(parts) => Expression::Any(parts.into_iter().map(Expression::negated).collect()),
            Expression::Any(parts) => Expression::All(parts.into_iter().map(Expression::negated).collect()),
        }
    }

    /// Returns the threshold at which the policy keeps the trace; `None` if the policy does not keep it.
    pub(super) fn evaluate(&self, trace: &DecisionInput<'_>) -> Option<Threshold> {
        let threshold = match self {
            Expression::Fact { fact, expected } => Threshold::certain(fact.holds(trace.summary) == *expected),
            Expression::Ratio(threshold) => *threshold,
            Expression::State { index, .. } if trace.assumed.is_some() => Threshold::certain(match trace.assumed {
                Some(AssumedStates::Pass) => true,
                Some(AssumedStates::Chance) => trace.states.get(*index).is_some_and(PolicyState::is_ratio),
                Some(AssumedStates::Refuse) | None => false,
            }),
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

    /// Returns true if there is evidence: the expression keeps the trace at any randomness, and more spans cannot
    /// change that.
    pub(super) fn is_settled(&self, summary: &Summary) -> bool {
        match self {
            Expression::Fact { fact, expected } => fact.is_settled(summary, *expected),
            Expression::Ratio(threshold) => *threshold == Threshold::ALWAYS,
            Expression::State { .. } => false,
            Expression::All(parts) => parts.iter().all(|part| part.is_settled(summary)),
            Expression::Any(parts) => parts.iter().any(|part| part.is_settled(summary)),
        }
    }

    /// Returns true if there can be traces that the expression keeps at any randomness.
    pub(super) fn can_be_certain(&self) -> bool {
        match self {
            Expression::Fact { .. } | Expression::State { .. } => true,
            Expression::Ratio(threshold) => *threshold == Threshold::ALWAYS,
            Expression::All(parts) => parts.iter().all(Expression::can_be_certain),
            Expression::Any(parts) => parts.iter().any(Expression::can_be_certain),
        }
    }

    /// Returns true if the expression keeps a ratio of all traces.
    pub(super) fn keeps_any(&self) -> bool {
        matches!(self, Expression::Ratio(threshold) if *threshold != Threshold::NEVER)
    }

    /// Returns true if the result depends on other traces.
    pub(super) fn is_stateful(&self) -> bool {
        match self {
            Expression::Fact { .. } | Expression::Ratio(_) => false,
            Expression::State { .. } => true,
            Expression::All(parts) | Expression::Any(parts) => parts.iter().any(Expression::is_stateful),
        }
    }
}
