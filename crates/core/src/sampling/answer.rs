//! The answers of single policies on a trace, for people who ask why it was kept or dropped.

use super::Threshold;
use super::expression::{AssumedStates, DecisionInput, Expression};
use super::policies::KeepRule;

/// The answer of one policy on a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The policy keeps the trace, which has passed this threshold.
    Keeps(Threshold),
    /// The policy does not keep the trace. Another policy may.
    KeepsNot,
    /// The policy is of type `drop`, and drops the trace.
    Drops,
    /// The policy is of type `drop`, and does not drop the trace, which has passed this threshold.
    DropsNot(Threshold),
    /// The policy was not asked: its answer depends on other traces, and asking would change its state.
    NotAsked,
}

impl Answer {
    /// Returns the answer of a policy of type `drop`. `survives` is the threshold at which the trace survives it.
    pub(super) fn of_drop_policy(survives: Option<Threshold>) -> Self {
        survives.map_or(Answer::Drops, Answer::DropsNot)
    }

    /// Returns true if the rule of the policy holds for the trace, so that the policy keeps or drops it. Returns `None`
    /// if the policy was not asked.
    #[must_use]
    pub fn holds(self) -> Option<bool> {
        match self {
            Answer::Keeps(_) | Answer::Drops => Some(true),
            Answer::KeepsNot | Answer::DropsNot(_) => Some(false),
            Answer::NotAsked => None,
        }
    }
}

/// Two views of a trace: one assumes that all states of policies refuse it, the other that all let it pass. An answer
/// that is the same for both does not depend on other traces.
pub(super) struct BothAssumptions<'a> {
    refuse: DecisionInput<'a>,
    pass: DecisionInput<'a>,
}

impl<'a> BothAssumptions<'a> {
    pub(super) fn of(trace: DecisionInput<'a>) -> Self {
        let assumed = |states| DecisionInput { assumed: Some(states), ..trace };
        BothAssumptions { refuse: assumed(AssumedStates::Refuse), pass: assumed(AssumedStates::Pass) }
    }

    /// Returns the answer of a policy of type `drop`. Traces that `survives` keeps are not dropped.
    pub(super) fn drop_answer(&self, survives: &Expression) -> Answer {
        match (survives.evaluate(&self.refuse), survives.evaluate(&self.pass)) {
            (None, Some(_)) => Answer::NotAsked,
            (survives, _) => Answer::of_drop_policy(survives),
        }
    }

    /// Returns the answer of a policy that may keep the trace.
    pub(super) fn keep_answer(&self, rule: &KeepRule) -> Answer {
        match (rule.would_keep(&self.refuse), rule.would_keep(&self.pass)) {
            (Some(threshold), _) => Answer::Keeps(threshold),
            (None, None) => Answer::KeepsNot,
            (None, Some(_)) => Answer::NotAsked,
        }
    }
}
