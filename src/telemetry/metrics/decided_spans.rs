//! Spans and bytes of decided traces by policy and by service, and what they cost a month.

use std::sync::Arc;

use parking_lot::Mutex;

use super::pace::Pace;
use super::{Metrics, TraceVerdict, counter, dollars, gauge};
use crate::tail::services::ServiceAmounts;
use crate::tail::tally::SpanAmount;

/// The spans that one policy decided.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySpans {
    /// The name of the policy; empty for spans that no policy kept.
    pub policy: String,
    /// Spans that it kept.
    pub kept: SpanAmount,
    /// Spans that it dropped.
    pub dropped: SpanAmount,
    pace: Pace,
}

/// The spans of one service whose traces are decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceDecided {
    /// The label, and the amounts.
    pub amounts: ServiceAmounts,
    /// The price of the kept spans of 30 days at the present pace.
    pub month_dollars: f64,
}

impl PolicySpans {
    /// Returns the price of the kept spans of 30 days at the present pace.
    #[must_use]
    pub fn month_dollars(&self) -> f64 {
        dollars(self.pace.month() as u64)
    }
}

/// The counts by policy, and the paces.
#[derive(Debug, Default)]
pub(super) struct DecidedSpans(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    policies: Vec<PolicySpans>,
    /// The paces of the services, in the order of their numbers.
    services: Vec<Pace>,
    noted_ms: u64,
}

impl Metrics {
    /// Counts spans of decided traces. `policy` is empty if no policy kept them.
    pub fn decided_spans(&self, policy: &str, verdict: TraceVerdict, amount: SpanAmount) {
        let labels = [("policy", policy), ("verdict", verdict.as_str())];
        self.count("spansieve_decided_spans_total", &labels, amount.spans);
        self.count("spansieve_decided_bytes_total", &labels, amount.bytes);
        let mut state = self.decided_spans.0.lock();
        let at = state.policies.iter().position(|known| known.policy == policy).unwrap_or_else(|| {
            let (none, pace) = (SpanAmount::default(), Pace::default());
            state.policies.push(PolicySpans { policy: policy.to_owned(), kept: none, dropped: none, pace });
            state.policies.len() - 1
        });
        match verdict {
            TraceVerdict::Kept => state.policies[at].kept += amount,
            TraceVerdict::Dropped => state.policies[at].dropped += amount,
        }
    }

    /// Notes the present counts for the estimates of a month. Call it every few seconds with the time of a monotonic
    /// clock.
    pub fn note_pace(&self, now_ms: u64) {
        let mut state = self.decided_spans.0.lock();
        let seconds = now_ms.saturating_sub(state.noted_ms) as f64 / 1_000.0;
        state.noted_ms = now_ms;
        for policy in &mut state.policies {
            policy.pace.note(policy.kept.spans, seconds);
        }
        let services = self.services.amounts();
        state.services.resize(services.len(), Pace::default());
        for (pace, service) in state.services.iter_mut().zip(services) {
            pace.note(service.kept.spans, seconds);
        }
    }

    /// Returns the spans by policy, those of no policy included.
    #[must_use]
    pub fn spans_by_policy(&self) -> Vec<PolicySpans> {
        self.decided_spans.0.lock().policies.clone()
    }

    /// Returns the spans by service.
    #[must_use]
    pub fn spans_by_service(&self) -> Vec<ServiceDecided> {
        let paces = self.decided_spans.0.lock().services.clone();
        let month = |at: usize| dollars(paces.get(at).copied().unwrap_or_default().month() as u64);
        let services = self.services.amounts().into_iter().enumerate();
        services.map(|(at, amounts)| ServiceDecided { amounts, month_dollars: month(at) }).collect()
    }

    /// Sets the metrics that are computed at a scrape.
    pub(super) fn set_decided_spans(&self) {
        for policy in self.spans_by_policy().iter().filter(|policy| !policy.policy.is_empty()) {
            let labels = [("policy", policy.policy.as_str())];
            gauge(&self.recorder, "spansieve_policy_month_dollars", &labels).set(policy.month_dollars());
        }
        for ServiceDecided { amounts, month_dollars } in self.spans_by_service() {
            let service: Arc<str> = amounts.service;
            let sides = [(TraceVerdict::Kept, amounts.kept), (TraceVerdict::Dropped, amounts.dropped)];
            for (verdict, amount) in sides {
                let labels = [("service", &*service), ("verdict", verdict.as_str())];
                counter(&self.recorder, "spansieve_service_decided_spans_total", &labels).absolute(amount.spans);
                counter(&self.recorder, "spansieve_service_decided_bytes_total", &labels).absolute(amount.bytes);
            }
            gauge(&self.recorder, "spansieve_service_month_dollars", &[("service", &*service)]).set(month_dollars);
        }
    }
}
