//! Token buckets, which limit a rate.

use crate::sampling::settings::TokenBucket;

/// A token bucket: tokens come in at a steady rate, up to `burst`.
///
/// It works like golang.org/x/time/rate, which the Collector uses, except for traces that need more tokens than the
/// bucket can hold. There such a trace never passes, so a limit on errors would lose the largest ones. Here it passes
/// when the bucket is full, and leaves the bucket in debt. So the rate still holds on average.
#[derive(Debug)]
pub(super) struct Bucket {
    per_ms: f64,
    burst: f64,
    tokens: f64,
    filled_ms: u64,
}

impl Bucket {
    /// Creates a full bucket.
    pub(super) fn new(settings: &TokenBucket) -> Self {
        let burst = settings.burst as f64;
        Bucket { per_ms: settings.per_second as f64 / 1_000.0, burst, tokens: burst, filled_ms: 0 }
    }

    /// Returns true if `count` tokens can be taken at `now_ms`: the bucket has them, or it is full.
    pub(super) fn has(&mut self, count: u64, now_ms: u64) -> bool {
        // Workers read the clock before they wait for the lock, so `now_ms` can be lower than in the last call.
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        self.tokens = (self.tokens + elapsed_ms as f64 * self.per_ms).min(self.burst);
        self.tokens >= (count as f64).min(self.burst)
    }

    /// Takes `count` tokens, even if that leaves the bucket in debt.
    pub(super) fn spend(&mut self, count: u64) {
        self.tokens -= count as f64;
    }

    /// Takes `count` tokens if [`Bucket::has`] allows it. Returns true if it took them.
    pub(super) fn take(&mut self, count: u64, now_ms: u64) -> bool {
        let passes = self.has(count, now_ms);
        if passes {
            self.spend(count);
        }
        passes
    }
}

#[cfg(test)]
mod tests;
