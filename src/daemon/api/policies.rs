//! The counts by policy and by service, as the API tells them.

use crate::api::answers::{PoliciesAnswer, PolicyCounts, ServiceCounts, ShadowCounts, SpanCounts, TriggerCounts};
use crate::daemon::observed::Observed;
use crate::telemetry::metrics::{Decided, ServiceSpans, ShadowCount, SpanAccounts, TraceVerdict};

/// Returns the counts since the start.
pub(super) fn of(observed: &Observed) -> PoliciesAnswer {
    let services = observed.metrics.services().into_iter();
    let service = |(service, ServiceSpans { spans, late_spans }): (std::sync::Arc<str>, _)| ServiceCounts {
        service: service.to_string(),
        spans,
        late_spans,
    };
    let shadow = observed.metrics.shadow_counts().into_iter();
    let shadowed = |ShadowCount { policy, effect, traces, spans }| ShadowCounts {
        policy,
        effect: effect.as_str().to_owned(),
        traces,
        spans,
    };
    // Shadow policies and those of earlier configurations decide nothing.
    let names: Vec<String> = observed.pipeline.table.policies().labels().map(str::to_owned).collect();
    PoliciesAnswer {
        uptime_ms: observed.pipeline.clock.now_ms(),
        services: services.map(service).collect(),
        shadow: shadow.map(shadowed).collect(),
        ..counts(&names, &observed.decided_traces(), &observed.accounts())
    }
}

/// Returns the counts of the policies `names` in `decided`. Policies that only `decided` has come last.
fn counts(names: &[String], decided: &[Decided], accounts: &SpanAccounts) -> PoliciesAnswer {
    let none = |policy: &String| PolicyCounts {
        policy: policy.clone(),
        kept_traces: 0,
        dropped_traces: 0,
        triggers: TriggerCounts::new(),
    };
    let mut policies: Vec<PolicyCounts> = names.iter().map(none).collect();
    let mut dropped_without_policy = TriggerCounts::new();
    for Decided { policy, verdict, trigger, traces } in decided {
        let triggers = if policy.is_empty() {
            &mut dropped_without_policy
        } else {
            let at = policies.iter().position(|known| known.policy == *policy).unwrap_or_else(|| {
                policies.push(none(policy));
                policies.len() - 1
            });
            let counts = &mut policies[at];
            match verdict {
                TraceVerdict::Kept => counts.kept_traces += traces,
                TraceVerdict::Dropped => counts.dropped_traces += traces,
            }
            &mut counts.triggers
        };
        *triggers.entry(trigger.as_str().to_owned()).or_default() += traces;
    }
    let &SpanAccounts { received, recovered, exported, sampled_out, handed_over, rejected, dropped, held } = accounts;
    let spans = SpanCounts { received, recovered, exported, sampled_out, handed_over, rejected, dropped, held };
    PoliciesAnswer { policies, dropped_without_policy, spans, ..PoliciesAnswer::default() }
}

#[cfg(test)]
mod tests;
