//! A uniform sample of traces, followed from their first span until long after their verdict. Its findings about late
//! spans and missing parents hold for all traces, no matter which verdict they get.
//!
//! A trace is in the sample if some bits of its seeded hash are 0. The number of these bits adapts to the traffic, so
//! that the sample has room for the followed traces of the last [`HORIZON_MS`]: all of them if the traffic is low, and
//! a limited number if it is high. Each followed trace stands for [`TraceSample::weight`] traces.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::table::Millis;

/// Milliseconds that a trace is followed after its first span. This is longer than any `decision_wait` (10 m), so that
/// spans that come too late for it are seen.
pub(super) const HORIZON_MS: Millis = 900_000;

/// The most traces that a shard follows. All shards together follow 16,384: about 10 to 20 new ones a second under high
/// traffic. In ten minutes these are enough to see that one span in a thousand comes too late.
const TRACES_MAX: usize = 256;

/// The number of followed traces below which the sample grows again.
const TRACES_MIN: usize = TRACES_MAX / 4;

/// The shortest time between two doublings of the sample. After a doubling, traces that began before it look new, so
/// this should be rare.
const GROWTH_MS: Millis = 60_000;

/// The position of the bits that decide. They differ from the highest bits, which choose the shard, and from those that
/// choose buckets.
const DECISIVE_SHIFT: u32 = 32;

/// The followed traces of one shard.
#[derive(Debug)]
pub(super) struct TraceSample {
    sampled: HashTable<SampledTrace>,
    /// The hashes of the followed traces in the order of their first spans. Some may have left the sample.
    order: VecDeque<u64>,
    /// Mask of the decisive bits that must be 0.
    mask: u64,
    resized_ms: Millis,
}

#[derive(Debug)]
struct SampledTrace {
    hash: u64,
    first_ms: Millis,
}

/// An arrival of spans of a followed trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampledArrival {
    /// Number of traces that this one stands for.
    pub(super) weight: u64,
    /// Milliseconds since the first spans of the trace; `None` if these are the first.
    pub(super) delay_ms: Option<Millis>,
}

impl TraceSample {
    /// The most bytes of memory that a sample takes.
    pub(super) const BYTES_MAX: usize = 2 * TRACES_MAX * (size_of::<SampledTrace>() + 1 + size_of::<u64>());

    /// Creates a sample that follows no trace yet.
    pub(super) fn new() -> Self {
        TraceSample { sampled: HashTable::new(), order: VecDeque::new(), mask: 0, resized_ms: 0 }
    }

    /// Returns the number of traces that the one with this hash stands for, or `None` if it is not followed.
    #[inline]
    pub(super) fn weight(&self, hash: u64) -> Option<u64> {
        ((hash >> DECISIVE_SHIFT) & self.mask == 0).then_some(self.mask + 1)
    }

    /// Registers new spans of the trace with this hash. Returns `None` if the trace is not followed.
    #[inline]
    pub(super) fn record(&mut self, hash: u64, now_ms: Millis) -> Option<SampledArrival> {
        self.weight(hash)?;
        self.record_sampled(hash, now_ms)
    }

    fn record_sampled(&mut self, hash: u64, now_ms: Millis) -> Option<SampledArrival> {
        self.forget(now_ms);
        if let Some(sampled) = self.sampled.find(hash, |sampled| sampled.hash == hash) {
            let delay_ms = Some(now_ms.saturating_sub(sampled.first_ms));
            return Some(SampledArrival { weight: self.mask + 1, delay_ms });
        }
        while self.sampled.len() >= TRACES_MAX {
            self.thin(now_ms);
        }
        // After thinning, the trace may not be in the sample any more.
        let weight = self.weight(hash)?;
        self.sampled.insert_unique(hash, SampledTrace { hash, first_ms: now_ms }, |sampled| sampled.hash);
        self.order.push_back(hash);
        Some(SampledArrival { weight, delay_ms: None })
    }

    /// Stops following the traces that began too long ago. If few are left, follows a larger share of the new ones.
    fn forget(&mut self, now_ms: Millis) {
        while let Some(&hash) = self.order.front() {
            if let Ok(entry) = self.sampled.find_entry(hash, |sampled| sampled.hash == hash) {
                if now_ms.saturating_sub(entry.get().first_ms) < HORIZON_MS {
                    return;
                }
                entry.remove();
            }
            self.order.pop_front();
            if self.sampled.len() < TRACES_MIN && now_ms.saturating_sub(self.resized_ms) >= GROWTH_MS {
                self.mask >>= 1;
                self.resized_ms = now_ms;
            }
        }
    }

    /// Halves the sample.
    fn thin(&mut self, now_ms: Millis) {
        self.mask = self.mask << 1 | 1;
        self.resized_ms = now_ms;
        let mask = self.mask;
        let is_followed = |hash: u64| (hash >> DECISIVE_SHIFT) & mask == 0;
        self.sampled.retain(|sampled| is_followed(sampled.hash));
        self.order.retain(|&hash| is_followed(hash));
    }
}

#[cfg(test)]
mod tests;
