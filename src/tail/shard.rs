//! One shard of the trace table: the traces whose hashed id begins with the shard's number.
//!
//! A trace is pending, then either kept (its spans leave for the exporter and its id is remembered) or dropped. A
//! dropped one stays rescuable while memory and the window allow, then its id is remembered. Due times need no timer
//! wheel: each wait is one constant, so the order of arrival is the order of due times, and a queue that skips stale
//! entries is enough.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;
use smallvec::SmallVec;

use super::kept::KeptSpans;
use super::request::Fragment;
use super::table::{Millis, Waits};
use super::tally::{Tally, Trigger};
use super::verdicts::VerdictCache;
use crate::otlp::TraceId;
use crate::sampling::{Keep, Policies, Summary, Threshold, Verdict};

/// A trace whose spans are held.
#[derive(Debug)]
struct Trace {
    id: TraceId,
    hash: u64,
    summary: Summary,
    /// Spans of a trace come in two or three requests.
    fragments: SmallVec<[Fragment; 2]>,
    state: State,
}

impl Trace {
    fn add(&mut self, arrival: Arrival) {
        self.summary.merge(&arrival.summary);
        self.fragments.push(arrival.fragment);
    }

    /// A root span arrived: the trace may be due earlier, and is then to be queued so.
    fn root_arrived(&mut self, round: &Round<'_>) -> Option<Due> {
        let at_ms = round.now_ms + round.waits.after_root_ms?;
        let State::Pending { due_ms, .. } = self.state else { return None };
        (at_ms < due_ms).then(|| {
            self.state = State::Pending { due_ms: at_ms, trigger: Trigger::RootReceived };
            Due { at_ms, hash: self.hash, id: self.id }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Undecided until `due_ms`.
    Pending { due_ms: Millis, trigger: Trigger },
    /// Dropped, rescuable until `expiry_ms`.
    Dropped { expiry_ms: Millis },
}

/// When a trace is looked at again. Stale if the trace's state has moved on.
#[derive(Clone, Copy, Debug)]
struct Due {
    at_ms: Millis,
    hash: u64,
    id: TraceId,
}

/// The new spans of one trace in one request.
pub(super) struct Arrival {
    pub(super) id: TraceId,
    pub(super) hash: u64,
    pub(super) summary: Summary,
    pub(super) fragment: Fragment,
}

/// Where a round of work leaves its results.
pub(super) struct Round<'a> {
    pub(super) policies: &'a Policies,
    pub(super) waits: &'a Waits,
    pub(super) now_ms: Millis,
    pub(super) kept: &'a mut Vec<KeptSpans>,
    pub(super) tally: &'a mut Tally,
}

impl Round<'_> {
    /// These spans of the trace `id` are let go for good.
    fn sampled_out<'a>(&mut self, id: TraceId, fragments: impl IntoIterator<Item = &'a Fragment>) {
        for fragment in fragments {
            fragment.sampled_out(id);
            self.tally.sampled_out_spans += u64::from(fragment.span_count());
        }
    }
}

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Undecided traces.
    pub pending_traces: u64,
    /// Spans of undecided traces.
    pub pending_spans: u64,
    /// Dropped traces that can still be rescued.
    pub rescuable_traces: u64,
    /// Spans of dropped traces that can still be rescued.
    pub rescuable_spans: u64,
    /// Wire bytes of these spans.
    pub rescuable_bytes: u64,
}

impl Held {
    /// `summary` came to a trace that is held already.
    fn count(&mut self, state: State, summary: &Summary) {
        match state {
            State::Pending { .. } => self.pending_spans += u64::from(summary.span_count),
            State::Dropped { .. } => {
                self.rescuable_spans += u64::from(summary.span_count);
                self.rescuable_bytes += summary.span_bytes;
            }
        }
    }

    fn add(&mut self, trace: &Trace) {
        match trace.state {
            State::Pending { .. } => self.pending_traces += 1,
            State::Dropped { .. } => self.rescuable_traces += 1,
        }
        self.count(trace.state, &trace.summary);
    }

    fn remove(&mut self, trace: &Trace) {
        let spans = u64::from(trace.summary.span_count);
        match trace.state {
            State::Pending { .. } => {
                self.pending_traces -= 1;
                self.pending_spans -= spans;
            }
            State::Dropped { .. } => {
                self.rescuable_traces -= 1;
                self.rescuable_spans -= spans;
                self.rescuable_bytes -= trace.summary.span_bytes;
            }
        }
    }
}

impl std::ops::Add for Held {
    type Output = Held;

