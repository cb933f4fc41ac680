//! The policies of a configuration, compiled.

use thiserror::Error;

use super::expression::Expression;
use super::predicates::Predicates;
use super::{Keep, Summary, Threshold};
use crate::config::settings::{Policy, Rule};
use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, Probe, Scope, SpanFact};

/// Why policies cannot be compiled. Only the configuration can mend it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// Each distinct predicate takes one bit of 64.
    #[error("policy \"{0}\" needs more span predicates than the {max} that all policies share", max = Bits::BITS)]
    Predicates(String),
    /// [`Keep::policy`] is 16 bits wide.
    #[error("more than {max} policies", max = u16::MAX)]
    Policies,
}

/// All policies of a configuration: the predicates that the scan evaluates and the verdict over a summary.
#[derive(Clone, Debug)]
pub struct Policies {
    names: Vec<String>,
    expressions: Vec<Expression>,
    predicates: Predicates,
}

impl Policies {
    /// Compiles `policies`, in their order.
    ///
    /// # Errors
    /// More predicates or policies than fit.
    pub fn compile(policies: &[Policy]) -> Result<Self, CompileError> {
        if policies.len() > usize::from(u16::MAX) {
            return Err(CompileError::Policies);
        }
        let mut predicates = Predicates::default();
        let expressions = policies
            .iter()
            .map(|policy| {
                expression(&policy.rule, &mut predicates).ok_or_else(|| CompileError::Predicates(policy.name.clone()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Policies { names: policies.iter().map(|p| p.name.clone()).collect(), expressions, predicates })
    }

    /// The names in the order of the configuration; [`Keep::policy`] is an index into them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the scan asks of each span.
    #[must_use]
    pub fn probe(&self) -> &impl Probe {
        &self.predicates
    }

    /// The summary of some spans of one trace: facts of a scan, whose `scopes` and `body` they point into.
    #[must_use]
    pub fn summary<'a>(
        &self,
        facts: impl Iterator<Item = &'a SpanFact> + Clone,
        scopes: &[Scope],
        body: &[u8],
    ) -> Summary {
        let mut summary = Summary::default();
        facts.clone().for_each(|fact| summary.add(fact));
        self.predicates.keys().note(&mut summary, facts, scopes, body);
        summary
    }

    /// The memory that a summary takes beside itself.
    #[must_use]
    pub fn summary_heap_bytes(&self) -> usize {
        self.predicates.keys().heap_bytes()
    }

    /// The verdict on a trace of which `summary` is all that is known: the least strict policy that keeps it, the
    /// first of equals; `None` if none does.
    #[must_use]
    pub fn decide(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        let randomness = summary.randomness(trace_id);
        let votes = self.expressions.iter().enumerate().filter_map(|(index, expression)| {
            let threshold = expression.evaluate(summary, randomness)?;
            Some(Keep { policy: index as u16, threshold })
        });
        votes.min_by_key(|keep| keep.threshold)
    }

    /// The verdict on a trace that more spans cannot change any more: it need not wait. It is the verdict that
    /// [`Policies::decide`] will give once the trace is whole, so a policy that is listed earlier and might still
    /// prove itself holds it back.
    #[must_use]
    #[inline]
    pub fn proven(&self, summary: &Summary) -> Option<Keep> {
        let (index, first) = self.expressions.iter().enumerate().find(|(_, e)| e.is_evidence())?;
        let threshold = if first.is_monotone() { first.evaluate(summary, 0)? } else { return None };
        Some(Keep { policy: index as u16, threshold })
    }

    /// The verdict on late spans alone, when the rest of their trace is gone: only evidence counts, as the ratio has
    /// been decided.
    #[must_use]
    pub fn evidence(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        self.decide(summary, trace_id).filter(|keep| keep.threshold == Threshold::ALWAYS)
    }
}

/// `None` if the predicates do not fit.
fn expression(rule: &Rule, predicates: &mut Predicates) -> Option<Expression> {
    Some(match rule {
        Rule::AlwaysSample => Expression::Always,
        Rule::AnySpan(condition) => Expression::AnySpan(predicates.bit(condition)?),
        Rule::Latency { threshold_ms, upper_threshold_ms } => Expression::Duration {
            over_ms: *threshold_ms,
            up_to_ms: (*upper_threshold_ms != 0).then_some(*upper_threshold_ms),
        },
        Rule::Probabilistic { sampling_percentage } => match Threshold::from_percent(*sampling_percentage) {
            Threshold::ALWAYS => Expression::Always,
            threshold => Expression::Ratio(threshold),
        },
        _ => todo!("the other rules"),
    })
}

#[cfg(test)]
mod tests;
