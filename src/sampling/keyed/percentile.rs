//! `latency` with a percentile: slow is what is slow for its like.

use super::keys::Keys;
use super::sketch::{Quantile, Sketch};
use crate::config::settings;

/// A key that has been silent this long makes room for another one when room is short.
const SILENCE_MS: u64 = 3_600_000;

/// The state of one policy: about 1.1 KiB a key.
#[derive(Debug)]
pub struct Percentile {
    // Boxed, as the table has slack.
    keys: Keys<Box<Sketch>>,
    /// Keys for which there is no room share one.
    others: Sketch,
    quantile: Quantile,
    threshold_ms: u64,
}

impl Percentile {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(settings: &settings::Percentile) -> Self {
        Percentile {
            keys: Keys::new(settings.max_keys, SILENCE_MS),
            others: Sketch::new(0),
            quantile: Quantile::from_percentile(settings.percentile),
            threshold_ms: settings.threshold_ms,
        }
    }

    /// The most bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.keys.bytes_max() + self.keys.keys_max() * size_of::<Sketch>()
    }

    /// Whether a trace of this duration is slow for its key: longer than the percentile (by at most 5 % more) of
    /// those before it, and longer than the threshold. Then learns it.
    pub fn is_slow(&mut self, key: u64, duration_ms: u64, now_ms: u64) -> bool {
        let sketch = match self.keys.see(key, now_ms, || Box::new(Sketch::new(now_ms))) {
            Some(sketch) => sketch,
            None => &mut self.others,
        };
        let slow = duration_ms > self.threshold_ms && sketch.is_beyond(duration_ms, self.quantile);
        sketch.learn(duration_ms, self.quantile, now_ms);
        slow
    }
}

#[cfg(test)]
mod tests;
