//! One shard of the trace table: the traces whose hashed id begins with the shard's number.
//!
//! A trace is pending first. Then it is either kept (its spans go to the exporter and its id is remembered) or dropped.
//! A dropped trace stays rescuable while memory and the rescue window allow. Then its id is remembered.
//!
//! Most of the time that a trace costs is spent waiting for memory. So traces are in slots in the order in which they
//! came, which is also the order in which they are decided. Only the small index of their hashes is accessed in random
//! order. All traces of a request are looked up before the first is touched, so that these waits overlap.

mod again;
mod ahead;
mod counts;
mod drop_kind;
mod fleet;
mod handoff;
mod index;
mod later;
mod released;
mod report;

use smallvec::SmallVec;

pub(super) use self::again::StaleTrace;
use self::again::note_later;
pub use self::counts::HeldCounts;
use self::drop_kind::{DropKind, DropNotes};
use self::fleet::DueReports;
pub(super) use self::fleet::FLEET_TRACE_BYTES;
use self::index::{IndexEntry, TraceIndex};
use self::later::LaterSpans;
pub(super) use self::released::Released;
use super::decision_facts::DecisionFacts;
use super::due::{Due, DueQueue, Moment};
use super::missing_parents::{SPANS_MAX, SpanIdFindings, UNPACKED_BYTES_MAX, check_span_ids};
use super::packed::{pack, unpack};
use super::request::{Fragment, OpenFragment};
use super::round::WorkRound;
use super::slots::{SlotNumber, Slots};
use super::table::TableLimits;
use super::tally::Trigger;
use super::trace_sample::TraceSample;
use super::verdicts::{Found, VerdictCache};
use crate::otlp::TraceId;
use crate::sampling::{Keep, Parent, Summary, Verdict};

/// A trace whose spans are held.
#[derive(Debug)]
struct HeldTrace {
    id: TraceId,
    summary: Summary,
    /// One fragment for each request with spans of the trace, usually two or three.
    fragments: SmallVec<[Fragment; 3]>,
    state: HeldState,
}

impl HeldTrace {
    fn add(&mut self, arrival: Arrival) {
        self.summary.merge(&arrival.summary);
        self.fragments.push(arrival.fragment);
    }

    /// Returns the facts about the decision: those of the drop if the trace is dropped, or those of a decision now.
    fn facts(&self, round: &WorkRound<'_>) -> DecisionFacts {
        self.facts_at(round.now_ms, round.limits)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldState {
    /// The trace is undecided until `due`.
    Pending { due: Moment, trigger: Trigger },
    /// The trace is dropped, and rescuable until `expiry`.
    Dropped { expiry: Moment, trigger: Trigger, notes: DropNotes },
}

impl HeldState {
    /// Returns the time at which the trace is looked at again.
    fn due(self) -> Moment {
        match self {
            HeldState::Pending { due, .. } => due,
            HeldState::Dropped { expiry, .. } => expiry,
        }
    }
}

/// The new spans of one trace in one request.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id: TraceId,
    pub(super) hash: u64,
    pub(super) summary: Summary,
    pub(super) fragment: Fragment,
}

/// The state of the trace that new spans belong to.
enum Known {
    /// The trace is held in this slot.
    Held(SlotNumber),
    /// The trace was kept, with this packed verdict.
    Kept(u64),
    /// The trace was dropped in this way, and its spans are gone. The cache has these facts about it.
    Dropped(DropKind, u64),
    /// Nothing is known of the trace.
    No,
}

#[derive(Debug)]
pub(super) struct Shard {
    traces: Slots<HeldTrace>,
    index: TraceIndex,
    /// Pending traces by their `decision_wait`.
    waiting: DueQueue,
    /// Pending traces by their `decision_wait_after_root_received`.
    rooted: DueQueue,
    /// Dropped traces by the end of their rescue window.
    rescuable: DueQueue,
    kept_ids: VerdictCache,
    dropped_ids: VerdictCache,
    sample: TraceSample,
    /// The summaries of spans that came for large traces since the policies were replaced; empty once all traces have
    /// been read again.
    later: LaterSpans,
    /// The traces that are to be reported to the fleet.
    due_reports: DueReports,
    held: HeldCounts,
}

impl Shard {
    pub(super) fn new(limits: &TableLimits) -> Self {
        Shard {
            traces: Slots::default(),
            index: TraceIndex::default(),
            waiting: DueQueue::default(),
            rooted: DueQueue::default(),
            rescuable: DueQueue::default(),
            kept_ids: VerdictCache::new(limits.kept_ids_per_shard, limits.columns(true)),
            dropped_ids: VerdictCache::new(limits.dropped_ids_per_shard, limits.columns(false)),
            sample: TraceSample::new(),
            later: LaterSpans::default(),
            due_reports: DueReports::default(),
            held: HeldCounts::default(),
        }
    }

