//! `latency` with a percentile: a trace is slow if it is slow for its key.

use super::keys::KeyTable;
use super::sketch::{Quantile, Sketch};
use crate::sampling::settings;

/// A key that was not seen for this time makes room for another one when the table is full.
const SILENCE_MS: u64 = 3_600_000;

/// The state of one `latency` policy with a percentile. It takes about 1.1 KiB for each key.
#[derive(Debug)]
pub struct PercentileState {
    // Boxed, so that the unused places of the table are small.
    keys: KeyTable<Box<Sketch>>,
    /// The sketch that all keys share for which there is no room in the table.
    others: Sketch,
    quantile: Quantile,
    threshold_ms: u64,
}

impl PercentileState {
    /// Creates a state that has seen no trace yet.
    #[must_use]
    pub fn new(settings: &settings::Percentile) -> Self {
        PercentileState {
            keys: KeyTable::new(settings.max_keys, SILENCE_MS),
            others: Sketch::new(0),
            quantile: Quantile::from_percentile(settings.percentile),
            threshold_ms: settings.threshold_ms,
        }
    }

    /// Returns the maximum bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.keys.bytes_max() + self.keys.keys_max() * size_of::<Sketch>()
    }

    /// Returns true if a trace of this duration is slow for its key: longer than the threshold, and longer than the
    /// percentile of the earlier traces. The percentile is up to 5 % too high. Then learns the duration.
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
