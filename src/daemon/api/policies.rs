//! The counts by policy and by service, as the API tells them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::answers::{
    DecidedAmounts, PoliciesAnswer, PolicyCounts, ServiceCounts, ShadowCounts, SpanCounts, TriggerCounts,
};
use crate::daemon::observed::Observed;
use crate::sampling::ShadowEffect;
use crate::tail::tally::SpanAmount;
use crate::telemetry::metrics::{
    Decided, ServiceDecided, ServiceSpans, ShadowCount, SpanAccounts, TraceVerdict, dollars,
};

/// Returns the counts since the start.
pub(super) fn of(observed: &Observed) -> PoliciesAnswer {
    let policies = observed.pipeline.table.policies();
    // Shadow policies and those of earlier configurations decide nothing.
    let names: Vec<String> = policies.labels().map(str::to_owned).collect();
    let mut answer = counts(&names, &observed.decided_traces(), &observed.accounts());
    for spans in observed.metrics.spans_by_policy() {
        let amounts = decided_amounts(spans.kept, spans.dropped, spans.month_dollars());
        match answer.policies.iter_mut().find(|row| row.policy == spans.policy) {
            Some(row) => row.amounts = amounts,
            None => answer.without_policy = amounts,
        }
    }
    PoliciesAnswer {
        uptime_ms: observed.pipeline.clock.now_ms(),
        services: services(observed),
        shadow: shadow(policies.shadow_effects(), observed.metrics.shadow_counts()),
        ..answer
    }
}

/// Returns a row for each shadow policy of `in_force`, and then for those that only `counts` has.
fn shadow<'a>(
    in_force: impl Iterator<Item = (&'a str, ShadowEffect)>,
    mut counts: Vec<ShadowCount>,
) -> Vec<ShadowCounts> {
    let mut rows = Vec::with_capacity(counts.len());
    for (policy, effect) in in_force {
        let at = counts.iter().position(|count| count.effect == effect && count.policy == policy);
        let none = || ShadowCount { policy: policy.to_owned(), effect, traces: 0, spans: 0 };
        rows.push(at.map_or_else(none, |at| counts.remove(at)));
    }
    rows.append(&mut counts);
    let row = |ShadowCount { policy, effect, traces, spans }| ShadowCounts {
        policy,
        effect: effect.as_str().to_owned(),
        traces,
        spans,
        dollars: dollars(spans),
    };
    rows.into_iter().map(row).collect()
}

/// Returns the spans by service, in the order of the names: estimates for the sample, and the amounts of decided traces.
fn services(observed: &Observed) -> Vec<ServiceCounts> {
    let mut services: BTreeMap<Arc<str>, ServiceCounts> = BTreeMap::new();
    for (service, ServiceSpans { spans, late_spans }) in observed.metrics.services() {
        let row = ServiceCounts { service: service.to_string(), spans, late_spans, amounts: DecidedAmounts::default() };
        services.insert(service, row);
    }
    for ServiceDecided { amounts, month_dollars } in observed.metrics.spans_by_service() {
        let decided = decided_amounts(amounts.kept, amounts.dropped, month_dollars);
        if let Some(row) = services.get_mut(&amounts.service) {
            row.amounts = decided;
        } else if decided != DecidedAmounts::default() {
            let service = amounts.service.to_string();
            let row = ServiceCounts { service, spans: 0, late_spans: 0, amounts: decided };
            services.insert(amounts.service, row);
        }
    }
    services.into_values().collect()
}

fn decided_amounts(kept: SpanAmount, dropped: SpanAmount, month_dollars: f64) -> DecidedAmounts {
    DecidedAmounts {
        kept_spans: kept.spans,
        kept_bytes: kept.bytes,
        dropped_spans: dropped.spans,
        dropped_bytes: dropped.bytes,
        month_dollars: (month_dollars * 100.0).round() / 100.0,
    }
}

/// Returns the counts of the policies `names` in `decided`. Policies that only `decided` has come last.
fn counts(names: &[String], decided: &[Decided], accounts: &SpanAccounts) -> PoliciesAnswer {
    let none = |policy: &String| PolicyCounts {
        policy: policy.clone(),
        kept_traces: 0,
        dropped_traces: 0,
        triggers: TriggerCounts::new(),
        amounts: DecidedAmounts::default(),
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
