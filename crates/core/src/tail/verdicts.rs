//! Compact, bounded caches of decided trace ids.
//!
//! A cache is an array of buckets. A bucket has eight ids in one cache line. An id is stored as 64 bits of its seeded
//! hash, so that it takes 8 bytes and a sender cannot aim at a bucket. The array grows with the number of ids up to its
//! bound. From then on a full bucket forgets the id that was looked up least recently: spans of a trace may come for
//! hours and still find its verdict, as long as the pauses between them are shorter than the time that the cache
//! remembers. A cache has up to two columns, each with 64 bits for each id: the value, and the facts about the decision.

/// Number of ids in a bucket: 64 bytes, one cache line.
const BUCKET_LEN: usize = 8;

/// The columns of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// True if the cache remembers a value for each id.
    pub(crate) values: bool,
    /// True if the cache remembers facts for each id.
    pub(crate) facts: bool,
}

/// An id that is found in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The value; 0 in a cache without values.
    pub(crate) value: u64,
    /// The facts; 0 in a cache without facts.
    pub(crate) facts: u64,
}

/// A cache of trace ids.
#[derive(Debug)]
pub(crate) struct VerdictCache {
    ids: Vec<u64>,
    /// The values by the position of their ids; empty in a cache without values.
    values: Vec<u64>,
    /// The facts by the position of their ids; empty in a cache without facts.
    facts: Vec<u64>,
    columns: Columns,
    slots_max: usize,
    /// Number of insertions since the start. It exceeds the number of ids once buckets forget.
    inserted: usize,
}

impl VerdictCache {
    /// Creates a cache of about the last `capacity` ids.
    pub(crate) fn new(capacity: usize, columns: Columns) -> Self {
        let slots_max = slots(capacity);
        VerdictCache { ids: Vec::new(), values: Vec::new(), facts: Vec::new(), columns, slots_max, inserted: 0 }
    }

    /// Returns the most bytes that a cache of `capacity` ids takes.
    pub(crate) fn bytes_max(capacity: usize, columns: Columns) -> usize {
        slots(capacity) * 8 * (1 + usize::from(columns.values) + usize::from(columns.facts))
    }

    /// Finds the id with this hash. From now on the id is the last of its bucket to be forgotten.
    #[inline]
    pub(crate) fn get(&mut self, hash: u64) -> Option<Found> {
        let start = self.bucket(hash);
        let bucket = self.ids.get_mut(start..start + BUCKET_LEN)?;
        let at = bucket.iter().position(|&id| id == mark(hash))?;
        bucket[..=at].rotate_right(1);
        let [value, facts] = [&mut self.values, &mut self.facts].map(|column| {
            column.get_mut(start..=start + at).map_or(0, |column| {
                column.rotate_right(1);
                column[0]
            })
        });
        Some(Found { value, facts })
    }

    /// Returns the same as [`VerdictCache::get`] but does not change the order in which ids are forgotten.
    pub(crate) fn peek(&self, hash: u64) -> Option<Found> {
        let at = self.position(hash)?;
        let [value, facts] = [&self.values, &self.facts].map(|column| column.get(at).copied().unwrap_or(0));
        Some(Found { value, facts })
    }

    /// Changes the value of the id with this hash. The caller must have found it with [`VerdictCache::get`] just
    /// before.
    pub(crate) fn replace(&mut self, hash: u64, value: u64) {
        let start = self.bucket(hash);
        if let (Some(&id), Some(first)) = (self.ids.get(start), self.values.get_mut(start))
            && id == mark(hash)
        {
            *first = value;
        }
    }

    /// Changes the facts of the id with this hash, if the cache has facts and still remembers the id.
    pub(crate) fn amend_facts(&mut self, hash: u64, amend: impl FnOnce(u64) -> u64) {
        if self.columns.facts
            && let Some(at) = self.position(hash)
            && let Some(facts) = self.facts.get_mut(at)
        {
            *facts = amend(*facts);
        }
    }

    /// Returns the place of the id with this hash.
    fn position(&self, hash: u64) -> Option<usize> {
        let start = self.bucket(hash);
        let bucket = self.ids.get(start..start + BUCKET_LEN)?;
        bucket.iter().position(|&id| id == mark(hash)).map(|at| start + at)
    }

    /// Remembers the id with this hash, which must not be remembered yet. Returns true if another id is forgotten for
    /// it.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, new: Found) -> bool {
        // As long as the array is at most half full, hardly any bucket overflows before the array has its full size.
        if self.inserted >= self.ids.len() / 2 && self.ids.len() < self.slots_max {
            self.grow();
        }
        self.inserted += 1;
        self.put(hash, new)
    }

    fn grow(&mut self) {
        let slots = (self.ids.len() * 2).clamp(BUCKET_LEN, self.slots_max);
        let column = |is_there: bool| vec![0; if is_there { slots } else { 0 }];
        let ids = std::mem::replace(&mut self.ids, column(true));
        let values = std::mem::replace(&mut self.values, column(self.columns.values));
        let facts = std::mem::replace(&mut self.facts, column(self.columns.facts));
        // In reverse order, so that the oldest id of a bucket stays the oldest.
        for (i, &id) in ids.iter().enumerate().rev().filter(|(_, id)| **id != 0) {
            let [value, facts] = [&values, &facts].map(|column| column.get(i).copied().unwrap_or(0));
            self.put(id, Found { value, facts });
        }
    }

    #[inline]
    fn put(&mut self, hash: u64, new: Found) -> bool {
        let bucket = self.bucket(hash)..self.bucket(hash) + BUCKET_LEN;
        shift(self.values.get_mut(bucket.clone()), new.value);
        shift(self.facts.get_mut(bucket.clone()), new.facts);
        shift(self.ids.get_mut(bucket), mark(hash)) != 0
    }

    /// Returns the index at which the bucket of a hash begins. It depends on the low bits, because the high ones choose
    /// the shard.
    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        let buckets = self.ids.len() / BUCKET_LEN;
        let low = u64::from(hash as u32);
        ((low * buckets as u64) >> 32) as usize * BUCKET_LEN
    }
}

/// Returns the number of slots for `capacity` ids: a third more, because the buckets fill unevenly.
fn slots(capacity: usize) -> usize {
    (capacity + capacity / 3).max(1).next_multiple_of(BUCKET_LEN)
}

/// Returns the stored form of a hash. It is never 0, which marks an empty slot.
#[inline]
fn mark(hash: u64) -> u64 {
    hash.max(1)
}

/// Puts `first` in front of the bucket. Returns the last entry, which falls out.
#[inline]
fn shift(bucket: Option<&mut [u64]>, first: u64) -> u64 {
    bucket.map_or(0, |bucket| {
        bucket.rotate_right(1);
        std::mem::replace(&mut bucket[0], first)
    })
}

#[cfg(test)]
mod tests;
