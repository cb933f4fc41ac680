//! Passes single decisions on to the listeners of the API.

use std::time::Duration;

use prost_types::Timestamp;

use crate::api::answers::DecisionAnswer;
use crate::api::decisions::{Candidate, DecisionHub};
use crate::clock;
use crate::sampling::{PolicyNames, Verdict};
use crate::tail::table::{Millis, RoundOutcome};
use crate::tail::{Decision, DecisionLog};
use crate::telemetry::labels::legible;
use crate::telemetry::metrics::TraceVerdict;

/// The most services of a trace that are told.
const SERVICES_MAX: usize = 8;

/// Makes `outcome` note single decisions if there are listeners.
pub(super) fn prepare(hub: &DecisionHub, outcome: &mut RoundOutcome) {
    let is_listened_to = hub.is_listened_to();
    if outcome.decisions.is_some() != is_listened_to {
        outcome.decisions = is_listened_to.then(DecisionLog::with_services);
    }
}

/// Passes the decisions of `outcome` on. No lock of the table is held here.
pub(super) fn announce(
    hub: &DecisionHub,
    policies: &PolicyNames,
    now_ms: Millis,
    is_dry_run: impl FnOnce() -> bool,
    outcome: &mut RoundOutcome,
) {
    if let Some(log) = &mut outcome.decisions {
        let (now, is_dry_run) = (clock::since_1970(), is_dry_run());
        let decisions = log.drain().map(|decision| Announced { decision, policies, now, now_ms, is_dry_run });
        hub.publish(decisions, now_ms);
    }
}

/// Returns the number of the policy that gave `verdict`; `None` if no policy kept the trace.
fn policy_of(verdict: &Verdict) -> Option<u16> {
    match verdict {
        Verdict::Kept(keep) => Some(keep.policy),
        Verdict::DroppedByPolicy(policy) => Some(*policy),
        Verdict::Dropped => None,
    }
}

/// A decision on its way to listeners.
struct Announced<'n> {
    decision: Decision,
    policies: &'n PolicyNames,
    /// The present time since 1970, and the same time of the table's clock.
    now: Duration,
    now_ms: Millis,
    is_dry_run: bool,
}

impl Candidate for Announced<'_> {
    fn verdict(&self) -> &'static str {
        match self.decision.verdict {
            Verdict::Kept(_) => TraceVerdict::Kept.as_str(),
            Verdict::Dropped | Verdict::DroppedByPolicy(_) => TraceVerdict::Dropped.as_str(),
        }
    }

    fn policy(&self) -> String {
        policy_of(&self.decision.verdict).and_then(|number| self.policies.get(number)).unwrap_or_default()
    }

    fn services(&self) -> Vec<String> {
        self.decision.services(SERVICES_MAX).iter().map(|name| legible(name)).collect()
    }

    fn answer(&self, services: Vec<String>) -> DecisionAnswer {
        let Decision { trace, verdict, trigger, at_ms, summary, .. } = &self.decision;
        let since_1970 = self.now.saturating_sub(Duration::from_millis(self.now_ms.saturating_sub(*at_ms)));
        let nanos = (since_1970.subsec_millis() * 1_000_000) as i32;
        DecisionAnswer {
            time: Timestamp { seconds: since_1970.as_secs() as i64, nanos }.to_string(),
            trace_id: trace.to_string(),
            verdict: self.verdict().to_owned(),
            policy: Some(self.policy()).filter(|policy| !policy.is_empty()),
            adjusted_count: match verdict {
                Verdict::Kept(keep) => Some(keep.threshold.adjusted_count()),
                Verdict::Dropped | Verdict::DroppedByPolicy(_) => None,
            },
            trigger: trigger.as_str().to_owned(),
            spans: summary.span_count,
            duration_ms: summary.duration_ms(),
            services,
            dry_run: self.is_dry_run,
        }
    }
}
