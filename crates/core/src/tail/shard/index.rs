//! The index of a shard: from the hash of a trace id to the slot of the trace.

use hashbrown::HashTable;

use super::super::slots::SlotNumber;

/// A map from the low half of a trace's hash to its slot. The highest bits are the same for all traces of a shard.
#[derive(Debug, Default)]
pub(super) struct TraceIndex(HashTable<IndexEntry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    hash: u32,
    slot: SlotNumber,
}

impl IndexEntry {
    /// Returns 64 bits for the hash table, which places entries by the low bits and tells them apart by the high ones.
    fn spread(&self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash)
    }
}

impl TraceIndex {
    /// Returns the slot with this hash for which `is_it` returns true.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(SlotNumber) -> bool) -> Option<SlotNumber> {
        let wanted = IndexEntry { hash: hash as u32, slot: 0 };
        self.0.find(wanted.spread(), |place| place.hash == wanted.hash && is_it(place.slot)).map(|place| place.slot)
    }

    pub(super) fn insert(&mut self, hash: u64, slot: SlotNumber) {
        let place = IndexEntry { hash: hash as u32, slot };
        self.0.insert_unique(place.spread(), place, IndexEntry::spread);
    }

    /// Removes the entry of this hash and slot. Another trace may have taken the slot since.
    pub(super) fn remove(&mut self, hash: u64, slot: SlotNumber) {
        let wanted = IndexEntry { hash: hash as u32, slot };
        if let Ok(entry) = self.0.find_entry(wanted.spread(), |place| *place == wanted) {
            entry.remove();
        }
    }

    pub(super) fn shrink(&mut self) {
        let len = self.0.len();
        if self.0.capacity() > 4 * len.max(64) {
            self.0.shrink_to(2 * len, IndexEntry::spread);
        }
    }
}

#[cfg(test)]
mod tests;
