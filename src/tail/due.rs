//! When traces are looked at again.
//!
//! Each wait is one constant, so the order of arrival is the order of due times, and a queue that skips stale entries is
//! enough: no timer wheel.

use std::collections::VecDeque;

use super::slots::Slot;
use super::table::Millis;

/// A time in milliseconds, of which the low 32 bits are kept: they tell what is over from what is not within 24 days, and
/// no wait is longer than hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u32);

impl Moment {
    pub(super) fn new(at_ms: Millis) -> Self {
        Moment(at_ms as u32)
    }

    pub(super) fn is_before(self, other: Moment) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// The milliseconds from here to `now_ms`; 0 if it has not come yet.
    pub(super) fn elapsed_ms(self, now_ms: Millis) -> u64 {
        u64::from((now_ms as u32).wrapping_sub(self.0).cast_signed().max(0).cast_unsigned())
    }
}

/// The trace in `slot` is looked at again `at` this moment. The entry is stale, and to be skipped, if none stands there any
/// more or if its state names another moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Moment,
    pub(super) slot: Slot,
}

/// So many stale entries are not worth a look.
const STALE_MIN: usize = 64;

/// Entries in the order of their moments.
#[derive(Debug, Default)]
pub(super) struct DueQueue(VecDeque<Due>);

impl DueQueue {
    pub(super) fn push(&mut self, at: Moment, slot: Slot) {
        self.0.push_back(Due { at, slot });
    }

    /// Removes the stale entries once they may be half of all. `traces_held` have one live entry each at most. A trace may go
    /// long before its moment, and its memory with it: without this, a sender whose traces are kept early would fill the
    /// queue for the whole wait, in no budget. One entry is looked at for each that was pushed.
    #[inline]
    pub(super) fn prune(&mut self, traces_held: usize, is_live: impl Fn(Due) -> bool) {
        if self.0.len() > 2 * traces_held + STALE_MIN {
            self.0.retain(|&due| is_live(due));
        }
    }

    /// The first entry, due or not.
    pub(super) fn pop(&mut self) -> Option<Due> {
        self.0.pop_front()
    }

    /// The first entry if it is due.
    pub(super) fn pop_due(&mut self, now_ms: Millis) -> Option<Due> {
        let first = self.0.front()?;
        if Moment::new(now_ms).is_before(first.at) { None } else { self.pop() }
    }

    /// The entries, live and stale.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives back the memory of a burst that is over.
    pub(super) fn shrink(&mut self) {
        if self.0.capacity() > 4 * self.0.len().max(64) {
            self.0.shrink_to(2 * self.0.len());
        }
    }
}

#[cfg(test)]
mod tests;
