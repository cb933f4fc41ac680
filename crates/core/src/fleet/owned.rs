//! The traces that a member owns: the summaries of their holders, and the verdicts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::view::MemberId;
use crate::otlp::TraceId;
use crate::sampling::{Keep, Summary};
use crate::tail::packed::{pack, unpack};
use crate::tail::table::Millis;
use crate::tail::tally::Trigger;
use crate::tail::verdicts::{Columns, Found, VerdictCache};

/// The most members that can hold parts of one trace. Summaries of further ones are ignored.
const HOLDERS_MAX: usize = 256;

/// The holders from which on the sum of their summaries is kept, so that a new summary costs the same however many there are.
const SUM_MIN: usize = 8;

/// Stale entries of the queue that are not worth a search.
const STALE_MIN: usize = 64;

/// A member that has spans of a trace.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) id: MemberId,
    pub(super) summary: Summary,
    /// True if the trace is undecided there.
    pub(super) waits: bool,
    /// True if its wait is not over there.
    pub(super) may_grow: bool,
}

/// The phase of a trace that is remembered with its summaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is undecided until `Entry::due_ms`.
    Waiting,
    /// It is dropped. Late spans can rescue it until `Entry::due_ms`.
    Dropped,
}

impl Phase {
    const ALL: [Phase; 2] = [Phase::Waiting, Phase::Dropped];
}

/// A trace with the summaries of its holders.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) holders: SmallVec<[Holder; 2]>,
    pub(super) phase: Phase,
    pub(super) due_ms: Millis,
    pub(super) trigger: Trigger,
    /// The time of the last summary of a holder whose wait was not over.
    pub(super) active_ms: Millis,
    /// True if `due_ms` was put off for such holders.
    pub(super) is_put_off: bool,
    /// The number of changes of the owners before the last summary came.
    pub(super) view: u32,
    /// All summaries together, if there are many.
    sum: Option<Box<Summary>>,
}

impl Entry {
    /// Returns an entry whose first summary has not come yet.
    pub(super) fn new(phase: Phase, due_ms: Millis, trigger: Trigger) -> Self {
        let (holders, active_ms, is_put_off, view, sum) = (SmallVec::new(), 0, false, 0, None);
        Entry { holders, phase, due_ms, trigger, active_ms, is_put_off, view, sum }
    }

    /// Returns the summary of all spans, for policies of this generation.
    pub(super) fn merged(&self, generation: u16) -> Summary {
        match &self.sum {
            Some(sum) => sum.as_ref().clone(),
            None => sum_of(&self.holders, generation),
        }
    }

    /// Returns the bytes on the heap: those of the holders after the second one, and those of keys.
    fn heap_bytes(&self) -> usize {
        let holders = if self.holders.spilled() { self.holders.capacity() * size_of::<Holder>() } else { 0 };
        let sum = self.sum.as_ref().map_or(0, |sum| size_of::<Summary>() + sum.heap_bytes());
        holders + sum + self.holders.iter().map(|holder| holder.summary.heap_bytes()).sum::<usize>()
    }

    /// Takes the summary of a holder in place of an earlier one. Returns false if nothing is new.
    pub(super) fn take(&mut self, holder: Holder) -> bool {
        let Some(known) = self.holders.iter_mut().find(|known| known.id == holder.id) else {
            return self.take_first(holder);
        };
        (known.waits, known.may_grow) = (holder.waits, holder.may_grow);
        // Messages can overtake each other. A trace only grows.
        let is_new = holder.summary.span_count > known.summary.span_count;
        if is_new {
            let before = std::mem::replace(&mut known.summary, holder.summary);
            if let Some(sum) = &mut self.sum {
                sum.grow(&before, &known.summary);
            }
        }
        is_new
    }

    /// Takes the first summary of a holder. Returns false if there are too many.
    fn take_first(&mut self, holder: Holder) -> bool {
        if self.holders.len() >= HOLDERS_MAX {
            return false;
        }
        self.holders.push(holder);
        match (&mut self.sum, self.holders.last()) {
            (Some(sum), Some(last)) => sum.merge(&last.summary),
            _ => self.sum_up(),
        }
        true
    }

