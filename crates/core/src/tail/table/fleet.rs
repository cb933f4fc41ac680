//! The table as a part of a fleet.

use std::sync::Arc;

use super::{InForce, Millis, RoundOutcome, Table, hash, shard_of};
use crate::otlp::TraceId;
use crate::tail::fleet::{Followed, TableFleet};

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

    /// Plans reports of the traces for which `is_wanted` returns true, because they have another owner now: of those that
    /// are undecided, and of those that were dropped without their owner.
    pub fn report_again(&self, is_wanted: impl Fn(TraceId) -> bool, now_ms: Millis) {
        self.shards.iter().for_each(|shard| shard.lock().report_again(&is_wanted, now_ms));
    }

    /// Follows the verdict of the fleet on a trace.
    pub fn follow(&self, followed: &Followed, now_ms: Millis, out: &mut RoundOutcome) {
        let hash = hash(&self.hasher, followed.id);
        let mut shard = self.shards[shard_of(hash)].lock();
        let in_force = self.in_force.see();
        let mut round = self.round(&in_force, now_ms, out);
        round.follows = true;
        shard.follow(followed, hash, &mut round);
    }
}
