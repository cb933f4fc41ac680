//! The question if a policy can match a trace at all, and if a trace can match one policy and not another.

use super::{Policy, Rule};
use crate::condition::Condition;
use crate::condition::logic::{self, Effort, Statement};
use crate::condition::possible::can_all_hold;
use crate::sampling::Threshold;

/// An elementary statement about a trace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf<'a> {
    /// The condition holds for at least one span.
    AnySpan(&'a Condition),
    /// The trace is longer than `over_ms`, and not longer than `up_to_ms` (0: no bound).
    Duration { over_ms: u64, up_to_ms: u64 },
    /// The trace has at least `min` spans, and at most `max`.
    SpanCount { min: u32, max: Option<u32> },
    /// The randomness of the trace passes the threshold.
    Ratio(Threshold),
    /// A policy that remembers other traces lets it pass.
    State,
}

/// Returns the statement that `rule` matches a trace.
pub(super) fn statement(rule: &Rule) -> Statement<Leaf<'_>> {
    match rule {
        Rule::AlwaysSample => Statement::Constant(true),
        Rule::AnySpan(condition) => Statement::Leaf(Leaf::AnySpan(condition)),
        Rule::Latency { threshold_ms, upper_threshold_ms } => {
            Statement::Leaf(Leaf::Duration { over_ms: *threshold_ms, up_to_ms: *upper_threshold_ms })
        }
        Rule::SpanCount { min_spans, max_spans } => {
            Statement::Leaf(Leaf::SpanCount { min: *min_spans, max: *max_spans })
        }
        Rule::Probabilistic { sampling_percentage } => ratio(*sampling_percentage),
        Rule::And(policies) | Rule::Drop(policies) => all(policies),
        Rule::Not(policy) => match &policy.rule {
            // `not` does not keep the other traces, but as many as these: see `Threshold::complement`.
            Rule::Probabilistic { sampling_percentage } => ratio(100.0 - *sampling_percentage),
            rule => statement(rule).negated(),
        },
        Rule::Composite(composite) => {
            let policies = composite.policies.iter().map(|(policy, _)| statement(&policy.rule));
            with_state(Statement::Any(policies.collect()))
        }
        Rule::IdenticalErrors(errors) => with_state(Statement::Leaf(Leaf::AnySpan(&errors.condition))),
        Rule::Percentile(_)
        | Rule::RateLimiting(_)
        | Rule::BytesLimiting(_)
        | Rule::Adaptive(_)
        | Rule::Rare(_)
        | Rule::Budget(_) => Statement::Leaf(Leaf::State),
    }
}

fn ratio(percentage: f64) -> Statement<Leaf<'static>> {
    Statement::Leaf(Leaf::Ratio(Threshold::from_percent(percentage)))
}

fn with_state(statement: Statement<Leaf<'_>>) -> Statement<Leaf<'_>> {
    Statement::All(vec![statement, Statement::Leaf(Leaf::State)])
}

/// Returns the statement that every one of `policies` matches a trace.
pub(super) fn all(policies: &[Policy]) -> Statement<Leaf<'_>> {
    Statement::All(policies.iter().map(|policy| statement(&policy.rule)).collect())
}

/// Returns false if no trace can fulfil all statements.
pub(super) fn can_match(statements: &[&Statement<Leaf<'_>>], effort: &mut Effort) -> bool {
    logic::possible(statements, &are_consistent, effort)
}

fn are_consistent(leaves: &[(Leaf<'_>, bool)], effort: &mut Effort) -> bool {
    effort.spend(leaves.len());
    has_spans(leaves, effort) && has_randomness(leaves) && has_duration(leaves, effort) && has_count(leaves, effort)
}

/// Returns false if a span that the trace must have would break a condition that none of its spans may fulfil.
fn has_spans(leaves: &[(Leaf<'_>, bool)], effort: &mut Effort) -> bool {
    let any_span = Condition::Constant(true);
    let with_truth = |wanted: bool| {
        leaves.iter().filter_map(move |(leaf, truth)| match leaf {
            Leaf::AnySpan(condition) if *truth == wanted => Some(*condition),
            _ => None,
        })
    };
    with_truth(true).chain([&any_span]).all(|condition| {
        let refused = with_truth(false).map(|condition| (condition, false));
        can_all_hold(&[(condition, true)].into_iter().chain(refused).collect::<Vec<_>>(), effort)
    })
}

fn has_randomness(leaves: &[(Leaf<'_>, bool)]) -> bool {
    let thresholds = |wanted: bool| {
        leaves.iter().filter_map(move |(leaf, truth)| match leaf {
            Leaf::Ratio(threshold) if *truth == wanted => Some(*threshold),
            _ => None,
        })
    };
    // The randomness is at least `from` and below `to`.
    let from = thresholds(true).max().unwrap_or(Threshold::ALWAYS);
    let to = thresholds(false).min().unwrap_or(Threshold::NEVER);
    from < to
}

fn has_duration(leaves: &[(Leaf<'_>, bool)], effort: &mut Effort) -> bool {
    let holds = |leaf: &Leaf<'_>, duration_ms: u64| match leaf {
        Leaf::Duration { over_ms, up_to_ms } => duration_ms > *over_ms && (*up_to_ms == 0 || duration_ms <= *up_to_ms),
        _ => true,
    };
    let bounds = leaves.iter().flat_map(|(leaf, _)| match leaf {
        Leaf::Duration { over_ms, up_to_ms } => vec![*over_ms, over_ms.saturating_add(1), up_to_ms.saturating_add(1)],
        _ => vec![],
    });
    let is_about = |leaf: &Leaf<'_>| matches!(leaf, Leaf::Duration { .. });
    has_number(leaves, bounds.chain([0]), is_about, holds, effort)
}

fn has_count(leaves: &[(Leaf<'_>, bool)], effort: &mut Effort) -> bool {
    let holds = |leaf: &Leaf<'_>, spans: u64| match leaf {
        Leaf::SpanCount { min, max } => spans >= u64::from(*min) && max.is_none_or(|max| spans <= u64::from(max)),
        _ => true,
    };
    let bounds = leaves.iter().flat_map(|(leaf, _)| match leaf {
        Leaf::SpanCount { min, max } => {
            let (min, max) = (u64::from(*min), u64::from(max.unwrap_or(*min)));
            vec![min.saturating_sub(1).max(1), min.max(1), max + 1]
        }
        _ => vec![],
    });
    let is_about = |leaf: &Leaf<'_>| matches!(leaf, Leaf::SpanCount { .. });
    has_number(leaves, bounds.chain([1]), is_about, holds, effort)
}

/// Returns true if one of `numbers` fits all leaves that are about such a number.
fn has_number(
    leaves: &[(Leaf<'_>, bool)],
    mut numbers: impl Iterator<Item = u64>,
    is_about: impl Fn(&Leaf<'_>) -> bool,
    holds: impl Fn(&Leaf<'_>, u64) -> bool,
    effort: &mut Effort,
) -> bool {
    numbers.any(|number| {
        !effort.spend(leaves.len())
            || leaves.iter().filter(|(leaf, _)| is_about(leaf)).all(|(leaf, truth)| holds(leaf, number) == *truth)
    })
}
