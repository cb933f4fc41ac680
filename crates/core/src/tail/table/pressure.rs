//! Room for requests: what the table lets go of, and what it decides early, when memory or the disk is short. The marks are
//! those of [`ladder`].

use super::{Millis, NoRoom, RoundOutcome, SHARDS, SLICE_TRACES, Table};
use crate::budget::{Room, Share, ladder};
use crate::tail::tally::Trigger;

/// Traces of each shard that one slice of relief decides or lets go.
const RELIEF_SLICE_TRACES: usize = SLICE_TRACES / SHARDS;

/// Traces of each shard that one slice decides or lets go to make room on the disk.
const DISK_SLICE_TRACES: usize = 32;

/// The time, in milliseconds, within which the rescue windows end of traces that are let go in any order.
const SHED_STEP_MS: u32 = 100;

/// The most traces that are decided or let go to make room for one request: a few milliseconds of work.
const RELIEF_TRACES_MAX: usize = 4_096;

impl Table {
    /// Makes room before it is needed. Lets go of rescuable traces if they exceed their part of the budget or if more
    /// than [`ladder::RESCUE`] of the budget is used, and decides the oldest traces if more than [`ladder::EARLY`] of it
    /// is used.
    /// Does a bounded slice of work, and returns true if there is more to do.
    pub fn relieve(&self, now_ms: Millis, out: &mut RoundOutcome) -> bool {
        let rescue_bytes_max = self.in_force.see().limits.rescue_bytes_max;
        let is_over = self.shards.rescuable_bytes() > rescue_bytes_max || self.budget.over(ladder::RESCUE) > 0;
        if is_over && self.shed(RELIEF_SLICE_TRACES * SHARDS, now_ms, out) {
            return true;
        }
        self.budget.over(ladder::EARLY) > 0 && self.decide_early(RELIEF_SLICE_TRACES, now_ms, out)
    }

    /// Does the same as [`Table::relieve`] while the journal's disk is short of space. One call does one slice, because
    /// the space that it frees shows only a moment later.
    pub fn relieve_disk(&self, now_ms: Millis, out: &mut RoundOutcome) {
        let Some(disk) = self.budget.disk() else { return };
        let shed = disk.is_over(ladder::RESCUE) && self.shed(DISK_SLICE_TRACES * SHARDS, now_ms, out);
        if disk.is_over(ladder::EARLY) && !shed {
            self.decide_early(DISK_SLICE_TRACES, now_ms, out);
        }
    }

    /// Reserves `bytes` for a request. If they do not fit, lets go of rescuable traces and then decides the oldest
    /// ones, up to a limit for each request. Returns `None` if there is still no room.
    pub fn admit(&self, bytes: usize, now_ms: Millis, out: &mut RoundOutcome) -> Option<Share> {
        self.make_room(|| self.budget.reserve(bytes), now_ms, out)
    }

    /// Does the same as [`Table::admit`] for more bytes of the request that has `share`. If there is no room, takes
    /// them from the reserve.
    pub fn admit_beside(&self, share: &Share, bytes: usize, now_ms: Millis, out: &mut RoundOutcome) -> Option<Share> {
        self.admit(bytes, now_ms, out).or_else(|| share.of_reserve(bytes))
    }

    /// Reserves room for a body of `bytes`, in the way that [`Table::admit`] reserves bytes.
    pub fn room(&self, bytes: usize, now_ms: Millis, out: &mut RoundOutcome) -> Option<Room> {
        self.make_room(|| self.budget.room(bytes), now_ms, out)
    }

    fn make_room<T>(&self, take: impl Fn() -> Option<T>, now_ms: Millis, out: &mut RoundOutcome) -> Option<T> {
        let mut traces_left = RELIEF_TRACES_MAX;
        loop {
            if let Some(taken) = take() {
                return Some(taken);
            }
            traces_left = traces_left.checked_sub(SHARDS)?;
            if !self.shed(SHARDS, now_ms, out) && !self.decide_early(1, now_ms, out) {
                return take();
            }
        }
    }

    /// Returns the reason why there is no room for the `needed_bytes` of a request.
    #[must_use]
    pub fn no_room(&self, needed_bytes: usize) -> NoRoom {
        let free_bytes = self.budget.limit_bytes().saturating_sub(self.fixed_bytes());
        if needed_bytes > free_bytes { NoRoom::Ever { needed_bytes, free_bytes } } else { NoRoom::Now }
    }

    /// Releases up to `traces_max` rescuable traces, the oldest first. Returns true if there was any.
    ///
    /// The shards do not release equal numbers, because then a shard that gets few traces would run empty, while another one
    /// would keep old traces, and with them the memory that they share with many others.
    fn shed(&self, traces_max: usize, now_ms: Millis, out: &mut RoundOutcome) -> bool {
        let (mut left, mut in_force) = (traces_max, self.in_force.see());
        while left > 0
            && let Some(first) = self.shards.first_rescuable()
        {
            let (until, each) = (first.after(SHED_STEP_MS), left.div_ceil(SHARDS));
            for at in (0..self.shards.count()).filter(|&at| self.shards.has_rescuable(at, until)) {
                let mut shard = self.shards.lock(at);
                self.in_force.refresh(&mut in_force);
                let shed = shard.release_rescuable(Some(until), each, &mut self.round(&in_force, now_ms, out));
                left = left.saturating_sub(shed);
            }
        }
        left < traces_max
    }

    fn decide_early(&self, traces_max: usize, now_ms: Millis, out: &mut RoundOutcome) -> bool {
        self.each_shard(now_ms, out, |shard, round| shard.decide_oldest(traces_max, Trigger::Pressure, round))
    }
}
