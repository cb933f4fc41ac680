//! Waits for memory that overlap. A trace that is looked at again has waited for long, so it is not in the processor's cache.
//! Before a slice of work goes through its traces one by one, a little of all of them is read. What is read is not used.

use std::hint::black_box;

use super::Shard;
use crate::tail::due::{Due, DueQueue, Moment};
use crate::tail::round::WorkRound;

/// Returns the first `max` entries of a queue, with `until` only those whose moment is not after it.
fn next(queue: &DueQueue, until: Option<Moment>, max: usize) -> impl Iterator<Item = Due> {
    queue.entries(0).take(max).take_while(move |due| until.is_none_or(|until| !until.is_before(due.at)))
}

impl Shard {
    /// Reads the slots of the next `max` entries of a queue, with `until` only of those whose moment is not after it.
    pub(super) fn read_ahead(&self, queue: &DueQueue, until: Option<Moment>, max: usize) {
        let slots = next(queue, until, max).map(|due| {
            let trace = self.traces.get(due.slot);
            trace.map_or(0, |trace| u32::from(trace.id.0[0]) ^ trace.summary.span_count ^ trace.state.due().as_u32())
        });
        black_box(slots.fold(0, |all, slot| all ^ slot));
    }

    /// Reads the entries of the index for traces whose slots have been [read ahead](Self::read_ahead).
    pub(super) fn read_index_ahead(&self, queue: &DueQueue, until: Option<Moment>, max: usize, round: &WorkRound<'_>) {
        let slots = next(queue, until, max).map(|due| {
            let hash = self.traces.get(due.slot).map(|trace| round.hash(trace.id));
            hash.and_then(|hash| self.index.find(hash, |slot| slot == due.slot)).unwrap_or(0)
        });
        black_box(slots.fold(0, |all, slot| all ^ slot));
    }
}
