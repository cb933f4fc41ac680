//! Token buckets.

use crate::config::settings::TokenBucket;

/// A bucket of tokens that come in steadily, up to what it holds.
///
/// As golang.org/x/time/rate, which the Collector uses, but for traces that need more tokens than the bucket holds: there
/// they never pass, so a limit on errors would lose the largest ones. Here such a trace passes when the bucket is full,
/// and leaves it in debt; the rate holds all the same.
#[derive(Debug)]
pub(super) struct Bucket {
    per_ms: f64,
    burst: f64,
    tokens: f64,
    filled_ms: u64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(settings: &TokenBucket) -> Self {
        let burst = settings.burst as f64;
        Bucket { per_ms: settings.per_second as f64 / 1_000.0, burst, tokens: burst, filled_ms: 0 }
    }

    /// Whether so many tokens can be taken.
    pub(super) fn has(&mut self, count: u64, now_ms: u64) -> bool {
        // Workers read the clock before they wait for the lock: time may seem to go back.
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        self.tokens = (self.tokens + elapsed_ms as f64 * self.per_ms).min(self.burst);
        self.tokens >= (count as f64).min(self.burst)
    }

    /// Takes so many tokens, be it into debt.
    pub(super) fn spend(&mut self, count: u64) {
        self.tokens -= count as f64;
    }

    /// Takes so many tokens if it has them.
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