    pub(super) fn held(&self) -> HeldCounts {
        self.held
    }

    /// Remembers a verdict of an earlier process. If there are several on one trace, remembers the one with the
    /// smallest adjusted count.
    pub(super) fn restore_kept(&mut self, hash: u64, keep: Keep) {
        match self.kept_ids.get(hash).map(|found| unpack(found.value)) {
            None => _ = self.kept_ids.insert(hash, Found { value: pack(keep), facts: 0 }),
            Some(known) if keep.threshold < known.threshold => self.kept_ids.replace(hash, pack(keep)),
            Some(_) => {}
        }
    }

    /// Takes in the spans of one request, and leaves `arrivals` empty. Each arrival belongs to another trace.
    pub(super) fn arrive(&mut self, arrivals: &mut Vec<Arrival>, round: &mut WorkRound<'_>) {
        let slots: SmallVec<[Option<SlotNumber>; 16]> = arrivals.iter().map(|arrival| self.find(arrival)).collect();
        let kinds = DropKind::all(round.policies.counted() != 0);
        let recall = |(arrival, slot): (&Arrival, Option<SlotNumber>)| match slot {
            Some(slot) => Known::Held(slot),
            None => self.recall(arrival.hash, kinds),
        };
        let known: SmallVec<[Known; 16]> = arrivals.iter().zip(slots).map(recall).collect();
        for (arrival, known) in arrivals.drain(..).zip(known) {
            let sampled = self.sample.record(arrival.hash, round.now_ms);
            if let Some(sampled) = sampled {
                round.tally.follow(sampled, &arrival.fragment, round.limits.decision_ms);
                if round.policies.counted() != 0 {
                    round.tally.follow_calls(sampled, &arrival.fragment);
                }
            }
            match known {
                Known::Held(slot) => self.join(slot, arrival, round),
                Known::Kept(packed) => self.arrive_late_kept(arrival, unpack(packed), round),
                Known::Dropped(kind, facts) => self.arrive_late_dropped(arrival, kind, facts, round),
                Known::No => {
                    round.tally.begun(sampled);
                    self.begin(arrival, round);
                }
            }
        }
        self.let_go_of_released(round);
    }

    /// Returns the moment at which a trace may have to be looked at next; `None` if no trace is held.
    pub(super) fn first_due(&self) -> Option<Moment> {
        let queues = [&self.waiting, &self.rooted, &self.rescuable].map(DueQueue::first);
        Moment::first_of(queues.into_iter().chain([self.due_reports.first()]).flatten())
    }

    /// Returns the number of entries, live and stale, in the queues.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        [&self.waiting, &self.rooted, &self.rescuable].map(DueQueue::len).iter().sum()
    }

    /// Sends late spans of a kept trace to the exporter with the trace's verdict. If they are stronger evidence, the
    /// verdict is amended.
    fn arrive_late_kept(&mut self, arrival: Arrival, keep: Keep, round: &mut WorkRound<'_>) {
        round.tally.late_kept_spans += u64::from(arrival.summary.span_count);
        let amended = round.policies.amended(keep, &arrival.summary, arrival.id);
        // Other traces of the same request may have made the cache forget this one, or move it.
        if amended != keep && self.kept_ids.get(arrival.hash).is_some() {
            self.kept_ids.replace(arrival.hash, pack(amended));
            round.prove(arrival.id, amended, false);
        }
        let spans = arrival.summary.span_count;
        self.kept_ids.amend_facts(arrival.hash, |facts| DecisionFacts::with_late(facts, spans));
        round.export(arrival.id, [arrival.fragment], amended);
    }

    fn find(&self, arrival: &Arrival) -> Option<SlotNumber> {
        self.slot(arrival.id, arrival.hash)
    }

    #[inline]
    fn slot(&self, id: TraceId, hash: u64) -> Option<SlotNumber> {
        self.index.find(hash, |slot| self.traces.get(slot).is_some_and(|trace| trace.id == id))
    }

