//! The end of dropped traces: their spans are counted and let go of, all at once at the end of a round of work.

use std::hint::black_box;

use smallvec::SmallVec;

use super::Shard;
use super::drop_kind::DropKind;
use crate::otlp::TraceId;
use crate::tail::decision_facts::DecisionFacts;
use crate::tail::request::Fragment;
use crate::tail::round::WorkRound;
use crate::tail::slots::SlotNumber;
use crate::tail::tally::Trigger;
use crate::tail::verdicts::Found;

/// A dropped trace that is taken out of the table. Its spans are not counted yet.
#[derive(Debug)]
pub(in crate::tail) struct Released {
    id: TraceId,
    /// The hash and the slot that the index still has.
    indexed: (u64, SlotNumber),
    /// The hash that the cache of dropped ids knows it by.
    hash: u64,
    /// The packed facts about the decision.
    facts: u64,
    fragments: SmallVec<[Fragment; 3]>,
    /// The policy of type `drop` that dropped it.
    drop_policy: Option<u16>,
    /// True if no policy could have kept it.
    is_unrepresented: bool,
}

impl Shard {
    /// Releases the spans of a dropped trace. The cache remembers it, and `drop_policy` if that dropped it.
    pub(super) fn release(
        &mut self,
        slot: SlotNumber,
        trigger: Trigger,
        drop_policy: Option<u16>,
        is_unrepresented: bool,
        round: &mut WorkRound<'_>,
    ) {
        let Some(id) = self.traces.get(slot).map(|trace| trace.id) else { return };
        let hash = round.hash(id);
        let Some(trace) = self.take_out_of_slot(slot) else { return };
        self.held.remove(&trace);
        let facts = DecisionFacts { trigger, drop_policy, ..trace.facts(round) };
        let kind = DropKind { by_policy: drop_policy.is_some(), is_unrepresented };
        let (indexed, hash, facts, fragments) = ((hash, slot), kind.hash(hash), facts.pack(), trace.fragments);
        round.released.push(Released { id, indexed, hash, facts, fragments, drop_policy, is_unrepresented });
    }

    /// Takes the traces that the round has released out of the index, counts their spans, lets go of them, and remembers the
    /// traces. Every round of work ends with this. The traces have waited for long, so their spans are not in the processor's cache: each
    /// step goes through all traces, so that the waits for memory overlap.
    pub(super) fn let_go_of_released(&mut self, round: &mut WorkRound<'_>) {
        if round.released.is_empty() {
            return;
        }
        let mut released = std::mem::take(round.released);
        let fragments = released.iter().flat_map(|trace| &trace.fragments);
        black_box(fragments.fold(0, |all, fragment| all ^ fragment.glimpse()));
        for &Released { indexed: (hash, slot), .. } in &released {
            self.index.remove(hash, slot);
        }
        for trace in &released {
            round.count_dropped(&trace.fragments, trace.drop_policy, trace.is_unrepresented);
        }
        round.dropped_by_service.count(round.services);
        for &Released { hash, facts, .. } in &released {
            let forgot = self.dropped_ids.insert(hash, Found { value: 0, facts });
            round.tally.forgotten_dropped_ids += u64::from(forgot);
        }
        for trace in released.drain(..) {
            round.let_go(trace.id, trace.fragments, trace.drop_policy);
        }
        *round.released = released;
    }
}
