//! The counts that the process itself needs: for the account of a stop, the report of the demo and the page of the
//! embedded Cloud Trace. The recorder of the metrics can show its values only as text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::Counter;
use parking_lot::Mutex;

use super::{HeldAmounts, SpanAccounts, TraceVerdict};
use crate::sampling::ShadowEffect;
use crate::tail::tally::Trigger;

/// A sum that only grows.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds `n` to `counter`, one of those that make up this total, and to the total.
    pub(super) fn count(&self, counter: &Counter, n: u64) {
        counter.increment(n);
        self.add(n);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Decided traces with the same labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The name of the policy; empty for a drop without a policy.
    pub policy: String,
    /// The verdict.
    pub verdict: TraceVerdict,
    /// The reason why the traces were decided when they were.
    pub trigger: Trigger,
    /// The number of traces.
    pub traces: u64,
}

/// Spans of one service, estimated from the followed traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceSpans {
    /// All spans.
    pub spans: u64,
    /// Late spans.
    pub late_spans: u64,
}

/// Decided traces to which a shadow policy would have given another verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowCount {
    /// The name of the policy.
    pub policy: String,
    /// The change that it would have made.
    pub effect: ShadowEffect,
    /// The number of traces.
    pub traces: u64,
    /// The number of their spans that had come.
    pub spans: u64,
}

/// Totals of the counters, in spans, and the decided traces.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) received: Total,
    pub(super) recovered: Total,
    pub(super) exported: Total,
    pub(super) sampled_out: Total,
    pub(super) handed_over: Total,
    pub(super) rejected: Total,
    pub(super) dropped: Total,
    decided: Mutex<Vec<Decided>>,
    /// Spans by service. There are as many services as label values.
    services: Mutex<BTreeMap<Arc<str>, ServiceSpans>>,
    shadow: Mutex<Vec<ShadowCount>>,
}

impl Counted {
    /// Counts decided traces. There are few combinations of labels.
    pub(super) fn decided(&self, policy: &str, verdict: TraceVerdict, trigger: Trigger, traces: u64) {
        let mut decided = self.decided.lock();
        let same =
            |known: &&mut Decided| (known.verdict, known.trigger) == (verdict, trigger) && known.policy == policy;
        match decided.iter_mut().find(same) {
            Some(known) => known.traces += traces,
            None => decided.push(Decided { policy: policy.to_owned(), verdict, trigger, traces }),
        }
    }

    pub(super) fn decided_traces(&self) -> Vec<Decided> {
        self.decided.lock().clone()
    }

    /// Counts spans of a service, given by its label.
    pub(super) fn service_spans(&self, service: Arc<str>, spans: u64, late_spans: u64) {
        let mut services = self.services.lock();
        let total = services.entry(service).or_default();
        total.spans += spans;
        total.late_spans += late_spans;
    }

    pub(super) fn services(&self) -> Vec<(Arc<str>, ServiceSpans)> {
        self.services.lock().iter().map(|(service, spans)| (Arc::clone(service), *spans)).collect()
    }

    /// Counts traces to which a shadow policy would have given another verdict. Returns the spans of the policy and the
    /// effect so far.
    pub(super) fn shadowed(&self, policy: &str, effect: ShadowEffect, traces: u64, spans: u64) -> u64 {
        let mut counts = self.shadow.lock();
        match counts.iter_mut().find(|known| known.effect == effect && known.policy == policy) {
            Some(known) => {
                known.traces += traces;
                known.spans += spans;
                known.spans
            }
            None => {
                counts.push(ShadowCount { policy: policy.to_owned(), effect, traces, spans });
                spans
            }
        }
    }

    pub(super) fn shadow_counts(&self) -> Vec<ShadowCount> {
        self.shadow.lock().clone()
    }

    pub(super) fn accounts(&self, held: &HeldAmounts) -> SpanAccounts {
        SpanAccounts {
            received: self.received.get(),
            recovered: self.recovered.get(),
            exported: self.exported.get(),
            sampled_out: self.sampled_out.get(),
            handed_over: self.handed_over.get(),
            rejected: self.rejected.get(),
            dropped: self.dropped.get(),
            held: held.spans(),
        }
    }
}