    /// Looks up the verdict on a trace that is not held.
    fn recall(&mut self, hash: u64, kinds: &[DropKind]) -> Known {
        if let Some(found) = self.kept_ids.get(hash) {
            return Known::Kept(found.value);
        }
        let find = |kind: &DropKind| Some(Known::Dropped(*kind, self.dropped_ids.get(kind.hash(hash))?.facts));
        kinds.iter().find_map(find).unwrap_or(Known::No)
    }

    /// Adds spans to a trace that is held.
    fn join(&mut self, slot: SlotNumber, arrival: Arrival, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        if let HeldState::Dropped { .. } = trace.state {
            return self.join_dropped(slot, arrival, round);
        }
        let (hash, is_root) = (arrival.hash, arrival.summary.has_root);
        self.held.count(trace.state, &arrival.summary);
        note_later(&mut self.later, slot, trace, &arrival, round);
        trace.add(arrival);
        if trace.is_stale(round.policies) {
            // `take_again` decides the trace, within a second, if there is evidence. A full one does not wait for its turn.
            if round.limits.is_full(&trace.summary) {
                round.full.push(trace.to_read_again(slot));
            } else if is_root {
                self.root_arrived(slot, round);
            }
        } else if let Some(keep) = round.proven(trace.id, &trace.summary) {
            self.keep_held(slot, hash, keep, Trigger::Evidence, round);
        } else if round.limits.is_full(&trace.summary) {
            self.decide(slot, Trigger::TraceSize, round);
        } else {
            if is_root {
                self.root_arrived(slot, round);
            }
            self.plan_report(slot, round);
        }
    }

    /// Adds late spans to a dropped trace that is held. If they are evidence, the trace is rescued; otherwise they are
    /// held with the others. A full trace does not grow further.
    fn join_dropped(&mut self, slot: SlotNumber, arrival: Arrival, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        let HeldState::Dropped { notes, .. } = trace.state else { return };
        let keep = if trace.is_stale(round.policies) && trace.is_large() {
            round.policies.evidence(&arrival.summary, trace.id)
        } else {
            trace.refresh(round);
            let mut summary = trace.summary.clone();
            summary.merge(&arrival.summary);
            round.policies.rescue(&summary, trace.id)
        };
        round.tally.late_of_dropped(keep.is_some(), arrival.summary.span_count);
        if keep.is_none() && round.limits.is_full(&trace.summary) {
            round.sampled_out(arrival.id, arrival.fragment, None, notes.is_unrepresented());
            return;
        }
        let hash = arrival.hash;
        self.held.count(trace.state, &arrival.summary);
        if let HeldState::Dropped { notes, .. } = &mut trace.state {
            notes.add_late(arrival.summary.span_count);
        }
        note_later(&mut self.later, slot, trace, &arrival, round);
        trace.add(arrival);
        match keep {
            Some(keep) => self.keep_held(slot, hash, keep, Trigger::Rescue, round),
            None => self.plan_report(slot, round),
        }
    }

    /// Brings the due time forward, if need be, because a root span arrived.
    fn root_arrived(&mut self, slot: SlotNumber, round: &WorkRound<'_>) {
        let Some(wait_ms) = round.limits.after_root_ms else { return };
        let Some(trace) = self.traces.get_mut(slot) else { return };
        let at = Moment::new(round.now_ms + wait_ms);
        // A trace whose owner is asked waits for its verdict, and is not put off again.
        if let HeldState::Pending { due, trigger } = trace.state
            && trigger != Trigger::Alone
            && at.is_before(due)
        {
            trace.state = HeldState::Pending { due: at, trigger: Trigger::RootReceived };
            self.rooted.push(at, slot);
            prune(&mut self.rooted, &self.traces);
        }
    }