    fn add(self, other: Held) -> Held {
        Held {
            pending_traces: self.pending_traces + other.pending_traces,
            pending_spans: self.pending_spans + other.pending_spans,
            rescuable_traces: self.rescuable_traces + other.rescuable_traces,
            rescuable_spans: self.rescuable_spans + other.rescuable_spans,
            rescuable_bytes: self.rescuable_bytes + other.rescuable_bytes,
        }
    }
}

#[derive(Debug)]
pub(super) struct Shard {
    traces: HashTable<Trace>,
    /// Pending traces by their `decision_wait`.
    waiting: VecDeque<Due>,
    /// Pending traces by their `decision_wait_after_root_received`.
    rooted: VecDeque<Due>,
    /// Dropped traces by the end of their rescue window.
    rescuable: VecDeque<Due>,
    kept_ids: VerdictCache,
    dropped_ids: VerdictCache,
    held: Held,
}

impl Shard {
    pub(super) fn new(waits: &Waits) -> Self {
        Shard {
            traces: HashTable::new(),
            waiting: VecDeque::new(),
            rooted: VecDeque::new(),
            rescuable: VecDeque::new(),
            kept_ids: VerdictCache::with_values(waits.kept_ids_per_shard),
            dropped_ids: VerdictCache::without_values(waits.dropped_ids_per_shard),
            held: Held::default(),
        }
    }

    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// Remembers a verdict of an earlier process.
    pub(super) fn recall(&mut self, hash: u64, keep: Keep) {
        self.kept_ids.insert(hash, pack(keep));
    }

    /// Every held trace with the number of its spans, and whether it is undecided.
    #[cfg(test)]
    pub(super) fn census(&self) -> impl Iterator<Item = (TraceId, u64, bool)> {
        self.traces.iter().map(|trace| {
            let pending = matches!(trace.state, State::Pending { .. });
            (trace.id, u64::from(trace.summary.span_count), pending)
        })
    }

    /// Takes in the spans of one trace.
    pub(super) fn arrive(&mut self, arrival: Arrival, round: &mut Round<'_>) {
        let Ok(mut entry) = self.traces.find_entry(arrival.hash, |trace| trace.id == arrival.id) else {
            self.arrive_unknown(arrival, round);
            return;
        };
        if let State::Dropped { .. } = entry.get().state {
            if let Some((trace, keep)) = arrive_rescuable(entry, &mut self.held, arrival, round) {
                self.keep(trace, keep, Trigger::Rescue, round);
            }
            return;
        }
        let trace = entry.get_mut();
        let is_root = arrival.summary.has_root;
        self.held.count(trace.state, &arrival.summary);
        trace.add(arrival);
        if let Some(keep) = round.policies.proven(&trace.summary) {
            let (trace, _) = entry.remove();
            self.keep(trace, keep, Trigger::Evidence, round);
        } else if round.waits.is_full(&trace.summary) {
            let (trace, _) = entry.remove();
            self.decide(trace, Trigger::TraceSize, round);
        } else if is_root {
            self.rooted.extend(trace.root_arrived(round));
        }
    }

    /// Spans of a trace that is not held: late ones follow the verdict, others begin a trace. A veto is final.
    fn arrive_unknown(&mut self, arrival: Arrival, round: &mut Round<'_>) {
        if let Some(packed) = self.kept_ids.get(arrival.hash) {
            round.tally.late_kept_spans += u64::from(arrival.summary.span_count);
            round.kept.push(KeptSpans::new(arrival.fragment, arrival.id, unpack(packed)));
        } else if self.dropped_ids.get(arrival.hash).is_some() {
            self.arrive_late_dropped(arrival, round);
        } else if self.dropped_ids.get(vetoed(arrival.hash)).is_some() {
            round.tally.late_of_dropped(false, arrival.summary.span_count);
            round.sampled_out(arrival.id, [&arrival.fragment]);
        } else {
            self.begin(arrival, round);
        }
    }

    /// Late spans of a trace that is gone. An error among them is still an error: it is kept, and so is what follows.
    fn arrive_late_dropped(&mut self, arrival: Arrival, round: &mut Round<'_>) {
        let keep = round.policies.evidence(&arrival.summary, arrival.id);
        round.tally.late_of_dropped(keep.is_some(), arrival.summary.span_count);
        match keep {
            Some(keep) => {
                round.tally.kept(keep, Trigger::Rescue);
                self.kept_ids.insert(arrival.hash, pack(keep));
                round.kept.push(KeptSpans::new(arrival.fragment, arrival.id, keep));
            }
            None => round.sampled_out(arrival.id, [&arrival.fragment]),
        }
    }