    /// Notes that the trace is decided at all holders.
    pub(super) fn end_waits(&mut self) {
        self.holders.iter_mut().for_each(|holder| holder.waits = false);
    }

    /// Sums the summaries up, if there are many.
    fn sum_up(&mut self) {
        let last = self.holders.last().filter(|_| self.holders.len() >= SUM_MIN);
        self.sum = last.map(|last| Box::new(sum_of(&self.holders, last.summary.generation)));
    }
}

fn sum_of(holders: &[Holder], generation: u16) -> Summary {
    let mut sum = Summary::of_generation(generation);
    holders.iter().for_each(|holder| sum.merge(&holder.summary));
    sum
}

/// A verdict that is remembered without summaries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Known {
    Kept(Keep),
    Dropped,
    DroppedByPolicy(u16),
}

type Entries = HashMap<TraceId, Entry, SeedableRandomState>;

/// Times, the earliest first, each with the trace.
type DueTimes = BinaryHeap<Reverse<(Millis, [u8; 16])>>;

/// Returns true if this is the time of an entry, in this phase.
fn is_due(entries: &Entries, id: TraceId, phase: Phase, at_ms: Millis) -> bool {
    entries.get(&id).is_some_and(|entry| entry.due_ms == at_ms && entry.phase == phase)
}

/// The traces that a member owns.
#[derive(Debug)]
pub(super) struct Owned {
    entries: Entries,
    /// The bytes that the entries take on the heap.
    entry_heap_bytes: usize,
    /// The times of the entries of each phase; stale ones included.
    due: [DueTimes; Phase::ALL.len()],
    kept: VerdictCache,
    dropped: VerdictCache,
    cache_bytes: usize,
}

impl Owned {
    pub(super) fn new(kept_ids: usize, dropped_ids: usize, hasher: SeedableRandomState) -> Self {
        let columns = Columns { values: true, facts: false };
        Owned {
            entries: HashMap::with_hasher(hasher),
            entry_heap_bytes: 0,
            due: [BinaryHeap::new(), BinaryHeap::new()],
            kept: VerdictCache::new(kept_ids, columns),
            dropped: VerdictCache::new(dropped_ids, columns),
            cache_bytes: VerdictCache::bytes_max(kept_ids, columns) + VerdictCache::bytes_max(dropped_ids, columns),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: TraceId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TraceId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: TraceId, entry: Entry) {
        self.remove(id);
        self.queue(id, entry.phase, entry.due_ms);
        self.entry_heap_bytes += entry.heap_bytes();
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: TraceId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.entry_heap_bytes -= entry.heap_bytes();
        Some(entry)
    }

    /// Takes the summary of a holder of a trace. Returns true if it says something new, and the phase of the trace; `None`
    /// for a trace without an entry.
    pub(super) fn take(&mut self, id: TraceId, holder: Holder) -> Option<(bool, Phase)> {
        let entry = self.entries.get_mut(&id)?;
        self.entry_heap_bytes -= entry.heap_bytes();
        let is_new = entry.take(holder);
        self.entry_heap_bytes += entry.heap_bytes();
        Some((is_new, entry.phase))
    }

    /// Removes some holders of a trace, and the entry if none is left.
    pub(super) fn retain_holders(&mut self, id: TraceId, is_kept: impl Fn(MemberId) -> bool) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.holders.iter().all(|holder| is_kept(holder.id)) {
            return;
        }
        self.entry_heap_bytes -= entry.heap_bytes();
        entry.holders.retain(|holder| is_kept(holder.id));
        entry.sum_up();
        self.entry_heap_bytes += entry.heap_bytes();
        if entry.holders.is_empty() {
            self.remove(id);
        }
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.entry_heap_bytes = 0;
    }