    /// Takes in late spans of a dropped trace whose other spans are gone. If they are evidence (for example an error),
    /// they are kept, and so are spans that come after them.
    fn arrive_late_dropped(&mut self, arrival: Arrival, kind: DropKind, facts: u64, round: &mut WorkRound<'_>) {
        // What a policy of type `drop` drops is not rescued.
        let keep = match kind.by_policy {
            true => None,
            false => round.policies.evidence(&arrival.summary, arrival.id),
        };
        let spans = arrival.summary.span_count;
        round.tally.late_of_dropped(keep.is_some(), spans);
        match keep {
            Some(keep) => {
                round.tally.kept(keep, Trigger::Rescue);
                round.prove(arrival.id, keep, true);
                let fragments = std::slice::from_ref(&arrival.fragment);
                round.note(arrival.id, Verdict::Kept(keep), Trigger::Rescue, &arrival.summary, fragments);
                let first =
                    DecisionFacts { at_ms: 0, trigger: Trigger::Rescue, spans: 0, late_spans: 0, drop_policy: None };
                let facts = DecisionFacts::unpack(facts).unwrap_or(first).and_late(spans);
                let facts = DecisionFacts { at_ms: round.now_ms, trigger: Trigger::Rescue, ..facts };
                self.remember_kept(arrival.hash, keep, facts, round);
                round.export(arrival.id, [arrival.fragment], keep);
            }
            None => {
                self.dropped_ids.amend_facts(kind.hash(arrival.hash), |facts| DecisionFacts::with_late(facts, spans));
                let policy = DecisionFacts::unpack(facts).and_then(|facts| facts.drop_policy);
                round.sampled_out(arrival.id, arrival.fragment, policy, kind.is_unrepresented);
            }
        }
    }

    fn begin(&mut self, arrival: Arrival, round: &mut WorkRound<'_>) {
        let Arrival { id, hash, summary, fragment } = arrival;
        let has_root = summary.has_root;
        let due = Moment::new(round.now_ms + round.limits.decision_ms);
        let state = HeldState::Pending { due, trigger: Trigger::DecisionWait };
        let trace = HeldTrace { id, summary, fragments: SmallVec::from_iter([fragment]), state };
        self.held.add(&trace);
        if let Some(keep) = round.proven(trace.id, &trace.summary) {
            return self.keep(trace, hash, keep, Trigger::Evidence, round);
        }
        let is_full = round.limits.is_full(&trace.summary);
        let slot = self.traces.insert(trace);
        self.index.insert(hash, slot);
        if is_full {
            return self.decide(slot, Trigger::TraceSize, round);
        }
        self.waiting.push(due, slot);
        prune(&mut self.waiting, &self.traces);
        if has_root {
            self.root_arrived(slot, round);
        }
        self.plan_report(slot, round);
    }

    fn keep_held(&mut self, slot: SlotNumber, hash: u64, keep: Keep, trigger: Trigger, round: &mut WorkRound<'_>) {
        if let Some(trace) = self.take_out(slot, hash) {
            self.keep(trace, hash, keep, trigger, round);
        }
    }

    /// Removes a trace from slots and index.
    fn take_out(&mut self, slot: SlotNumber, hash: u64) -> Option<HeldTrace> {
        self.index.remove(hash, slot);
        self.take_out_of_slot(slot)
    }

    /// Removes a trace from the slots. The index still has its entry, which the caller must remove.
    fn take_out_of_slot(&mut self, slot: SlotNumber) -> Option<HeldTrace> {
        self.later.forget(slot);
        self.due_reports.forget(slot);
        self.traces.remove(slot)
    }

    /// Sends the spans of a trace to the exporter. The caller has taken the trace out of the table.
    fn keep(&mut self, trace: HeldTrace, hash: u64, keep: Keep, trigger: Trigger, round: &mut WorkRound<'_>) {
        self.held.remove(&trace);
        round.prove_if_certain(&trace, keep, trigger);
        let facts = DecisionFacts { at_ms: round.now_ms, trigger, ..trace.facts(round) };
        self.remember_kept(hash, keep, facts, round);
        round.tally.kept(keep, trigger);
        round.note(trace.id, Verdict::Kept(keep), trigger, &trace.summary, &trace.fragments);
        round.export(trace.id, trace.fragments, keep);
    }

    fn remember_kept(&mut self, hash: u64, keep: Keep, facts: DecisionFacts, round: &mut WorkRound<'_>) {
        let forgot = self.kept_ids.insert(hash, Found { value: pack(keep), facts: facts.pack() });
        round.tally.forgotten_kept_ids += u64::from(forgot);
    }

    /// Decides up to `traces_max` traces that are due at `round.now_ms`. Returns true if more may be due.
    pub(super) fn decide_due(&mut self, traces_max: usize, round: &mut WorkRound<'_>) -> bool {
        let now = Moment::new(round.now_ms);
        self.read_ahead(&self.rooted, Some(now), traces_max);
        self.read_ahead(&self.waiting, Some(now), traces_max);
        let more = round.slice(traces_max, |round| {
            let due = self.rooted.pop_due(round.now_ms).or_else(|| self.waiting.pop_due(round.now_ms));
            due.map(|due| self.decide_if_pending(due, None, round))
        });
        self.let_go_of_released(round);
        more
    }