    fn begin(&mut self, arrival: Arrival, round: &mut Round<'_>) {
        let Arrival { id, hash, summary, fragment } = arrival;
        let due_ms = round.now_ms + round.waits.decision_ms;
        let state = State::Pending { due_ms, trigger: Trigger::DecisionWait };
        let mut trace = Trace { id, hash, summary, fragments: SmallVec::from_iter([fragment]), state };
        self.held.add(&trace);
        if let Some(keep) = round.policies.proven(&trace.summary) {
            return self.keep(trace, keep, Trigger::Evidence, round);
        }
        if round.waits.is_full(&trace.summary) {
            return self.decide(trace, Trigger::TraceSize, round);
        }
        self.waiting.push_back(Due { at_ms: due_ms, hash, id });
        if trace.summary.has_root {
            self.rooted.extend(trace.root_arrived(round));
        }
        self.traces.insert_unique(hash, trace, |trace| trace.hash);
    }

    /// Sends the spans of a trace (which the caller has taken out of the table) on to the exporter.
    fn keep(&mut self, trace: Trace, keep: Keep, trigger: Trigger, round: &mut Round<'_>) {
        self.held.remove(&trace);
        self.kept_ids.insert(trace.hash, pack(keep));
        round.tally.kept(keep, trigger);
        let id = trace.id;
        round.kept.extend(trace.fragments.into_iter().map(|fragment| KeptSpans::new(fragment, id, keep)));
    }

    /// Decides up to `traces_max` traces that are due at `round.now_ms`; true if more may be due.
    pub(super) fn decide_due(&mut self, traces_max: usize, round: &mut Round<'_>) -> bool {
        for _ in 0..traces_max {
            let due = pop_due(&mut self.rooted, round.now_ms).or_else(|| pop_due(&mut self.waiting, round.now_ms));
            let Some(due) = due else { return false };
            self.decide_if_pending(due, None, round);
        }
        true
    }

    /// Decides up to `traces_max` of the oldest pending traces, due or not; true if more are pending.
    pub(super) fn decide_oldest(&mut self, traces_max: usize, trigger: Trigger, round: &mut Round<'_>) -> bool {
        for _ in 0..traces_max {
            let Some(due) = self.waiting.pop_front() else { return false };
            self.decide_if_pending(due, Some(trigger), round);
        }
        true
    }

    /// Decides the trace of `due` unless that entry is stale. With `forced`, before its time and for good: memory is
    /// short or the process stops.
    fn decide_if_pending(&mut self, due: Due, forced: Option<Trigger>, round: &mut Round<'_>) {
        let Ok(entry) = self.traces.find_entry(due.hash, |trace| trace.id == due.id) else { return };
        let State::Pending { due_ms, trigger } = entry.get().state else { return };
        if due_ms != due.at_ms && forced.is_none() {
            return;
        }
        let (trace, _) = entry.remove();
        round.tally.lag(round.now_ms.saturating_sub(due_ms));
        self.decide(trace, forced.unwrap_or(trigger), round);
    }

    /// Decides a trace, which the caller has taken out of the table.
    fn decide(&mut self, trace: Trace, trigger: Trigger, round: &mut Round<'_>) {
        match round.policies.decide(&trace.summary, trace.id, round.now_ms) {
            Verdict::Kept(keep) => self.keep(trace, keep, trigger, round),
            Verdict::Dropped => {
                round.tally.dropped(trigger);
                self.drop_trace(trace, trigger, round);
            }
            Verdict::Vetoed(policy) => {
                round.tally.vetoed(policy, trigger);
                self.let_go(&trace, vetoed(trace.hash), round);
            }
        }
    }

    /// Drops a trace: rescuable for a while, or for good if memory is short or the process stops.
    fn drop_trace(&mut self, mut trace: Trace, trigger: Trigger, round: &mut Round<'_>) {
        let is_held = !matches!(trigger, Trigger::Pressure | Trigger::Shutdown);
        let (Some(window_ms), true) = (round.waits.rescue_window_ms, is_held) else {
            self.let_go(&trace, trace.hash, round);
            return;
        };
        let expiry_ms = round.now_ms + window_ms;
        self.held.remove(&trace);
        trace.state = State::Dropped { expiry_ms };
        self.held.add(&trace);
        self.rescuable.push_back(Due { at_ms: expiry_ms, hash: trace.hash, id: trace.id });
        self.traces.insert_unique(trace.hash, trace, |trace| trace.hash);
    }

