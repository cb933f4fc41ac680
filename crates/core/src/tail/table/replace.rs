//! Puts other policies in force while traces are held.
//!
//! Each summary has the number of the policies that it was made with, and work on a shard always uses the policies in
//! force. So a trace is decided by them, whatever policies were in force when its spans came.

use std::sync::Arc;

use super::{InForce, RoundOutcome, Table, TableLimits};
use crate::otlp::scan::Probe;
use crate::replaceable::Seen;
use crate::sampling::Policies;
use crate::tail::rescan::SpanReader;
use crate::tail::settings::TailSampling;
use crate::tail::table::Millis;

impl Table {
    /// Puts other policies, waits and limits in force for all traces that are not decided yet. The sizes of the caches
    /// stay. Call [`Table::rescan`] afterwards, before the next replacement: until then the summaries of held traces are
    /// stale, and are computed anew when they are needed.
    pub fn replace(&self, settings: &TailSampling, policies: Arc<Policies>) {
        self.states.lock().resize(policies.state_bytes_max());
        self.in_force.replace(|present| {
            let remembers_facts = present.limits.remembers_facts;
            let fleet = present.limits.fleet.clone();
            let limits =
                TableLimits { remembers_facts, fleet, ..TableLimits::new(settings, self.budget.limit_bytes()) };
            Some(InForce { policies, limits })
        });
    }

    /// Evaluates the conditions of the policies in force for all held traces with summaries for earlier policies.
    /// Keeps pending ones for which there is evidence now. Reads the spans without a lock. Calls `settle` after each
    /// slice of work, with its results in `out`, and `now_ms` for the time.
    pub fn rescan(
        &self,
        out: &mut RoundOutcome,
        now_ms: impl Fn() -> Millis,
        mut settle: impl FnMut(&mut RoundOutcome),
    ) {
        let in_force = self.in_force.see();
        self.rescan_with(&in_force, in_force.policies.probe(), out, &now_ms, &mut settle);
    }

    /// Reads the stale traces of `shard` that have become full, without its lock, and decides them. So a trace does not
    /// grow without a limit until its turn comes.
    #[inline]
    pub(super) fn read_full(&self, shard: usize, in_force: &Seen<InForce>, now_ms: Millis, out: &mut RoundOutcome) {
        if out.full.is_empty() {
            return;
        }
        let policies = &in_force.policies;
        let mut reader = SpanReader::new(policies, policies.probe(), self.budget.share());
        let again = std::mem::take(&mut out.full).into_iter().map(|trace| {
            let summary = reader.summary(&trace.fragments);
            (trace, summary)
        });
        let again = again.collect();
        let mut shard = self.shards.lock(shard);
        // After another replacement, they are read again for that.
        if self.in_force.is_present(in_force) {
            shard.take_again(again, &mut self.round(in_force, now_ms, out));
        }
    }

    /// Returns the number of traces whose summaries were made for earlier policies.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn stale_traces(&self) -> usize {
        let policies = self.policies();
        self.shards.iter().map(|shard| shard.stale(0, &policies).0.len()).sum()
    }

    fn rescan_with<P: Probe>(
        &self,
        in_force: &InForce,
        probe: &P,
        out: &mut RoundOutcome,
        now_ms: &impl Fn() -> Millis,
        settle: &mut impl FnMut(&mut RoundOutcome),
    ) {
        let mut reader = SpanReader::new(&in_force.policies, probe, self.budget.share());
        for shard in 0..self.shards.count() {
            let mut next = Some(0);
            while let Some(from) = next {
                let (stale, rest) = self.shards.lock(shard).stale(from, &in_force.policies);
                next = rest;
                if stale.is_empty() {
                    continue;
                }
                let again = stale.into_iter().map(|trace| {
                    let summary = reader.summary(&trace.fragments);
                    (trace, summary)
                });
                let again = again.collect();
                self.shards.lock(shard).take_again(again, &mut self.round(in_force, now_ms(), out));
                settle(out);
            }
            self.shards.lock(shard).end_rescan();
        }
    }
}