    /// Decides up to `traces_max` pending traces, due or not. Traces whose root has come go first, because they are
    /// likely to be complete. Within each of the two groups, the oldest go first. Returns true if more are pending.
    pub(super) fn decide_oldest(&mut self, traces_max: usize, trigger: Trigger, round: &mut WorkRound<'_>) -> bool {
        self.read_ahead(&self.rooted, None, traces_max);
        self.read_ahead(&self.waiting, None, traces_max);
        let more = round.slice(traces_max, |round| {
            let due = self.rooted.pop().or_else(|| self.waiting.pop());
            due.map(|due| self.decide_if_pending(due, Some(trigger), round))
        });
        self.let_go_of_released(round);
        more
    }

    /// Decides the trace of `due`, unless that entry is stale. With `forced`, the trace may be decided before its time,
    /// with that trigger: memory is short, or the process is shutting down.
    fn decide_if_pending(&mut self, due: Due, forced: Option<Trigger>, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get(due.slot) else { return };
        let HeldState::Pending { due: at, trigger } = trace.state else { return };
        if at == due.at {
            if forced.is_none() && trace.is_stale(round.policies) && trace.is_large() {
                return self.put_off(due.slot, trigger, round);
            }
            if forced.is_none() && self.ask_owner(due.slot, trigger, round) {
                return;
            }
            round.tally.lag(at.elapsed_ms(round.now_ms));
            let own = if round.limits.fleet.is_some() { Trigger::Alone } else { trigger };
            self.decide(due.slot, forced.unwrap_or(own), round);
        }
    }

    fn decide(&mut self, slot: SlotNumber, trigger: Trigger, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get_mut(slot) else { return };
        trace.refresh(round);
        let hash = round.hash(trace.id);
        let verdict = round.verdict(&trace.summary, trace.id);
        round.shadow(trace.id, &trace.summary, verdict);
        let missing_parent = missing_parent(trace, verdict, trigger, self.sample.weight(hash), round);
        match verdict {
            Verdict::Kept(keep) => self.keep_held(slot, hash, Keep { missing_parent, ..keep }, trigger, round),
            Verdict::Dropped => self.drop_by(slot, None, trigger, round),
            Verdict::DroppedByPolicy(policy) => self.drop_by(slot, Some(policy), trigger, round),
        }
    }

    /// Drops an undecided trace, and counts it. One that a policy of type `drop` dropped cannot be rescued.
    fn drop_by(&mut self, slot: SlotNumber, policy: Option<u16>, trigger: Trigger, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get(slot) else { return };
        let verdict = policy.map_or(Verdict::Dropped, Verdict::DroppedByPolicy);
        round.note(trace.id, verdict, trigger, &trace.summary, &trace.fragments);
        let Some(policy) = policy else {
            round.tally.dropped(trigger);
            return self.drop_trace(slot, trigger, round);
        };
        round.tally.count_dropped_by_policy(policy, trigger);
        if let Some(is_unrepresented) = self.is_unrepresented(slot, round) {
            self.release(slot, trigger, Some(policy), is_unrepresented, round);
        }
    }

    /// Drops a trace. It stays rescuable for a while, but not if memory is short or the process is shutting down. The trigger
    /// of a verdict of the fleet says nothing about the memory here.
    fn drop_trace(&mut self, slot: SlotNumber, trigger: Trigger, round: &mut WorkRound<'_>) {
        let is_held = round.follows || !matches!(trigger, Trigger::Pressure | Trigger::Shutdown);
        let Some(is_unrepresented) = self.is_unrepresented(slot, round) else { return };
        let (Some(window_ms), true) = (round.limits.rescue_window_ms, is_held) else {
            return self.release(slot, trigger, None, is_unrepresented, round);
        };
        let Some(trace) = self.traces.get_mut(slot) else { return };
        let expiry = Moment::new(round.now_ms + window_ms);
        self.held.remove(trace);
        trace.state = HeldState::Dropped { expiry, trigger, notes: DropNotes::new(is_unrepresented) };
        self.held.add(trace);
        self.rescuable.push(expiry, slot);
        prune(&mut self.rescuable, &self.traces);
        if !round.follows {
            self.plan_report(slot, round);
        }
    }

