//! The table as a part of a fleet.

use std::sync::Arc;

use super::{InForce, Millis, RoundOutcome, Table, hash, shard_of};
use crate::otlp::TraceId;
use crate::tail::fleet::{Followed, TableFleet};
use crate::tail::slots::SlotNumber;

/// The place up to which a table has planned reports again. The default is the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgainCursor {
    shard: usize,
    slot: SlotNumber,
}

impl Table {
    /// Returns the table, which must be empty, as a part of `fleet`.
    #[must_use]
    pub fn with_fleet(mut self, fleet: Arc<TableFleet>) -> Self {
        // Nothing else refers to what is in force before the table is used.
        if let Some(InForce { limits, .. }) = self.in_force.get_mut() {
            limits.fleet = Some(fleet);
        }
        self
    }

    /// Plans reports of some traces after `cursor` for which `is_wanted` returns true, because they have another owner now:
    /// of those that the owner has yet to answer. Returns true if there are more. Other work can go on in between.
    pub fn report_again(&self, cursor: &mut AgainCursor, is_wanted: impl Fn(TraceId) -> bool, now_ms: Millis) -> bool {
        if cursor.shard >= self.shards.count() {
            return false;
        }
        let next = self.shards.lock(cursor.shard).report_again(cursor.slot, &is_wanted, now_ms);
        *cursor = match next {
            Some(slot) => AgainCursor { slot, ..*cursor },
            None => AgainCursor { shard: cursor.shard + 1, slot: 0 },
        };
        cursor.shard < self.shards.count()
    }

    /// Follows the verdict of the fleet on a trace.
    pub fn follow(&self, followed: &Followed, now_ms: Millis, out: &mut RoundOutcome) {
        let hash = hash(&self.hasher, followed.id);
        let mut shard = self.shards.lock(shard_of(hash));
        let in_force = self.in_force.see();
        let mut round = self.round(&in_force, now_ms, out);
        round.follows = true;
        shard.follow(followed, hash, &mut round);
    }
}
