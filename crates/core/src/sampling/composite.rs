//! `composite`: a list of policies that are asked in order and share an allowance of spans.

use std::sync::Arc;

use parking_lot::Mutex;

use super::expression::{DecisionInput, Expression};
use super::limiter::Bucket;
use super::{Keep, Threshold};
use crate::sampling::settings::TokenBucket;

/// The policies of a composite in the order in which they are asked, each with its label.
#[derive(Debug)]
pub(super) struct CompositeRule {
    policies: Vec<(u16, Expression)>,
    pub(super) allowances: Arc<Mutex<Allowances>>,
}

/// The numbers of spans that may still be kept. Each bucket holds the allowance of one second.
#[derive(Debug)]
pub(super) struct Allowances {
    total: Bucket,
    /// One bucket for each policy, in the order of the policies.
    own: Vec<Bucket>,
}

impl CompositeRule {
    /// Creates a composite from `policies` as `(label, expression, spans a second)`. `total_per_second` is the
    /// allowance of all of them together, in spans a second.
    pub(super) fn new(policies: Vec<(u16, Expression, u64)>, total_per_second: u64) -> Self {
        let second = |spans| Bucket::new(&TokenBucket { per_second: spans, burst: spans });
        let own = policies.iter().map(|(_, _, spans)| second(*spans)).collect();
        let policies = policies.into_iter().map(|(label, expression, _)| (label, expression)).collect();
        let allowances = Allowances { total: second(total_per_second), own };
        CompositeRule { policies, allowances: Arc::new(Mutex::new(allowances)) }
    }

    /// Returns the verdict of the first policy that would keep the trace. Returns `None` if its allowance or the total
    /// allowance is used up, or if no policy would keep the trace.
    pub(super) fn keep(&self, trace: &DecisionInput<'_>) -> Option<Keep> {
        let (index, keep) = self.first(trace)?;
        let spans = u64::from(trace.summary.span_count) * u64::from(trace.members);
        let mut allowances = self.allowances.lock();
        let Allowances { total, own } = &mut *allowances;
        let own = own.get_mut(index)?;
        if !(own.has(spans, trace.now_ms) && total.has(spans, trace.now_ms)) {
            return None;
        }
        own.spend(spans);
        total.spend(spans);
        Some(keep)
    }

    /// Returns the threshold of the first policy that would keep the trace, whatever is left of the allowances.
    pub(super) fn would_keep(&self, trace: &DecisionInput<'_>) -> Option<Threshold> {
        self.first(trace).map(|(_, keep)| keep.threshold)
    }

    /// Returns the index and the verdict of the first policy that would keep the trace.
    fn first(&self, trace: &DecisionInput<'_>) -> Option<(usize, Keep)> {
        let keeps = self.policies.iter().enumerate();
        keeps.filter_map(|(index, vote)| Some((index, rule(vote, trace)?))).next()
    }
}

fn rule((policy, expression): &(u16, Expression), trace: &DecisionInput<'_>) -> Option<Keep> {
    expression.evaluate(trace).map(|threshold| Keep::new(*policy, threshold))
}
