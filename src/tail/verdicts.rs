//! Compact, bounded caches of decided trace ids.
//!
//! A cache is an array of buckets of eight ids, one cache line each. An id is remembered as 64 bits of its seeded
//! hash, so that it takes 8 bytes and a sender cannot aim at a bucket. The array grows with the ids that come, up to
//! its bound; from then on a full bucket forgets the id that nobody asked for the longest: spans may come for hours, and
//! find the verdict of their trace for as long as the gaps between them are shorter than what the cache remembers.

/// Ids in a bucket: 64 bytes, one cache line.
const BUCKET_LEN: usize = 8;

/// A cache of trace ids with a value of 64 bits each, or of ids alone.
#[derive(Debug)]
pub(super) struct VerdictCache {
    ids: Vec<u64>,
    /// As long as `ids`, or empty.
    values: Vec<u64>,
    with_values: bool,
    slots_max: usize,
    /// Insertions since the start; more than ids, once buckets forget.
    inserted: usize,
}

impl VerdictCache {
    /// Remembers about the last `capacity` ids, with values.
    pub(super) fn with_values(capacity: usize) -> Self {
        Self::new(capacity, true)
    }

    /// Remembers about the last `capacity` ids.
    pub(super) fn without_values(capacity: usize) -> Self {
        Self::new(capacity, false)
    }

    fn new(capacity: usize, with_values: bool) -> Self {
        let slots_max = slots(capacity);
        VerdictCache { ids: Vec::new(), values: Vec::new(), with_values, slots_max, inserted: 0 }
    }

    /// The most bytes that a cache of `capacity` ids takes, with or without values.
    pub(super) fn bytes_max(capacity: usize, with_values: bool) -> usize {
        slots(capacity) * if with_values { 16 } else { 8 }
    }

    /// The value of the id with this hash (0 in a cache without values), if it is remembered. It is the last to be
    /// forgotten now.
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

    /// What [`VerdictCache::get`] finds, without a change of the order in which ids are forgotten.
    pub(super) fn peek(&self, hash: u64) -> Option<u64> {
        let start = self.bucket(hash);
        let bucket = self.ids.get(start..start + BUCKET_LEN)?;
        let at = bucket.iter().position(|&id| id == mark(hash))?;
        Some(self.values.get(start + at).copied().unwrap_or(0))
    }

    /// Changes the value of the id with this hash, which [`VerdictCache::get`] has just found.
    pub(super) fn replace(&mut self, hash: u64, value: u64) {
        let start = self.bucket(hash);
        if let (Some(&id), Some(first)) = (self.ids.get(start), self.values.get_mut(start))
            && id == mark(hash)
        {
            *first = value;
        }
    }

    /// Remembers the id with this hash, which is not remembered yet; true if another one is forgotten for it.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, value: u64) -> bool {
        // Half full on average, hardly a bucket overflows before the array has its full size.
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
        // From the back, so that the oldest id of a bucket stays the oldest.
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

    /// Where the bucket of a hash begins. The high bits chose the shard; these are the low ones.
    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        let buckets = self.ids.len() / BUCKET_LEN;
        let low = u64::from(hash as u32);
        ((low * buckets as u64) >> 32) as usize * BUCKET_LEN
    }
}

/// A third more than asked for, as the buckets fill unevenly.
fn slots(capacity: usize) -> usize {
    (capacity + capacity / 3).max(1).next_multiple_of(BUCKET_LEN)
}

/// 0 means an empty slot.
#[inline]
fn mark(hash: u64) -> u64 {
    hash.max(1)
}

/// Puts `first` in front; returns the last one, which falls out.
#[inline]
fn shift(bucket: Option<&mut [u64]>, first: u64) -> u64 {
    bucket.map_or(0, |bucket| {
        bucket.rotate_right(1);
        std::mem::replace(&mut bucket[0], first)
    })
}

#[cfg(test)]
mod tests;
