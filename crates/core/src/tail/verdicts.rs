//! Compact, bounded caches of decided trace ids.
//!
//! A cache is an array of buckets. A bucket has eight ids in one cache line. An id is stored as 64 bits of its seeded
//! hash, so that it takes 8 bytes and a sender cannot aim at a bucket. The array grows with the number of ids up to its
//! bound. From then on a full bucket forgets the id that was looked up least recently: spans of a trace may come for
//! hours and still find its verdict, as long as the pauses between them are shorter than the time that the cache
//! remembers.

/// Number of ids in a bucket: 64 bytes, one cache line.
const BUCKET_LEN: usize = 8;

/// A cache of trace ids, with or without a value of 64 bits for each.
#[derive(Debug)]
pub(super) struct VerdictCache {
    ids: Vec<u64>,
    /// The values by the position of their ids; empty in a cache without values.
    values: Vec<u64>,
    with_values: bool,
    slots_max: usize,
    /// Number of insertions since the start. It exceeds the number of ids once buckets forget.
    inserted: usize,
}

impl VerdictCache {
    /// Creates a cache of about the last `capacity` ids, with values.
    pub(super) fn with_values(capacity: usize) -> Self {
        Self::new(capacity, true)
    }

    /// Creates a cache of about the last `capacity` ids, without values.
    pub(super) fn without_values(capacity: usize) -> Self {
        Self::new(capacity, false)
    }

    fn new(capacity: usize, with_values: bool) -> Self {
        let slots_max = slots(capacity);
        VerdictCache { ids: Vec::new(), values: Vec::new(), with_values, slots_max, inserted: 0 }
    }

    /// Returns the most bytes that a cache of `capacity` ids takes, with or without values.
    pub(super) fn bytes_max(capacity: usize, with_values: bool) -> usize {
        slots(capacity) * if with_values { 16 } else { 8 }
    }

    /// Returns the value of the id with this hash (0 in a cache without values), or `None` if it is not remembered.
    /// From now on the id is the last of its bucket to be forgotten.
    #[inline]
    pub(super) fn get(&mut self, hash: u64) -> Option<u64> {
        let start = self.bucket(hash);
        let bucket = self.ids.get_mut(start..start + BUCKET_LEN)?;
        let at = bucket.iter().position(|&id| id == mark(hash))?;
        bucket[..=at].rotate_right(1);
        let values = self.values.get_mut(start..=start + at);
        Some(values.map_or(0, |values| {
            values.rotate_right(1);
            values[0]
        }))
    }

    /// Returns the same as [`VerdictCache::get`] but does not change the order in which ids are forgotten.
    pub(super) fn peek(&self, hash: u64) -> Option<u64> {
        let start = self.bucket(hash);
        let bucket = self.ids.get(start..start + BUCKET_LEN)?;
        let at = bucket.iter().position(|&id| id == mark(hash))?;
        Some(self.values.get(start + at).copied().unwrap_or(0))
    }

    /// Changes the value of the id with this hash. The caller must have found it with [`VerdictCache::get`] just
    /// before.
    pub(super) fn replace(&mut self, hash: u64, value: u64) {
        let start = self.bucket(hash);
        if let (Some(&id), Some(first)) = (self.ids.get(start), self.values.get_mut(start))
            && id == mark(hash)
        {
            *first = value;
        }
    }

    /// Remembers the id with this hash, which must not be remembered yet. Returns true if another id is forgotten for
    /// it.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, value: u64) -> bool {
        // As long as the array is at most half full, hardly any bucket overflows before the array has its full size.
        if self.inserted >= self.ids.len() / 2 && self.ids.len() < self.slots_max {
            self.grow();
        }
        self.inserted += 1;
        self.put(hash, value)
    }

    fn grow(&mut self) {
        let slots = (self.ids.len() * 2).clamp(BUCKET_LEN, self.slots_max);
        let ids = std::mem::replace(&mut self.ids, vec![0; slots]);
        let value_slots = if self.with_values { slots } else { 0 };
        let values = std::mem::replace(&mut self.values, vec![0; value_slots]);
        // In reverse order, so that the oldest id of a bucket stays the oldest.
        for (i, &id) in ids.iter().enumerate().rev().filter(|(_, id)| **id != 0) {
            self.put(id, values.get(i).copied().unwrap_or(0));
        }
    }

    #[inline]
    fn put(&mut self, hash: u64, value: u64) -> bool {
        let bucket = self.bucket(hash)..self.bucket(hash) + BUCKET_LEN;
        shift(self.values.get_mut(bucket.clone()), value);
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
