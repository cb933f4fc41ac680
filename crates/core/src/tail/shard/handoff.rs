//! Pending traces that another process may take.

use smallvec::SmallVec;

use super::{Fragment, HeldState, HeldTrace, Shard, WorkRound};
use crate::tail::table::handoff::{PendingTrace, SlotSet};

impl Shard {
    /// Returns pending traces in the order in which [`Shard::decide_oldest`] decides them. Reads up to `entries_max`
    /// entries of the queues, from number `from` on, and ends with the trace that reaches `bytes_min`. Also returns the
    /// number to continue with; `None` at the end.
    pub(in crate::tail) fn pending_traces(
        &self,
        from: usize,
        entries_max: usize,
        bytes_min: u64,
        seen: &mut SlotSet,
    ) -> (Vec<PendingTrace>, Option<usize>) {
        let rooted = self.rooted.len();
        let entries = self.rooted.entries(from).chain(self.waiting.entries(from.saturating_sub(rooted)));
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, from);
        for entry in entries.take(entries_max) {
            next += 1;
            let Some(trace) = self.traces.get(entry.slot) else { continue };
            let HeldTrace { id, fragments, summary, state } = trace;
            if !matches!(state, HeldState::Pending { due, .. } if *due == entry.at) {
                continue;
            }
            // A stale entry looks live if the next trace in its slot is due at the same time.
            if !seen.insert(entry.slot) {
                continue;
            }
            let trace = PendingTrace::new(*id, entry.slot, fragments, summary.span_bytes);
            bytes += trace.bytes();
            found.push(trace);
            if bytes >= bytes_min {
                break;
            }
        }
        (found, (next < rooted + self.waiting.len()).then_some(next))
    }

    /// Takes a pending trace out of the table without a decision. Returns its spans; `None` if it has others now.
    pub(in crate::tail) fn take_pending(
        &mut self,
        pending: &PendingTrace,
        round: &WorkRound<'_>,
    ) -> Option<SmallVec<[Fragment; 3]>> {
        let is_it = |trace: &&HeldTrace| trace.id == pending.id && trace.fragments.len() == pending.fragments.len();
        let trace = self.traces.get(pending.slot).filter(is_it)?;
        if !matches!(trace.state, HeldState::Pending { .. }) {
            return None;
        }
        let trace = self.take_out(pending.slot, round.hash(pending.id))?;
        self.held.remove(&trace);
        Some(trace.fragments)
    }
}
