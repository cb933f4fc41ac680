//! The summaries of the spans that come for large stale traces while their earlier spans are read again.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{Arrival, SlotNumber};
use crate::budget::Share;
use crate::sampling::{Policies, Summary};

/// Bytes of one entry, with its part of the table.
const ENTRY_BYTES: usize = 4 * size_of::<(SlotNumber, Later)>();

/// The later spans of a trace, from a certain fragment on, for the policies in force.
#[derive(Debug)]
pub(super) struct Later {
    /// The index of the first fragment that the summary covers. It covers all behind it, too.
    pub(super) first: usize,
    pub(super) summary: Summary,
    _share: Share,
}

/// The later spans of stale traces by slot.
#[derive(Debug, Default)]
pub(super) struct LaterSpans(HashMap<SlotNumber, Later, RandomState>);

impl LaterSpans {
    /// Adds spans for the trace in `slot`, which has `fragments` fragments so far.
    pub(super) fn add(&mut self, slot: SlotNumber, fragments: usize, arrival: &Arrival, policies: &Policies) {
        let new = || Later {
            first: fragments,
            summary: arrival.summary.clone(),
            _share: arrival.fragment.share(ENTRY_BYTES + policies.summary_heap_bytes()),
        };
        match self.0.entry(slot) {
            Entry::Vacant(entry) => _ = entry.insert(new()),
            // Spans that came under earlier policies are stale, too.
            Entry::Occupied(mut entry) if entry.get().summary.generation != arrival.summary.generation => {
                entry.insert(new());
            }
            Entry::Occupied(mut entry) => entry.get_mut().summary.merge(&arrival.summary),
        }
    }

    /// Removes the entry of `slot`, and returns it if it is for the policies of this generation.
    pub(super) fn take(&mut self, slot: SlotNumber, generation: u16) -> Option<Later> {
        self.0.remove(&slot).filter(|later| later.summary.generation == generation)
    }

    /// Removes the entry of `slot`, because the trace has left it.
    #[inline]
    pub(super) fn forget(&mut self, slot: SlotNumber) {
        if !self.0.is_empty() {
            self.0.remove(&slot);
        }
    }

    /// Removes all entries, and gives back their memory.
    pub(super) fn clear(&mut self) {
        self.0 = HashMap::default();
    }
}