    /// Remembers a dropped trace, whose spans the caller releases, by this hash of its id.
    fn let_go(&mut self, trace: &Trace, hash: u64, round: &mut Round<'_>) {
        self.held.remove(trace);
        self.dropped_ids.insert(hash, 0);
        round.sampled_out(trace.id, &trace.fragments);
    }

    /// Lets go of up to `traces_max` rescuable traces whose window has ended; true if more may be waiting for it.
    pub(super) fn expire_rescuable(&mut self, traces_max: usize, round: &mut Round<'_>) -> bool {
        for _ in 0..traces_max {
            let Some(due) = pop_due(&mut self.rescuable, round.now_ms) else { return false };
            self.let_go_if_rescuable(due, round);
        }
        true
    }

    /// Lets go of up to `traces_max` of the oldest rescuable traces; true if more are left.
    pub(super) fn shed_rescuable(&mut self, traces_max: usize, round: &mut Round<'_>) -> bool {
        for _ in 0..traces_max {
            let Some(due) = self.rescuable.pop_front() else { return false };
            self.let_go_if_rescuable(due, round);
        }
        true
    }

    fn let_go_if_rescuable(&mut self, due: Due, round: &mut Round<'_>) {
        let Ok(entry) = self.traces.find_entry(due.hash, |trace| trace.id == due.id) else { return };
        if entry.get().state == (State::Dropped { expiry_ms: due.at_ms }) {
            let (trace, _) = entry.remove();
            self.let_go(&trace, trace.hash, round);
        }
    }

    /// Gives back the memory of a burst that is over.
    pub(super) fn shrink(&mut self) {
        let live = self.traces.len();
        if self.traces.capacity() > 4 * live.max(64) {
            self.traces.shrink_to(2 * live, |trace| trace.hash);
        }
        for queue in [&mut self.waiting, &mut self.rooted, &mut self.rescuable] {
            if queue.capacity() > 4 * queue.len().max(64) {
                queue.shrink_to(2 * queue.len());
            }
        }
    }
}

/// Late spans of a dropped trace that is held in `held`: they prove the drop wrong, and the trace is taken out, or they
/// are held with the others. A full trace grows no further.
fn arrive_rescuable(
    mut entry: OccupiedEntry<'_, Trace>,
    held: &mut Held,
    arrival: Arrival,
    round: &mut Round<'_>,
) -> Option<(Trace, Keep)> {
    let trace = entry.get_mut();
    let mut summary = trace.summary.clone();
    summary.merge(&arrival.summary);
    let keep = round.policies.rescue(&summary, trace.id);
    round.tally.late_of_dropped(keep.is_some(), arrival.summary.span_count);
    if keep.is_none() && round.waits.is_full(&trace.summary) {
        round.sampled_out(arrival.id, [&arrival.fragment]);
        return None;
    }
    held.count(trace.state, &arrival.summary);
    trace.add(arrival);
    keep.map(|keep| (entry.remove().0, keep))
}

fn pop_due(queue: &mut VecDeque<Due>, now_ms: Millis) -> Option<Due> {
    if queue.front()?.at_ms <= now_ms { queue.pop_front() } else { None }
}

/// The hash by which a trace is remembered that was dropped for good. Ids of one shard share the high bits of their
/// hashes, so with the highest one changed it is the hash of no other; it falls into the same bucket.
fn vetoed(hash: u64) -> u64 {
    hash ^ 1 << (u64::BITS - 1)
}

/// Policy in the high 16 bits, then a bit for each mark, then the high bits of the threshold: what is cut off is far below
/// the precision of an adjusted count.
fn pack(keep: Keep) -> u64 {
    u64::from(keep.policy) << 48 | u64::from(keep.rescued) << RESCUED_BIT | keep.threshold.get() >> CUT_BITS
}

fn unpack(packed: u64) -> Keep {
    Keep {
        rescued: packed >> RESCUED_BIT & 1 == 1,
        ..Keep::new((packed >> 48) as u16, Threshold::from_bits((packed & ((1 << RESCUED_BIT) - 1)) << CUT_BITS))
    }
}

const RESCUED_BIT: u32 = 47;
/// Bits of a threshold, which has 56, that are not remembered.
const CUT_BITS: u32 = 56 - RESCUED_BIT;

/// The memory that an entry of the table takes, with the slack of a hash table that is two thirds full and the
/// entries of the queues.
pub(super) const TRACE_BYTES: usize = size_of::<Trace>() * 3 / 2 + 2 * size_of::<Due>();
