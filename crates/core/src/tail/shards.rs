//! The shards of the table, each behind its own lock.
//!
//! Beside its lock each shard has a glance: what the search for due traces asks of all shards again and again. It can be
//! read without the lock, and the glances of all shards lie together in a few lines of the processor's cache. So a search
//! touches only the shards that have work.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};

use super::due::Moment;
use super::shard::Shard;
use super::table::Millis;

/// Sentinel in place of a moment: no trace is held.
const NEVER: u64 = u64::MAX;

/// A few facts about a shard, as of the last time that its lock was released.
#[derive(Debug)]
struct Glance {
    /// The moment at which a trace may have to be looked at, or [`NEVER`].
    due: AtomicU64,
    /// The end of the rescue window of the oldest rescuable trace, or [`NEVER`].
    rescuable: AtomicU64,
    rescuable_bytes: AtomicU64,
}

impl Glance {
    fn due(&self) -> Option<Moment> {
        read(&self.due)
    }

    /// Notes the facts about `shard`. Writes only what has changed, because other cores read it.
    fn update(&self, shard: &Shard) {
        let write = |to: &AtomicU64, value| {
            if to.load(Relaxed) != value {
                to.store(value, Relaxed);
            }
        };
        let as_u64 = |moment: Option<Moment>| moment.map_or(NEVER, |moment| moment.as_u32().into());
        write(&self.due, as_u64(shard.first_due()));
        write(&self.rescuable, as_u64(shard.first_rescuable()));
        write(&self.rescuable_bytes, shard.held().rescuable_bytes);
    }
}

fn read(moment: &AtomicU64) -> Option<Moment> {
    u32::try_from(moment.load(Relaxed)).ok().map(|moment| Moment::new(moment.into()))
}

/// All shards of a table.
#[derive(Debug)]
pub(super) struct Shards {
    shards: Box<[Mutex<Shard>]>,
    glances: Box<[Glance]>,
}

impl Shards {
    pub(super) fn new(shards: impl Iterator<Item = Shard>) -> Self {
        let shards: Box<[_]> = shards.map(Mutex::new).collect();
        let empty = || Glance { due: NEVER.into(), rescuable: NEVER.into(), rescuable_bytes: 0.into() };
        let glances = shards.iter().map(|_| empty()).collect();
        Shards { shards, glances }
    }

    pub(super) fn count(&self) -> usize {
        self.shards.len()
    }

    /// Locks the shard `at`, which is less than [`Shards::count`].
    pub(super) fn lock(&self, at: usize) -> LockedShard<'_> {
        LockedShard { shard: self.shards[at].lock(), glance: &self.glances[at] }
    }

    /// Locks the shards in turn, each until the iterator's next step or the end of the caller's work with it.
    pub(super) fn iter(&self) -> impl Iterator<Item = LockedShard<'_>> {
        (0..self.count()).map(|at| self.lock(at))
    }

    /// Returns true if a trace of the shard `at` may have to be looked at by `now_ms`.
    pub(super) fn is_due(&self, at: usize, now_ms: Millis) -> bool {
        self.glances[at].due().is_some_and(|due| !Moment::new(now_ms).is_before(due))
    }

    /// Returns the next time, not before `now_ms`, at which a trace may have to be looked at; `None` if no trace is held.
    pub(super) fn next_due(&self, now_ms: Millis) -> Option<Millis> {
        self.glances.iter().filter_map(Glance::due).map(|due| due.not_before(now_ms)).min()
    }

    /// Returns the end of the rescue window of the oldest rescuable trace of all shards; `None` if there is none.
    pub(super) fn first_rescuable(&self) -> Option<Moment> {
        Moment::first_of(self.glances.iter().filter_map(|glance| read(&glance.rescuable)))
    }

    /// Returns true if a trace of the shard `at` is rescuable, and its window ends by `until`.
    pub(super) fn has_rescuable(&self, at: usize, until: Moment) -> bool {
        read(&self.glances[at].rescuable).is_some_and(|moment| !until.is_before(moment))
    }

    /// Returns the wire bytes of the rescuable spans of all shards.
    pub(super) fn rescuable_bytes(&self) -> u64 {
        self.glances.iter().map(|glance| glance.rescuable_bytes.load(Relaxed)).sum()
    }
}

/// A locked shard. When it is dropped, the shard's glance is updated, and then the lock is released.
#[derive(Debug)]
pub(super) struct LockedShard<'t> {
    shard: MutexGuard<'t, Shard>,
    glance: &'t Glance,
}

impl Deref for LockedShard<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for LockedShard<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for LockedShard<'_> {
    fn drop(&mut self) {
        self.glance.update(&self.shard);
    }
}