    /// Returns true if no policy could have kept the trace in this slot.
    fn is_unrepresented(&self, slot: SlotNumber, round: &WorkRound<'_>) -> Option<bool> {
        let policies = round.policies;
        self.traces.get(slot).map(|trace| policies.counted() != 0 && !policies.may_keep(&trace.summary))
    }

    /// Returns the end of the rescue window of the oldest rescuable trace.
    pub(super) fn first_rescuable(&self) -> Option<Moment> {
        self.rescuable.first()
    }

    /// Releases up to `traces_max` rescuable traces, the oldest first; with `until`, only those whose window ends by then.
    /// Returns the number of entries of the queue that it has removed.
    pub(super) fn release_rescuable(
        &mut self,
        until: Option<Moment>,
        traces_max: usize,
        round: &mut WorkRound<'_>,
    ) -> usize {
        let before = self.rescuable.len();
        self.read_ahead(&self.rescuable, until, traces_max);
        self.read_index_ahead(&self.rescuable, until, traces_max, round);
        round.slice(traces_max, |round| {
            let due = match until {
                Some(until) => self.rescuable.pop_until(until),
                None => self.rescuable.pop(),
            };
            due.map(|due| self.release_if_rescuable(due, round))
        });
        let removed = before - self.rescuable.len();
        self.let_go_of_released(round);
        removed
    }

    fn release_if_rescuable(&mut self, due: Due, round: &mut WorkRound<'_>) {
        let Some(trace) = self.traces.get(due.slot) else { return };
        if let HeldState::Dropped { expiry, trigger, notes } = trace.state
            && expiry == due.at
        {
            self.release(due.slot, trigger, None, notes.is_unrepresented(), round);
        }
    }

    /// Gives back the memory that remains after a burst.
    pub(super) fn shrink(&mut self) {
        self.traces.shrink();
        self.index.shrink();
        for queue in [&mut self.waiting, &mut self.rooted, &mut self.rescuable] {
            queue.shrink();
        }
        self.due_reports.shrink();
    }
}

/// Looks for parents that have not come although the trace waited for them. For a kept trace the result goes into the
/// annotation. For a followed trace it is counted, with the number of traces that it stands for.
fn missing_parent(
    trace: &HeldTrace,
    verdict: Verdict,
    trigger: Trigger,
    weight: Option<u64>,
    round: &mut WorkRound<'_>,
) -> Option<Parent> {
    let has_waited = matches!(trigger, Trigger::DecisionWait | Trigger::RootReceived);
    let is_asked = weight.is_some() || matches!(verdict, Verdict::Kept(_));
    if !has_waited || !is_asked || trace.summary.span_count > SPANS_MAX {
        return None;
    }
    round.read_bytes += trace.summary.span_bytes;
    let mut unpacked_bytes = 0;
    let mut fragments: SmallVec<[OpenFragment<'_>; 4]> = SmallVec::new();
    for fragment in &trace.fragments {
        let fragment = fragment.peek();
        unpacked_bytes += fragment.unpacked_bytes();
        fragments.push(fragment);
        if unpacked_bytes > UNPACKED_BYTES_MAX {
            break;
        }
    }
    round.read_bytes += unpacked_bytes;
    if unpacked_bytes > UNPACKED_BYTES_MAX {
        return None;
    }
    let SpanIdFindings { missing_parents, duplicate_count } = check_span_ids(&fragments);
    if let Some(weight) = weight {
        round.tally.incomplete(&missing_parents, weight);
        round.tally.duplicate_spans += duplicate_count * weight;
    }
    missing_parents.iter().map(|missing| missing.parent).min_by_key(|&parent| parent as usize)
}

/// Removes stale entries of a queue, so that its length stays in proportion to the number of traces.
#[inline]
fn prune(queue: &mut DueQueue, traces: &Slots<HeldTrace>) {
    queue.prune(traces.len(), |due| traces.get(due.slot).is_some_and(|trace| trace.state.due() == due.at));
}

/// Bytes of memory that a trace takes in the table: its slot, its entry in the index (with one byte of metadata, and
/// the slack of a hash table that is two thirds full), and its entries in two queues.
pub(super) const TRACE_BYTES: usize =
    size_of::<Option<HeldTrace>>() + (size_of::<IndexEntry>() + 1) * 3 / 2 + 2 * size_of::<Due>();

// The length of a chunk of slots relies on this size.
const _: () = assert!(size_of::<Option<HeldTrace>>() == 144);