    /// Returns the bytes that the entries take.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entries.len() * size_of::<(TraceId, Entry)>() + self.entry_heap_bytes
    }

    /// Brings the time of an undecided entry forward, unless it was put off.
    pub(super) fn bring_forward(&mut self, id: TraceId, due_ms: Millis, trigger: Trigger) {
        let is_later = |entry: &&mut Entry| due_ms < entry.due_ms && !entry.is_put_off;
        let Some(entry) = self.entries.get_mut(&id).filter(is_later) else { return };
        (entry.due_ms, entry.trigger) = (due_ms, trigger);
        self.queue(id, Phase::Waiting, due_ms);
    }

    /// Puts the time of an undecided entry off, once.
    pub(super) fn put_off(&mut self, id: TraceId, due_ms: Millis) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        (entry.due_ms, entry.is_put_off) = (due_ms, true);
        self.queue(id, Phase::Waiting, due_ms);
    }

    fn queue(&mut self, id: TraceId, phase: Phase, due_ms: Millis) {
        let Owned { entries, due, .. } = self;
        let due = &mut due[phase as usize];
        if due.len() > 2 * entries.len() + STALE_MIN {
            due.retain(|Reverse((at, id))| is_due(entries, TraceId(*id), phase, *at));
        }
        due.push(Reverse((due_ms, id.0)));
    }

    /// Returns the next trace whose time has come. It is not due any more afterwards.
    pub(super) fn pop_due(&mut self, now_ms: Millis) -> Option<TraceId> {
        for phase in Phase::ALL {
            while self.due[phase as usize].peek().is_some_and(|Reverse((at, _))| *at <= now_ms) {
                if let Some(id) = self.pop(phase) {
                    return Some(id);
                }
            }
        }
        None
    }

    /// Returns the trace that is given up first, for a time that is taken off its queue: the oldest dropped one, or else the
    /// undecided one whose time comes first.
    pub(super) fn pop_first(&mut self) -> Option<(TraceId, Phase)> {
        for phase in [Phase::Dropped, Phase::Waiting] {
            while !self.due[phase as usize].is_empty() {
                if let Some(id) = self.pop(phase) {
                    return Some((id, phase));
                }
            }
        }
        None
    }

    /// Takes the first time off a queue. Returns its trace if the time is not stale.
    fn pop(&mut self, phase: Phase) -> Option<TraceId> {
        let Reverse((at, id)) = self.due[phase as usize].pop()?;
        let id = TraceId(id);
        is_due(&self.entries, id, phase, at).then_some(id)
    }

    fn hash(&self, id: TraceId) -> u64 {
        self.entries.hasher().hash_one(u128::from_ne_bytes(id.0))
    }

    /// Returns the remembered verdict on a trace without an entry.
    pub(super) fn known(&mut self, id: TraceId) -> Option<Known> {
        let hash = self.hash(id);
        if let Some(found) = self.kept.get(hash) {
            return Some(Known::Kept(unpack(found.value)));
        }
        let found = self.dropped.get(hash)?;
        Some(found.value.checked_sub(1).map_or(Known::Dropped, |policy| Known::DroppedByPolicy(policy as u16)))
    }

    /// Remembers that a trace is kept. Returns false if it was known, with a threshold that is as low.
    pub(super) fn remember_kept(&mut self, id: TraceId, keep: Keep) -> bool {
        let hash = self.hash(id);
        match self.kept.get(hash).map(|found| unpack(found.value)) {
            Some(known) if known.threshold <= keep.threshold => return false,
            Some(_) => self.kept.replace(hash, pack(keep)),
            None => _ = self.kept.insert(hash, Found { value: pack(keep), facts: 0 }),
        }
        true
    }

    /// Remembers that a trace is dropped; by a policy of type `drop` if there is one.
    pub(super) fn remember_dropped(&mut self, id: TraceId, policy: Option<u16>) {
        let hash = self.hash(id);
        let value = policy.map_or(0, |policy| u64::from(policy) + 1);
        match self.dropped.get(hash) {
            Some(_) => self.dropped.replace(hash, value),
            None => _ = self.dropped.insert(hash, Found { value, facts: 0 }),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let due: usize = self.due.iter().map(|due| due.capacity() * size_of::<Reverse<(Millis, [u8; 16])>>()).sum();
        self.entries.allocation_size() + self.entry_heap_bytes + due
    }

    /// Returns the most bytes of the remembered verdicts.
    pub(super) fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }
}
