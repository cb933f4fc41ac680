//! The states of policies that remember earlier traces. Each state has its own lock.

use std::sync::Arc;

use parking_lot::Mutex;

use super::expression::DecisionInput;
use super::keyed;
use super::limiter::Bucket;
use super::{KeyFact, Threshold};

/// The state of one policy. Clones share it.
#[derive(Clone, Debug)]
pub(super) enum PolicyState {
    Spans(Arc<Mutex<Bucket>>),
    Bytes(Arc<Mutex<Bucket>>),
    Adaptive(KeyedState<keyed::AdaptiveState>),
    Rare(KeyedState<keyed::RareState>),
    Budget(KeyedState<keyed::BudgetState>),
    IdenticalErrors(KeyedState<keyed::IdenticalErrorsState>),
    Percentile(KeyedState<keyed::PercentileState>),
}

/// A state that distinguishes traces by the key in a slot of the summary.
#[derive(Debug)]
pub(super) struct KeyedState<T> {
    slot: usize,
    state: Arc<Mutex<T>>,
}

impl<T> Clone for KeyedState<T> {
    fn clone(&self) -> Self {
        KeyedState { slot: self.slot, state: Arc::clone(&self.state) }
    }
}

impl<T> KeyedState<T> {
    pub(super) fn new(slot: usize, state: T) -> Self {
        KeyedState { slot, state: Arc::new(Mutex::new(state)) }
    }

    /// Takes over the memory of `earlier`, which belongs to an equal policy of earlier policies. There the key may have
    /// been in another slot.
    fn take_over(&mut self, earlier: KeyedState<T>) {
        self.state = earlier.state;
    }

    fn key(&self, trace: &DecisionInput<'_>) -> Option<KeyFact> {
        trace.summary.key(self.slot)
    }
}

impl PolicyState {
    /// Returns true if the state keeps a ratio of the traces, which stands for the others.
    pub(super) fn is_ratio(&self) -> bool {
        matches!(self, PolicyState::Adaptive(_) | PolicyState::Budget(_))
    }

    /// Takes over the memory of `earlier`, the state of an equal policy.
    pub(super) fn take_over(&mut self, earlier: PolicyState) {
        match (self, earlier) {
            (PolicyState::Spans(own), PolicyState::Spans(earlier))
            | (PolicyState::Bytes(own), PolicyState::Bytes(earlier)) => *own = earlier,
            (PolicyState::Adaptive(own), PolicyState::Adaptive(earlier)) => own.take_over(earlier),
            (PolicyState::Rare(own), PolicyState::Rare(earlier)) => own.take_over(earlier),
            (PolicyState::Budget(own), PolicyState::Budget(earlier)) => own.take_over(earlier),
            (PolicyState::IdenticalErrors(own), PolicyState::IdenticalErrors(earlier)) => own.take_over(earlier),
            (PolicyState::Percentile(own), PolicyState::Percentile(earlier)) => own.take_over(earlier),
            // Equal policies have states of the same type.
            _ => {}
        }
    }

    /// Returns the threshold for `trace`. The caller must ask once for each trace, because the answer changes the
    /// state.
    pub(super) fn threshold(&self, trace: &DecisionInput<'_>) -> Threshold {
        let now_ms = trace.now_ms;
        // The instances of a fleet decide different traces, so a limit for all is a part of it for each: a trace counts as
        // many times as there are instances.
        let spans = trace.summary.span_count.saturating_mul(trace.members);
        match self {
            PolicyState::Spans(bucket) => Threshold::certain(bucket.lock().take(u64::from(spans), now_ms)),
            PolicyState::Bytes(bucket) => {
                let bytes = trace.summary.span_bytes.saturating_mul(trace.members.into());
                Threshold::certain(bucket.lock().take(bytes, now_ms))
            }
            PolicyState::Adaptive(keyed) => keyed.state.lock().threshold(hash(keyed.key(trace)), spans, now_ms),
            PolicyState::Rare(keyed) => Threshold::certain(keyed.state.lock().keeps(hash(keyed.key(trace)), now_ms)),
            PolicyState::Budget(keyed) => keyed.state.lock().threshold(hash(keyed.key(trace)), spans, now_ms),
            // An error without a key is not identical to any other, so it is kept.
            PolicyState::IdenticalErrors(keyed) => {
                keyed.key(trace).map_or(Threshold::ALWAYS, |key| keyed.state.lock().threshold(key.hash, now_ms))
            }
            PolicyState::Percentile(keyed) => {
                let key = keyed.key(trace);
                let duration_ms = key.map_or(0, |key| key.duration_ms);
                Threshold::certain(keyed.state.lock().is_slow(hash(key), duration_ms, now_ms))
            }
        }
    }

    /// Returns the maximum bytes that the keys of the state take.
    pub(super) fn bytes_max(&self) -> usize {
        match self {
            PolicyState::Spans(_) | PolicyState::Bytes(_) => 0,
            PolicyState::Adaptive(keyed) => keyed.state.lock().bytes_max(),
            PolicyState::Rare(keyed) => keyed.state.lock().bytes_max(),
            PolicyState::Budget(keyed) => keyed.state.lock().bytes_max(),
            PolicyState::IdenticalErrors(keyed) => keyed.state.lock().bytes_max(),
            PolicyState::Percentile(keyed) => keyed.state.lock().bytes_max(),
        }
    }

    /// Charges a kept trace of `spans` spans to the state if it is a budget, no matter which policy kept the trace.
    pub(super) fn kept(&self, spans: u32, now_ms: u64) {
        if let PolicyState::Budget(keyed) = self {
            keyed.state.lock().kept(spans, now_ms);
        }
    }

    /// Returns the number of spans that would be exported in a month at the present pace; `None` if the state is not a
    /// budget.
    pub(super) fn month_estimate(&self, now_ms: u64) -> Option<f64> {
        match self {
            PolicyState::Budget(keyed) => Some(keyed.state.lock().month_estimate(now_ms)),
            _ => None,
        }
    }
}

/// Returns the hash of the key. Every trace has an entry span, and so it has a key. If a trace had no key, the hash
/// would be 0.
fn hash(key: Option<KeyFact>) -> u64 {
    key.map_or(0, |key| key.hash)
}
