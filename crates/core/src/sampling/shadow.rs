//! Shadow policies: they answer for every trace that is decided, and never decide.

use super::Verdict;
use super::expression::DecisionInput;
use super::policies::{KeepRule, TopRule};
use super::state::PolicyState;

labels! {
    /// The change that a shadow policy would make to a verdict.
    #[repr(u8)]
    pub enum ShadowEffect {
        /// The policy would keep a trace that no policy keeps.
        Keep = "keep",
        /// The policy has the type `drop`, and would drop a trace that is kept.
        Drop = "drop",
    }
}

/// A policy that is tried out.
#[derive(Debug)]
pub(super) struct ShadowPolicy {
    pub(super) policy: u16,
    pub(super) rule: TopRule,
    /// The states of the policy, as a range of all states.
    pub(super) states: std::ops::Range<usize>,
}

impl ShadowPolicy {
    /// Returns the only change that the policy can make to verdicts.
    pub(super) fn possible_effect(&self) -> ShadowEffect {
        match self.rule {
            TopRule::Drop(_) => ShadowEffect::Drop,
            TopRule::Keep(_) => ShadowEffect::Keep,
        }
    }

    /// Returns the change that the policy would make to `verdict`. The caller must ask once for each trace, whatever
    /// its verdict is, because policies that remember other traces learn from each.
    pub(super) fn effect(&self, trace: &DecisionInput<'_>, verdict: Verdict) -> Option<ShadowEffect> {
        match &self.rule {
            TopRule::Drop(survives) => {
                let is_dropped = survives.evaluate(trace).is_none();
                (is_dropped && matches!(verdict, Verdict::Kept(_))).then_some(ShadowEffect::Drop)
            }
            TopRule::Keep(rule) => {
                let is_kept = match rule {
                    KeepRule::Expression(expression) => expression.evaluate(trace).is_some(),
                    KeepRule::Composite(composite) => composite.keep(trace).is_some(),
                };
                (is_kept && verdict == Verdict::Dropped).then_some(ShadowEffect::Keep)
            }
        }
    }

    /// Charges a trace that the policy would keep to its own budget, which all other kept traces are charged to anyway.
    pub(super) fn charge(&self, states: &[PolicyState], spans: u32, now_ms: u64) {
        let own = states.get(self.states.clone()).unwrap_or_default();
        own.iter().for_each(|state| state.kept(spans, now_ms));
    }
}
