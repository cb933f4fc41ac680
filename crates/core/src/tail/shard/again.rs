//! Held traces whose summaries were made for earlier policies.
//!
//! They are stale until [`Shard::take_again`] has the summaries for the policies in force. These are computed without
//! the lock of the shard. If a small trace is needed before that, it is read again under the lock. The decision on a
//! large trace is put off until then, and late spans rescue a large dropped trace only if they alone are evidence.
//! Spans that come for a large trace meanwhile have a summary for the policies in force, which is held
//! ([`LaterSpans`]). A large trace is read again under the lock only if its decision cannot wait: memory is short, or
//! the process stops.

use smallvec::SmallVec;

use super::later::LaterSpans;
use super::{Arrival, Fragment, HeldState, HeldTrace, Moment, Shard, SlotNumber, WorkRound};
use crate::otlp::TraceId;
use crate::sampling::{Policies, Summary};
use crate::tail::rescan;
use crate::tail::table::{Millis, SLICE_BYTES};
use crate::tail::tally::Trigger;

/// Bytes of spans, and of what they share, that are read again while a lock is held.
const AGAIN_BYTES_MAX: u64 = 64 << 10;

/// The time by which the decision on a large stale trace is put off. By then its spans have been read without a lock.
const AGAIN_MS: Millis = 50;

/// Traces that are read again between two holds of a lock, and slots that are looked at for them.
const STALE_TRACES_MAX: usize = 64;
const STALE_SLOTS_MAX: SlotNumber = 4_096;

/// A held trace whose summary was made for policies that are no longer in force.
#[derive(Debug)]
pub(in crate::tail) struct StaleTrace {
    slot: SlotNumber,
    id: TraceId,
    /// The fragments that had come when the trace was found.
    pub(in crate::tail) fragments: SmallVec<[Fragment; 3]>,
}

impl HeldTrace {
    /// Returns true if the summary was made for policies that are no longer in force.
    pub(super) fn is_stale(&self, policies: &Policies) -> bool {
        self.summary.generation != policies.generation()
    }

    /// Returns true if reading the spans again would hold a lock for too long.
    pub(super) fn is_large(&self) -> bool {
        self.summary.span_bytes > AGAIN_BYTES_MAX || self.shared_bytes() > AGAIN_BYTES_MAX
    }

    /// Returns true if that is so with the spans that come.
    fn is_large_with(&self, arrival: &Arrival) -> bool {
        self.summary.span_bytes + arrival.summary.span_bytes > AGAIN_BYTES_MAX
            || self.shared_bytes() + arrival.fragment.shared_bytes() > AGAIN_BYTES_MAX
    }

    fn shared_bytes(&self) -> u64 {
        self.fragments.iter().map(Fragment::shared_bytes).sum()
    }

    /// Takes the bits and the keys of `again`, the summary of all spans for other policies. The spans' request pays for
    /// the keys.
    fn take_found(&mut self, again: Summary) {
        let before_bytes = self.summary.heap_bytes();
        self.summary.take_found(again);
        if let Some(fragment) = self.fragments.first() {
            fragment.recharge(before_bytes, self.summary.heap_bytes());
        }
    }

    /// Returns the spans so far, which are to be read without the lock.
    pub(super) fn to_read_again(&self, slot: SlotNumber) -> StaleTrace {
        StaleTrace { slot, id: self.id, fragments: self.fragments.clone() }
    }

    /// Evaluates the spans again if the summary is stale.
    pub(super) fn refresh(&mut self, round: &mut WorkRound<'_>) {
        if self.is_stale(round.policies) {
            let (again, unpacked_bytes) = rescan::summary(round.policies, &self.fragments);
            round.read_bytes += self.summary.span_bytes + self.shared_bytes() + unpacked_bytes;
            self.take_found(again);
        }
    }
}

/// Notes the summary of the spans that come for a large stale trace, so that they need not be read again.
#[inline]
pub(super) fn note_later(
    later: &mut LaterSpans,
    slot: SlotNumber,
    trace: &HeldTrace,
    arrival: &Arrival,
    round: &WorkRound<'_>,
) {
    if trace.is_stale(round.policies) && trace.is_large_with(arrival) {
        later.add(slot, trace.fragments.len(), arrival, round.policies);
    }
}

impl Shard {
    /// Puts the decision on a trace off until its spans have been read again.
    pub(super) fn put_off(&mut self, slot: SlotNumber, trigger: Trigger, round: &WorkRound<'_>) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        let due = Moment::new(round.now_ms + AGAIN_MS);
        trace.state = HeldState::Pending { due, trigger };
        self.waiting.push(due, slot);
    }

    /// Returns some of the stale traces from slot `from` on, and the slot to continue with; `None` at the end.
    pub(in crate::tail) fn stale(
        &self,
        from: SlotNumber,
        policies: &Policies,
    ) -> (Vec<StaleTrace>, Option<SlotNumber>) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for slot in from..self.traces.slot_count() {
            if found.len() >= STALE_TRACES_MAX || bytes >= SLICE_BYTES || slot - from >= STALE_SLOTS_MAX {
                return (found, Some(slot));
            }
            let Some(trace) = self.traces.get(slot).filter(|trace| trace.is_stale(policies)) else { continue };
            bytes += trace.summary.span_bytes;
            found.push(trace.to_read_again(slot));
        }
        (found, None)
    }

    /// Takes over new summaries of stale traces, made for the policies of `round`. Keeps the traces for which a
    /// summary is evidence.
    pub(in crate::tail) fn take_again(&mut self, found: Vec<(StaleTrace, Summary)>, round: &mut WorkRound<'_>) {
        for (stale, mut again) in found {
            let is_it = |trace: &&mut HeldTrace| trace.id == stale.id && trace.is_stale(round.policies);
            let Some(trace) = self.traces.get_mut(stale.slot).filter(is_it) else { continue };
            let later = self.later.take(stale.slot, round.policies.generation());
            // The spans that came before the trace was large: at most `AGAIN_BYTES_MAX`.
            let end = later.as_ref().map_or(trace.fragments.len(), |later| later.first);
            let unread = trace.fragments.get(stale.fragments.len()..end).unwrap_or_default();
            if !unread.is_empty() {
                again.merge(&rescan::summary(round.policies, unread).0);
            }
            // Spans that are in both count once: only the conditions and the keys are taken over.
            later.iter().for_each(|later| again.merge(&later.summary));
            trace.take_found(again);
            if !matches!(trace.state, HeldState::Pending { .. }) {
                continue;
            }
            if let Some(keep) = round.proven(trace.id, &trace.summary) {
                self.keep_held(stale.slot, round.hash(stale.id), keep, Trigger::Evidence, round);
            } else if round.limits.is_full(&trace.summary) {
                self.decide(stale.slot, Trigger::TraceSize, round);
            }
        }
        self.let_go_of_released(round);
    }

    /// Notes that no trace is stale any more.
    pub(in crate::tail) fn end_rescan(&mut self) {
        self.later.clear();
    }
}
