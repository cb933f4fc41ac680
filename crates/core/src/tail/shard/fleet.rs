//! The work of a shard with a fleet: reports of traces, and verdicts of their owners.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{DropKind, Due, DueQueue, HeldState, HeldTrace, Moment, Shard, SlotNumber, WorkRound, pack, unpack};
use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold, Verdict};
use crate::tail::fleet::{Followed, NEEDS_ANSWER, Proof, Report, is_without_owner};
use crate::tail::table::Millis;
use crate::tail::tally::Trigger;
use crate::tail::verdicts::Found;

/// The bytes of memory that a trace takes here: its mark, with the slack of a hash table that is two thirds full, and two
/// entries of the queue.
pub(in crate::tail) const FLEET_TRACE_BYTES: usize =
    (size_of::<(SlotNumber, Mark)>() + 1) * 3 / 2 + 2 * size_of::<Due>();

/// The time by which a report of a large stale trace is put off, until its spans have been read without a lock.
const STALE_MS: Millis = 50;

/// The time over which the reports to new owners are spread.
const AGAIN_MS: Millis = 960;

/// The slots that are looked at for them under one hold of the lock: the owner of a trace takes a microsecond in a large
/// fleet.
const AGAIN_SLOTS_MAX: SlotNumber = 512;

/// The reports of one trace.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The time of the next report; `None` if the last one says everything.
    next: Option<Moment>,
    /// The earliest time of the report after that.
    not_before: Moment,
}

/// The reports that are due. Empty without a fleet.
#[derive(Debug, Default)]
pub(super) struct DueReports {
    queue: DueQueue,
    marks: HashMap<SlotNumber, Mark, RandomState>,
}

fn is_live(marks: &HashMap<SlotNumber, Mark, RandomState>, due: Due) -> bool {
    marks.get(&due.slot).is_some_and(|mark| mark.next == Some(due.at))
}

impl DueReports {
    /// Plans a report of the trace in `slot`, unless one is planned. It is due after `wait_ms`, or at the earliest time
    /// that is allowed.
    fn plan(&mut self, slot: SlotNumber, wait_ms: Millis, now_ms: Millis) {
        let first = Moment::new(now_ms + wait_ms);
        let mark = self.marks.entry(slot).or_insert(Mark { next: None, not_before: first });
        if mark.next.is_some() {
            return;
        }
        let at = if first.is_before(mark.not_before) { mark.not_before } else { first };
        mark.next = Some(at);
        self.queue.push(at, slot);
        let DueReports { queue, marks } = self;
        queue.prune(marks.len(), |due| is_live(marks, due));
    }

    /// Returns true if the last report of the trace in `slot` says everything, and is old enough for the next one.
    fn is_told(&self, slot: SlotNumber, now_ms: Millis) -> bool {
        let now = Moment::new(now_ms);
        self.marks.get(&slot).is_some_and(|mark| mark.next.is_none() && !now.is_before(mark.not_before))
    }

    fn reported(&mut self, slot: SlotNumber, not_before: Moment) {
        self.marks.insert(slot, Mark { next: None, not_before });
    }

    /// Forgets a trace that has left the table.
    #[inline]
    pub(super) fn forget(&mut self, slot: SlotNumber) {
        if !self.marks.is_empty() {
            self.marks.remove(&slot);
        }
    }

    pub(super) fn first(&self) -> Option<Moment> {
        self.queue.first()
    }

    pub(super) fn shrink(&mut self) {
        self.queue.shrink();
        if self.marks.capacity() > 4 * self.marks.len().max(64) {
            self.marks.shrink_to(2 * self.marks.len());
        }
    }
}

impl Shard {
    /// Plans a report of the trace in `slot`, which has new spans.
    #[inline]
    pub(super) fn plan_report(&mut self, slot: SlotNumber, round: &WorkRound<'_>) {
        if let Some(fleet) = &round.limits.fleet {
            self.due_reports.plan(slot, fleet.times.quiet_ms, round.now_ms);
        }
    }

    /// Reports up to `traces_max` traces for which that is due. Returns true if there may be more.
    pub(in crate::tail) fn report_due(&mut self, traces_max: usize, round: &mut WorkRound<'_>) -> bool {
        round.slice(traces_max, |round| {
            let due = self.due_reports.queue.pop_due(round.now_ms)?;
            if is_live(&self.due_reports.marks, due) {
                self.report_now(due.slot, round);
            }
            Some(())
        })
    }

