//! Queues of the times at which traces are looked at again.
//!
//! Each kind of wait has one constant length, so traces become due in the order in which they come. A queue that skips
//! stale entries is enough; there is no timer wheel. Only after a wait was shortened, later traces can be due before
//! earlier ones, for as long as the earlier wait was.

use std::collections::VecDeque;

use super::slots::SlotNumber;
use super::table::Millis;

/// The low 32 bits of a time in milliseconds. They are enough to order two times that are at most 24 days apart, and no
/// wait is longer than hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u32);

impl Moment {
    pub(super) fn new(at_ms: Millis) -> Self {
        Moment(at_ms as u32)
    }

    /// Returns the earliest of `moments`.
    pub(super) fn first_of(moments: impl Iterator<Item = Moment>) -> Option<Moment> {
        moments.reduce(|first, next| if next.is_before(first) { next } else { first })
    }

    /// Returns the moment `ms` later.
    pub(super) fn after(self, ms: u32) -> Moment {
        Moment(self.0.wrapping_add(ms))
    }

    /// Returns the 32 bits, from which [`Moment::new`] makes the same moment.
    pub(super) fn as_u32(self) -> u32 {
        self.0
    }

    pub(super) fn is_before(self, other: Moment) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// Returns the time of this moment in full. It is at most 24 days from `now_ms`.
    pub(super) fn near(self, now_ms: Millis) -> Millis {
        now_ms.saturating_add_signed(i64::from(self.0.wrapping_sub(now_ms as u32).cast_signed()))
    }

    /// Returns the milliseconds from this moment to `now_ms`; 0 if the moment has not come yet.
    pub(super) fn elapsed_ms(self, now_ms: Millis) -> u64 {
        u64::from((now_ms as u32).wrapping_sub(self.0).cast_signed().max(0).cast_unsigned())
    }

    /// Returns the time of this moment, or `now_ms` if the moment has come.
    pub(super) fn not_before(self, now_ms: Millis) -> Millis {
        now_ms + u64::from(self.0.wrapping_sub(now_ms as u32).cast_signed().max(0).cast_unsigned())
    }
}

/// An entry of a queue: the trace in `slot` is looked at again `at` this moment. The entry is stale, and is skipped, if
/// the slot is empty or if the state of its trace has another moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Moment,
    pub(super) slot: SlotNumber,
}

/// Number of stale entries that are not worth a search.
const STALE_MIN: usize = 64;

/// Entries in the order of their moments.
#[derive(Debug, Default)]
pub(super) struct DueQueue {
    entries: VecDeque<Due>,
    /// The moment of the first entry. It is here, too, because it is asked for when only the end of the queue is in the
    /// processor's cache.
    first: Option<Moment>,
}

impl DueQueue {
    #[inline]
    pub(super) fn push(&mut self, at: Moment, slot: SlotNumber) {
        let due = Due { at, slot };
        match self.entries.back() {
            Some(last) if at.is_before(last.at) => {
                self.entries.insert(self.entries.partition_point(|d| !at.is_before(d.at)), due);
            }
            _ => self.entries.push_back(due),
        }
        if self.first.is_none_or(|first| at.is_before(first)) {
            self.first = Some(at);
        }
    }

    /// Removes the stale entries once they may be half of all. `traces_held` is the most live entries that there can
    /// be. A trace can go long before its moment, and its memory with it. Without this, a sender whose traces are kept
    /// early would fill the queue for the whole wait with memory that is not accounted for. The cost is one look at an
    /// entry for each push.
    #[inline]
    pub(super) fn prune(&mut self, traces_held: usize, is_live: impl Fn(Due) -> bool) {
        if self.entries.len() > 2 * traces_held + STALE_MIN {
            self.entries.retain(|&due| is_live(due));
            self.note_first();
        }
    }

    /// Returns the moment of the first entry, which may be stale.
    pub(super) fn first(&self) -> Option<Moment> {
        self.first
    }

    /// Removes and returns the first entry, due or not.
    pub(super) fn pop(&mut self) -> Option<Due> {
        let due = self.entries.pop_front();
        self.note_first();
        due
    }

    /// Removes and returns the first entry if it is due.
    pub(super) fn pop_due(&mut self, now_ms: Millis) -> Option<Due> {
        self.pop_until(Moment::new(now_ms))
    }

    /// Removes and returns the first entry if its moment is not after `until`.
    pub(super) fn pop_until(&mut self, until: Moment) -> Option<Due> {
        if until.is_before(self.first?) { None } else { self.pop() }
    }

    fn note_first(&mut self) {
        self.first = self.entries.front().map(|due| due.at);
    }

    /// Returns the entries from the one with the number `from` on.
    pub(super) fn entries(&self, from: usize) -> impl Iterator<Item = Due> {
        self.entries.range(from.min(self.entries.len())..).copied()
    }

    /// Returns the number of entries, live and stale.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives back the memory that remains after a burst.
    pub(super) fn shrink(&mut self) {
        if self.entries.capacity() > 4 * self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

#[cfg(test)]
mod tests;
