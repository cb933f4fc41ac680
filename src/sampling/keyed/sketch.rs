//! A quantile of durations that forgets, in about a kilobyte.

/// Durations below this have a bucket for each millisecond.
const EXACT_MS: usize = 20;

/// Above, each bucket ends this much higher than the one before: the relative error.
const GROWTH: f64 = 1.05;

/// Buckets: up to `EXACT_MS` × `GROWTH`^250, over an hour. Longer durations are alike.
const BUCKETS: usize = EXACT_MS + 250;

/// Everything counts half after this long.
const HALF_LIFE_MS: u64 = 600_000;

/// So many observations are expected beyond the quantile before it is answered: with 10, the share that is in truth
/// beyond the answer is within a factor of 2 of what was asked for.
const OBSERVATIONS_BEYOND: f64 = 10.0;

/// Everything counts half at this weight, however little time has passed: sums of `f32` stay exact to 24 bits, and a
/// million observations say more of a quantile than its buckets can show.
const WEIGHT_MAX: f32 = (1 << 20) as f32;

/// A duration counts as at most so many buckets above the quantile, half as much again: a flood of slow traces raises it
/// step by step, each step as many traces as the quantile leaves beyond it.
const RISE_BUCKETS_MAX: usize = 8;

/// The durations of one key.
#[derive(Debug)]
pub(super) struct Sketch {
    counts: [f32; BUCKETS],
    /// The sum of all counts.
    weight: f32,
    /// The sum of the counts above `level`.
    above: f32,
    /// The lowest bucket above which lies no more than the asked share.
    level: usize,
    halved_ms: u64,
}

/// What is asked of sketches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantile {
    /// The share beyond it, 0 to 1.
    beyond: f32,
    /// Before this weight there is no answer.
    weight_min: f32,
}

impl Quantile {
    /// The quantile that `percentile` (0 to 100) of the observations do not exceed.
    pub(super) fn from_percentile(percentile: f64) -> Self {
        let beyond = 1.0 - percentile / 100.0;
        // Half of the greatest weight, for a halving must not take the answer away.
        let weight_min = (OBSERVATIONS_BEYOND / beyond).ceil().clamp(1.0, f64::from(WEIGHT_MAX) / 2.0);
        Quantile { beyond: beyond as f32, weight_min: weight_min as f32 }
    }
}

impl Sketch {
    /// A sketch of nothing.
    pub(super) fn new(now_ms: u64) -> Self {
        Sketch { counts: [0.0; BUCKETS], weight: 0.0, above: 0.0, level: 0, halved_ms: now_ms }
    }

    /// Whether a duration is beyond the quantile of what was learned: longer than it by more than 5 % for sure, never if
    /// it is shorter. No more than the asked share of what was learned ever is. Nothing is before there are enough
    /// observations.
    pub(super) fn is_beyond(&self, duration_ms: u64, quantile: Quantile) -> bool {
        self.weight >= quantile.weight_min && bucket(duration_ms) > self.level
    }

    /// Learns a duration.
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

    /// Halves all counts when a half-life is over, unless too few would be left for an answer: a quiet key remembers as
    /// many observations as it needs, however old.
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

    /// Moves `level` to where it belongs: a bucket or two for an observation, on average.
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

/// The bucket of a duration.
fn bucket(duration_ms: u64) -> usize {
    if duration_ms < EXACT_MS as u64 {
        return duration_ms as usize;
    }
    let steps = (duration_ms as f64 / EXACT_MS as f64).ln() / GROWTH.ln();
    (EXACT_MS + steps as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests;