    /// Reports the trace in `slot`. A trace that waits for the verdict of its owner, was dropped without it, or has got late
    /// spans since, is reported again until the owner has answered.
    fn report_now(&mut self, slot: SlotNumber, round: &mut WorkRound<'_>) {
        let (Some(fleet), Some(trace)) = (&round.limits.fleet, self.traces.get_mut(slot)) else {
            return self.due_reports.forget(slot);
        };
        let again = Moment::new(round.now_ms + fleet.times.repeat_ms);
        self.due_reports.reported(slot, again);
        if fleet.is_alone() {
            return;
        }
        if trace.is_stale(round.policies) && trace.is_large() {
            self.due_reports.reported(slot, Moment::new(round.now_ms));
            return self.due_reports.plan(slot, STALE_MS, round.now_ms);
        }
        trace.refresh(round);
        let has_late = match &mut trace.state {
            HeldState::Pending { .. } => false,
            HeldState::Dropped { notes, .. } => notes.ask(),
        };
        let (due_in_ms, trigger, waits, is_asked) = match trace.state {
            HeldState::Pending { trigger: Trigger::Alone, .. } => (0, Trigger::DecisionWait, true, true),
            HeldState::Pending { due, trigger } => (due.not_before(round.now_ms) - round.now_ms, trigger, true, false),
            // The owner answers what was dropped without it.
            HeldState::Dropped { .. } if has_late => (0, NEEDS_ANSWER, false, true),
            HeldState::Dropped { trigger, .. } => (0, trigger, false, is_without_owner(trigger)),
        };
        round.fleet.reports.push(Report { id: trace.id, summary: trace.summary.clone(), due_in_ms, trigger, waits });
        if is_asked {
            self.due_reports.plan(slot, fleet.times.repeat_ms, round.now_ms);
        }
    }

    /// Waits for the verdict of the owner of a trace whose own wait is over. Returns false if the trace is to be decided alone.
    ///
    /// The owner knows from the last report when the wait is over. It is told again only if there are other spans since, or if
    /// that report came in the last second: the owner gives such a holder time for another one. If no verdict comes, the
    /// owner is asked.
    pub(super) fn ask_owner(&mut self, slot: SlotNumber, trigger: Trigger, round: &mut WorkRound<'_>) -> bool {
        let (Some(fleet), Some(trace)) = (&round.limits.fleet, self.traces.get_mut(slot)) else { return false };
        if trigger == Trigger::Alone || fleet.is_alone() {
            return false;
        }
        let due = Moment::new(round.now_ms + fleet.times.verdict_wait_ms);
        trace.state = HeldState::Pending { due, trigger: Trigger::Alone };
        self.waiting.push(due, slot);
        if self.due_reports.is_told(slot, round.now_ms) {
            self.due_reports.plan(slot, fleet.times.repeat_ms, round.now_ms);
        } else {
            self.report_now(slot, round);
        }
        true
    }

    /// Plans reports of some traces from slot `from` on for which `is_wanted` returns true, if their owner has yet to answer:
    /// they are undecided, were dropped without it, or have got late spans since. Spreads the reports over a second. Returns
    /// the slot to continue with; `None` at the end.
    pub(in crate::tail) fn report_again(
        &mut self,
        from: SlotNumber,
        is_wanted: &impl Fn(TraceId) -> bool,
        now_ms: Millis,
    ) -> Option<SlotNumber> {
        let slots = self.traces.slot_count();
        let end = slots.min(from.saturating_add(AGAIN_SLOTS_MAX));
        for slot in from..end {
            let Some(trace) = self.traces.get(slot) else { continue };
            let is_open = match trace.state {
                HeldState::Pending { .. } => true,
                HeldState::Dropped { trigger, notes, .. } => is_without_owner(trigger) || notes.has_unanswered(),
            };
            if is_open && is_wanted(trace.id) {
                // The times ascend, so each one comes at the end of the queue, or close to it.
                let wait_ms = u64::from(slot) * AGAIN_MS / u64::from(slots);
                self.due_reports.plan(slot, wait_ms, now_ms);
            }
        }
        (end < slots).then_some(end)
    }

    /// Follows the verdict of the fleet on the trace with this hash.
    pub(in crate::tail) fn follow(&mut self, followed: &Followed, hash: u64, round: &mut WorkRound<'_>) {
        let is_old = followed.generation != round.policies.generation();
        if is_old && !matches!(followed.verdict, Verdict::Kept(_)) {
            return;
        }
        match self.slot(followed.id, hash) {
            Some(slot) => self.follow_held(slot, hash, followed, round),
            None => self.follow_late(hash, followed.verdict, round),
        }
        self.let_go_of_released(round);
    }

