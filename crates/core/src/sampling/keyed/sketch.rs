//! A quantile of durations that forgets old ones, in about a kilobyte.

/// Durations below this have a bucket for each millisecond.
const EXACT_MS: usize = 20;

/// Above, the end of each bucket is this factor times the end of the one before. It is the relative error of the
/// quantile.
const GROWTH: f64 = 1.05;

/// Number of buckets. They reach up to `EXACT_MS` × `GROWTH`^250, which is over an hour. Longer durations share the
/// last one.
const BUCKETS: usize = EXACT_MS + 250;

/// All counts are halved after this time.
const HALF_LIFE_MS: u64 = 600_000;

/// There is no answer until this number of observations is expected beyond the quantile. With 10, the true share beyond
/// the answer is within a factor of 2 of the wanted share.
const OBSERVATIONS_BEYOND: f64 = 10.0;

/// All counts are halved at this weight, even if little time has passed. So sums of `f32` stay exact to 24 bits. A
/// million observations determine a quantile more precisely than the buckets can show.
const WEIGHT_MAX: f32 = (1 << 20) as f32;

/// A duration counts as at most this number of buckets above the quantile, about 1.5 times as long. So a flood of slow
/// traces raises the quantile step by step. Each step takes as many traces as the quantile leaves beyond it.
const RISE_BUCKETS_MAX: usize = 8;

/// The durations of one key.
#[derive(Debug)]
pub(super) struct Sketch {
    counts: [f32; BUCKETS],
    /// The sum of all counts.
    weight: f32,
    /// The sum of the counts above `level`.
    above: f32,
    /// The lowest bucket for which no more than the wanted share is in higher buckets.
    level: usize,
    halved_ms: u64,
}

/// The quantile that sketches track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantile {
    /// The share of the observations beyond the quantile, 0 to 1.
    beyond: f32,
    /// The least weight for which there is an answer.
    weight_min: f32,
}

impl Quantile {
    /// Returns the quantile that `percentile` (0 to 100) of the observations do not exceed.
    pub(super) fn from_percentile(percentile: f64) -> Self {
        let beyond = 1.0 - percentile / 100.0;
        // At most half of the maximum weight, so that there is still an answer after a halving.
        let weight_min = (OBSERVATIONS_BEYOND / beyond).ceil().clamp(1.0, f64::from(WEIGHT_MAX) / 2.0);
        Quantile { beyond: beyond as f32, weight_min: weight_min as f32 }
    }
}

impl Sketch {
    /// Creates an empty sketch.
    pub(super) fn new(now_ms: u64) -> Self {
        Sketch { counts: [0.0; BUCKETS], weight: 0.0, above: 0.0, level: 0, halved_ms: now_ms }
    }

    /// Returns true if a duration is beyond the quantile of the learned ones. A duration that is longer by more than 5
    /// % is always beyond it, and a shorter one never. No more than the wanted share of the learned durations is.
    /// Without enough observations the result is false.
    pub(super) fn is_beyond(&self, duration_ms: u64, quantile: Quantile) -> bool {
        self.weight >= quantile.weight_min && bucket(duration_ms) > self.level
    }

    /// Adds a duration.
    pub(super) fn learn(&mut self, duration_ms: u64, quantile: Quantile, now_ms: u64) {
        self.forget(quantile, now_ms);
        let answers = self.weight >= quantile.weight_min;
        let highest = if answers { self.level + RISE_BUCKETS_MAX } else { BUCKETS };
        let bucket = bucket(duration_ms).min(highest);
        self.counts[bucket] += 1.0;
        self.weight += 1.0;
        if bucket > self.level {
            self.above += 1.0;
        }
        self.settle(quantile);
    }

    /// Halves all counts when a half-life is over, unless too few would be left for an answer. So a quiet key remembers
    /// as many observations as it needs, even old ones.
    fn forget(&mut self, quantile: Quantile, now_ms: u64) {
        let mut halves = now_ms.saturating_sub(self.halved_ms) / HALF_LIFE_MS;
        self.halved_ms += halves * HALF_LIFE_MS;
        let mut factor = 1.0;
        while self.weight * factor >= WEIGHT_MAX || (halves > 0 && self.weight * factor >= 2.0 * quantile.weight_min) {
            factor /= 2.0;
            halves = halves.saturating_sub(1);
        }
        if factor < 1.0 {
            self.counts.iter_mut().for_each(|count| *count *= factor);
            self.weight = self.counts.iter().sum();
            self.above = self.counts[self.level + 1..].iter().sum();
        }
    }

    /// Moves `level` to its right place, by a bucket or two for each observation on average.
    fn settle(&mut self, quantile: Quantile) {
        let beyond = quantile.beyond * self.weight;
        while self.above > beyond && self.level + 1 < BUCKETS {
            self.level += 1;
            self.above -= self.counts[self.level];
        }
        while self.level > 0 && self.above + self.counts[self.level] <= beyond {
            self.above += self.counts[self.level];
            self.level -= 1;
        }
    }
}

/// Returns the bucket of a duration.
fn bucket(duration_ms: u64) -> usize {
    if duration_ms < EXACT_MS as u64 {
        return duration_ms as usize;
    }
    let steps = (duration_ms as f64 / EXACT_MS as f64).ln() / GROWTH.ln();
    (EXACT_MS + steps as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests;
