//! A uniform sample of traces, followed from their first span until long after their verdict: what it shows of lateness
//! and of missing parents holds for all traces, whatever becomes of them.
//!
//! A trace is in the sample if some bits of its seeded hash are 0. How many bits adapts to the traffic, so that the
//! traces of the last [`HORIZON_MS`] fit: little traffic is followed whole, and of much as many traces as of little. Each
//! followed trace stands for [`Census::weight`] traces.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::table::Millis;

/// For how long after its first span a trace is followed: longer than any `decision_wait` (10 m), so that what came too
/// late for it is seen.
pub(super) const HORIZON_MS: Millis = 900_000;

/// Traces that a shard follows. All shards together follow 16,384: some 10 to 20 new ones a second, if there are more. In
/// ten minutes these are enough to tell what comes too late once in a thousand.
const TRACES_MAX: usize = 256;

/// Below this many the sample grows again.
const TRACES_MIN: usize = TRACES_MAX / 4;

/// How fast the sample grows: it doubles in this time at most. A trace that began before is then taken for a new one, so
/// this should not happen often.
const GROWTH_MS: Millis = 60_000;

/// The bits that decide: neither those that choose the shard (the highest ones) nor those that choose buckets.
const DECISIVE_SHIFT: u32 = 32;

/// The followed traces of one shard.
#[derive(Debug)]
pub(super) struct Census {
    followed: HashTable<Followed>,
    /// Their hashes in the order of their first spans. Some may be gone.
    order: VecDeque<u64>,
    /// The decisive bits that must be 0.
    mask: u64,
    resized_ms: Millis,
}

#[derive(Debug)]
struct Followed {
    hash: u64,
    first_ms: Millis,
}

/// Spans of a followed trace came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// How many traces this one stands for.
    pub(super) weight: u64,
    /// The time since the first spans of the trace; `None` if these are the first.
    pub(super) delay_ms: Option<Millis>,
}

impl Census {
    /// The most bytes that one takes.
    pub(super) const BYTES_MAX: usize = 2 * TRACES_MAX * (size_of::<Followed>() + 1 + size_of::<u64>());

    /// Nothing is followed yet.
    pub(super) fn new() -> Self {
        Census { followed: HashTable::new(), order: VecDeque::new(), mask: 0, resized_ms: 0 }
    }

    /// How many traces the one with this hash stands for; `None` if it is not followed.
    #[inline]
    pub(super) fn weight(&self, hash: u64) -> Option<u64> {
        ((hash >> DECISIVE_SHIFT) & self.mask == 0).then_some(self.mask + 1)
    }

    /// Spans of the trace with this hash came; `None` if it is not followed.
    #[inline]
    pub(super) fn see(&mut self, hash: u64, now_ms: Millis) -> Option<Sighting> {
        self.weight(hash)?;
        self.see_followed(hash, now_ms)
    }

    fn see_followed(&mut self, hash: u64, now_ms: Millis) -> Option<Sighting> {
        self.forget(now_ms);
        if let Some(followed) = self.followed.find(hash, |followed| followed.hash == hash) {
            let delay_ms = Some(now_ms.saturating_sub(followed.first_ms));
            return Some(Sighting { weight: self.mask + 1, delay_ms });
        }
        while self.followed.len() >= TRACES_MAX {
            self.thin(now_ms);
        }
        // It may no longer be one of them.
        let weight = self.weight(hash)?;
        self.followed.insert_unique(hash, Followed { hash, first_ms: now_ms }, |followed| followed.hash);
        self.order.push_back(hash);
        Some(Sighting { weight, delay_ms: None })
    }

    /// Follows the traces that began too long ago no longer, and more of the new ones if few are left.
    fn forget(&mut self, now_ms: Millis) {
        while let Some(&hash) = self.order.front() {
            if let Ok(entry) = self.followed.find_entry(hash, |followed| followed.hash == hash) {
                if now_ms.saturating_sub(entry.get().first_ms) < HORIZON_MS {
                    return;
                }
                entry.remove();
            }
            self.order.pop_front();
            if self.followed.len() < TRACES_MIN && now_ms.saturating_sub(self.resized_ms) >= GROWTH_MS {
                self.mask >>= 1;
                self.resized_ms = now_ms;
            }
        }
    }

    /// Follows half of the traces.
    fn thin(&mut self, now_ms: Millis) {
        self.mask = self.mask << 1 | 1;
        self.resized_ms = now_ms;
        let mask = self.mask;
        let is_followed = |hash: u64| (hash >> DECISIVE_SHIFT) & mask == 0;
        self.followed.retain(|followed| is_followed(followed.hash));
        self.order.retain(|&hash| is_followed(hash));
    }
}

#[cfg(test)]
mod tests;
