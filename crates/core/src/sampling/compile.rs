//! Compiles rules to expressions. Conditions become bits of the scan, keys become slots of the summary, and the memory
//! of a policy becomes a state.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Threshold;
use super::composite::CompositeRule;
use super::expression::{Expression, Fact};
use super::keyed;
use super::limiter::Bucket;
use super::memory::Inherited;
use super::policies::PolicyError;
use super::predicates::Predicates;
use super::state::{KeyedState, PolicyState};
use crate::condition::Condition;
use crate::sampling::settings::{self, Policy, Rule, TraceKey};

/// The predicates and states of the policies that are compiled so far.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    pub(super) predicates: Predicates,
    pub(super) states: Vec<PolicyState>,
    /// The memory for the policy that is being compiled, from its predecessor.
    pub(super) inherited: Inherited,
}

impl Compiler {
    /// Compiles an expression that keeps the traces that every one of `policies` keeps.
    pub(super) fn all(&mut self, policies: &[Policy]) -> Result<Expression, PolicyError> {
        let parts: Result<_, _> = policies.iter().map(|policy| self.expression(&policy.rule)).collect();
        parts.map(Expression::all)
    }

    /// Compiles the policies of a composite, which have these labels.
    pub(super) fn composite(
        &mut self,
        composite: &settings::Composite,
        labels: &[u16],
    ) -> Result<CompositeRule, PolicyError> {
        let labelled = labels.iter().zip(&composite.policies);
        let labelled = labelled.map(|(label, (policy, spans))| Ok((*label, self.expression(&policy.rule)?, *spans)));
        let policies = labelled.collect::<Result<_, _>>()?;
        let mut rule = CompositeRule::new(policies, composite.max_total_spans_per_second);
        if let Some(allowances) = self.inherited.allowances.take() {
            rule.allowances = allowances;
        }
        Ok(rule)
    }

    pub(super) fn expression(&mut self, rule: &Rule) -> Result<Expression, PolicyError> {
        Ok(match rule {
            Rule::AlwaysSample => Expression::Ratio(Threshold::ALWAYS),
            Rule::AnySpan(condition) => self.any_span(condition)?,
            Rule::Latency { threshold_ms, upper_threshold_ms } => Expression::fact(Fact::Duration {
                over_ms: *threshold_ms,
                up_to_ms: (*upper_threshold_ms != 0).then_some(*upper_threshold_ms),
            }),
            Rule::SpanCount { min_spans, max_spans } => {
                Expression::fact(Fact::SpanCount { min: *min_spans, max: *max_spans })
            }
            Rule::Probabilistic { sampling_percentage } => {
                Expression::Ratio(Threshold::from_percent(*sampling_percentage))
            }
            Rule::RateLimiting(bucket) => self.state(PolicyState::Spans(bucket_of(bucket))),
            Rule::BytesLimiting(bucket) => self.state(PolicyState::Bytes(bucket_of(bucket))),
            Rule::And(policies) => self.all(policies)?,
            Rule::Not(policy) => self.expression(&policy.rule)?.negated(),
            Rule::Adaptive(s) => self.keyed(&s.key, keyed::AdaptiveState::new(s), PolicyState::Adaptive)?,
            Rule::Rare(s) => self.keyed(&s.key, keyed::RareState::new(s), PolicyState::Rare)?,
            Rule::Percentile(s) => self.keyed(&s.key, keyed::PercentileState::new(s), PolicyState::Percentile)?,
            Rule::Budget(s) => self.keyed(&s.key, keyed::BudgetState::new(s), PolicyState::Budget)?,
            Rule::IdenticalErrors(s) => {
                let state = self.keyed(&s.key, keyed::IdenticalErrorsState::new(s), PolicyState::IdenticalErrors)?;
                Expression::all(vec![self.any_span(&s.condition)?, state])
            }
            Rule::Drop(_) | Rule::Composite(_) => return Err(PolicyError::Nested),
        })
    }

    fn any_span(&mut self, condition: &Condition) -> Result<Expression, PolicyError> {
        let bit = self.predicates.bit(condition).ok_or(PolicyError::Conditions)?;
        Ok(Expression::fact(Fact::AnySpan(bit)))
    }

    fn keyed<T>(
        &mut self,
        key: &TraceKey,
        memory: T,
        state: fn(KeyedState<T>) -> PolicyState,
    ) -> Result<Expression, PolicyError> {
        let slot = self.predicates.key(key).ok_or(PolicyError::Keys)?;
        Ok(self.state(state(KeyedState::new(slot, memory))))
    }

    fn state(&mut self, mut state: PolicyState) -> Expression {
        if let Some(earlier) = self.inherited.states.next() {
            state.take_over(earlier);
        }
        self.states.push(state);
        Expression::state(self.states.len() - 1)
    }
}

fn bucket_of(settings: &settings::TokenBucket) -> Arc<Mutex<Bucket>> {
    Arc::new(Mutex::new(Bucket::new(settings)))
}