    fn follow_held(&mut self, slot: SlotNumber, hash: u64, followed: &Followed, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        let Followed { verdict, trigger, .. } = *followed;
        match (trace.state, verdict) {
            (HeldState::Dropped { trigger: dropped_by, .. }, Verdict::Kept(keep)) => {
                round.tally.split_traces += u64::from(is_without_owner(dropped_by));
                self.keep_held(slot, hash, Keep { rescued: true, ..keep }, Trigger::Rescue, round);
            }
            (HeldState::Dropped { expiry, trigger: own, notes }, Verdict::Dropped | Verdict::DroppedByPolicy(_)) => {
                // An answer to an earlier report says nothing about the spans that have come since.
                if followed.spans >= trace.summary.span_count {
                    // The owner knows of all spans, so they are not reported again.
                    let trigger = if is_without_owner(own) { trigger } else { own };
                    trace.state = HeldState::Dropped { expiry, trigger, notes: notes.answered() };
                }
            }
            (HeldState::Pending { .. }, verdict) => self.follow_pending(slot, hash, followed, verdict, round),
        }
    }

    /// Follows a verdict on an undecided trace, unless its spans here are evidence that the owner did not know: a report may
    /// have been lost, or come too late. That evidence keeps the trace, and is passed on.
    fn follow_pending(
        &mut self,
        slot: SlotNumber,
        hash: u64,
        followed: &Followed,
        verdict: Verdict,
        round: &mut WorkRound<'_>,
    ) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        if trace.is_stale(round.policies) && trace.is_large() {
            // Its spans are being read again, without a lock. The question repeats the verdict.
            return;
        }
        trace.refresh(round);
        let (id, summary, trigger) = (trace.id, &trace.summary, followed.trigger);
        let is_known = followed.spans >= summary.span_count;
        let own = match verdict {
            Verdict::Kept(keep) => Some(round.policies.amended(keep, summary, id)).filter(|amended| *amended != keep),
            Verdict::Dropped => round.policies.evidence(summary, id),
            Verdict::DroppedByPolicy(_) if is_known => None,
            Verdict::DroppedByPolicy(_) => round.policies.evidence_in_part(summary, id),
        };
        if let Some(own) = own {
            let was_dropped = !matches!(verdict, Verdict::Kept(_));
            let trigger = if was_dropped { Trigger::Rescue } else { trigger };
            self.keep_held(slot, hash, own, trigger, round);
            round.fleet.proofs.push(Proof { id, keep: own, was_dropped });
            return;
        }
        match verdict {
            Verdict::Kept(keep) => self.keep_held(slot, hash, keep, trigger, round),
            Verdict::Dropped => {
                self.drop_by(slot, None, trigger, round);
                if !is_known {
                    self.report_unknown(slot, round);
                }
            }
            Verdict::DroppedByPolicy(policy) => self.drop_by(slot, Some(policy), trigger, round),
        }
    }

    /// Reports a dropped trace whose owner did not know all of its spans, until the owner has answered: together with those of
    /// others they may prove the drop wrong.
    fn report_unknown(&mut self, slot: SlotNumber, round: &WorkRound<'_>) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        if let HeldState::Dropped { notes, .. } = &mut trace.state {
            notes.note_unknown();
            self.plan_report(slot, round);
        }
    }

    /// Follows a verdict on a trace whose spans have left the table, so that its late spans follow it.
    fn follow_late(&mut self, hash: u64, verdict: Verdict, round: &mut WorkRound<'_>) {
        let known = self.kept_ids.get(hash).map(|found| unpack(found.value));
        match (known, verdict) {
            (Some(known), Verdict::Kept(keep)) if keep.threshold < known.threshold => {
                self.kept_ids.replace(hash, pack(Keep { policy: keep.policy, threshold: keep.threshold, ..known }));
            }
            (Some(_), Verdict::Kept(_)) => {}
            (Some(_), _) => round.tally.split_traces += 1,
            (None, Verdict::Kept(keep)) => {
                let mut kinds = DropKind::all(round.policies.counted() != 0).iter();
                if kinds.any(|kind| self.dropped_ids.get(kind.hash(hash)).is_some()) {
                    round.tally.split_traces += 1;
                    let forgot = self.kept_ids.insert(hash, Found { value: pack(keep), facts: 0 });
                    round.tally.forgotten_kept_ids += u64::from(forgot);
                }
            }
            (None, _) => {}
        }
    }
}

impl WorkRound<'_> {
    /// Tells the fleet that a trace was kept on evidence.
    #[inline]
    pub(super) fn prove(&mut self, id: TraceId, keep: Keep, was_dropped: bool) {
        if self.limits.fleet.is_some() && !self.follows {
            self.fleet.proofs.push(Proof { id, keep, was_dropped });
        }
    }

    /// Does the same if the verdict does not follow from the id alone, and is not the fleet's own.
    #[inline]
    pub(super) fn prove_if_certain(&mut self, trace: &HeldTrace, keep: Keep, trigger: Trigger) {
        if keep.threshold == Threshold::ALWAYS || matches!(trigger, Trigger::Evidence | Trigger::Rescue) {
            self.prove(trace.id, keep, matches!(trace.state, HeldState::Dropped { .. }));
        }
    }
}
