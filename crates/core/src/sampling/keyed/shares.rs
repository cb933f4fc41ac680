//! A goal divided among keys: each gets a share by the logarithm of its traffic.
//!
//! λ is the traffic of a key (an average of past intervals) and G is the goal, both for one interval. ρ is chosen so
//! that Σ min(λ, ρ ln(1 + λ)) = G. A trace is kept with probability ρ ln(1 + λ) / λ, at most 1. So all traces of quiet
//! keys are kept, and a key that is ten times as busy as another has only a few more kept traces.
//!
//! If the traffic of a key in the present interval exceeds its average, it counts instead of λ. So the probability
//! falls from the first trace of a burst on.

use super::keys::KeyTable;
use crate::sampling::Threshold;
use crate::sampling::settings::{Goal, TrafficMemory};

/// Maximum number of intervals in the window of [`TrafficMemory::Windowed`]. It bounds the memory of a key.
const SLOTS_MAX: usize = 12;

/// With an exponential average, keys that were not seen for this number of intervals make room for others.
const SILENCE_INTERVALS: u64 = 2;

/// Maximum number of rounds of the search for ρ. Three to five are usual. Each round is a pass over all keys. The
/// credit of the caller corrects an error that is left after the last one.
const ROUNDS_MAX: usize = 16;

/// The search ends when ρ grows by less than this share.
const LEVEL_PRECISION: f64 = 1e-3;

/// Hexadecimal digits of a threshold. The specification recommends 4, which is within 0.1 % of the probability.
const THRESHOLD_DIGITS: u32 = 4;

/// The traffic of all keys, and the share of it to keep.
#[derive(Debug)]
pub(super) struct Shares {
    goal: Goal,
    memory: IntervalMemory,
    interval_ms: u64,
    keys: KeyTable<Traffic>,
    /// The traffic of all keys for which there is no room in the table. They count as one key.
    others: Traffic,
    /// The end of the present interval; `None` before the first trace.
    end_ms: Option<u64>,
    /// The number of past intervals that entered the averages.
    intervals: u64,
    /// The traffic of the present interval so far.
    current: f64,
    /// The traffic of the last interval.
    last: f64,
    /// The average traffic of past intervals.
    average: f64,
    /// ρ; `None` as long as past intervals have no traffic.
    level: Option<f64>,
}

/// The traffic of a key: in traces if the goal is a percentage, else in spans. The 24 bits of `f32` are enough: a key
/// with more traffic in an interval counts as if it had 17 million.
#[derive(Debug, Default)]
struct Traffic {
    /// Average traffic of an interval, as [`IntervalMemory`] weighs the past.
    average: f32,
    /// ln(1 + `average`), which the search for ρ needs in each round.
    logarithm: f32,
    /// Traffic of the present interval so far.
    current: f32,
    /// Traffic of each past interval, if the memory is a window.
    slots: [f32; SLOTS_MAX],
}

/// [`TrafficMemory`] with times as numbers of intervals.
#[derive(Clone, Copy, Debug)]
enum IntervalMemory {
    Ema { weight: f32 },
    Windowed { intervals: u64 },
}

impl Shares {
    /// Returns the maximum bytes that the keys take.
    pub(super) fn bytes_max(&self) -> usize {
        self.keys.bytes_max()
    }

    /// Creates shares of `goal` for at most `keys_max` keys. Each key takes 80 bytes, at most 190 with the unused
    /// places of the table.
    pub(super) fn new(goal: Goal, memory: TrafficMemory, adjustment_interval_ms: u64, keys_max: usize) -> Self {
        let adjustment_interval_ms = adjustment_interval_ms.max(1);
        let (memory, interval_ms, silence_intervals) = match memory {
            TrafficMemory::Ema(weight) => {
                (IntervalMemory::Ema { weight: weight as f32 }, adjustment_interval_ms, SILENCE_INTERVALS)
            }
            TrafficMemory::Windowed(lookback) => {
                let lookback_ms = lookback.as_millis() as u64;
                let intervals = (lookback_ms / adjustment_interval_ms).clamp(1, SLOTS_MAX as u64);
                (IntervalMemory::Windowed { intervals }, (lookback_ms / intervals).max(1), intervals)
            }
        };
        Shares {
            goal,
            memory,
            interval_ms,
            keys: KeyTable::new(keys_max, interval_ms * silence_intervals),
            others: Traffic::default(),
            end_ms: None,
            intervals: 0,
            current: 0.0,
            last: 0.0,
            average: 0.0,
            level: None,
        }
    }

    /// Returns the weight of a trace in traffic and goal: 1 if the goal is a percentage, else the number of its spans.
    pub(super) fn weight(&self, span_count: u32) -> f64 {
        match self.goal {
            Goal::Percentage(_) => 1.0,
            Goal::SpansPerSecond(_) => f64::from(span_count.max(1)),
        }
    }

    /// Returns the goal of an interval with the present traffic: that of this interval so far, and of the last interval
    /// for the rest. At least 1, because less than one trace cannot be kept.
    pub(super) fn interval_goal(&self, now_ms: u64) -> f64 {
        let left_ms = self.end_ms.map_or(0, |end_ms| end_ms.saturating_sub(now_ms));
        let traffic = self.current + self.last * left_ms as f64 / self.interval_ms as f64;
        self.goal_of(traffic).max(1.0)
    }

    /// Counts a trace of this key and weight. Returns the threshold at which to keep it, so that `boost` times the goal
    /// is kept in all.
    pub(super) fn threshold(&mut self, key: u64, weight: f64, boost: f64, now_ms: u64) -> Threshold {
        self.advance(now_ms);
        self.current += weight;
        let traffic = self.keys.see(key, now_ms, Traffic::default).unwrap_or(&mut self.others);
        traffic.current += weight as f32;
        let traffic = f64::from(traffic.average.max(traffic.current));
        let probability = match self.level {
            Some(level) => level * traffic.ln_1p() / traffic,
            None => self.goal_of(self.current) / self.current,
        };
        Threshold::from_probability(probability * boost).rounded(THRESHOLD_DIGITS)
    }

    /// Returns the goal of an interval with this traffic.
    fn goal_of(&self, traffic: f64) -> f64 {
        match self.goal {
            Goal::Percentage(percentage) => traffic * percentage / 100.0,
            Goal::SpansPerSecond(spans) => spans * self.interval_ms as f64 / 1000.0,
        }
    }

    /// Ends the present interval if it is over, and computes ρ.
    fn advance(&mut self, now_ms: u64) {
        let end_ms = *self.end_ms.get_or_insert(now_ms + self.interval_ms);
        let Some(late_ms) = now_ms.checked_sub(end_ms) else { return };
        let intervals = 1 + late_ms / self.interval_ms;
        self.end_ms = Some(end_ms + intervals * self.interval_ms);
        // Further intervals without traffic do not change an exponential average. A window moves on over them.
        let steps = if let IntervalMemory::Windowed { intervals: all } = self.memory { intervals.min(all) } else { 1 };
        for _ in 0..steps {
            self.remember();
        }
        self.level = self.level();
    }

    /// Makes the present interval a past one.
    fn remember(&mut self) {
        self.last = std::mem::take(&mut self.current);
        self.average = 0.0;
        self.intervals += 1;
        for traffic in self.keys.states_mut().chain([&mut self.others]) {
            traffic.remember(self.memory, self.intervals);
            self.average += f64::from(traffic.average);
        }
    }

    /// Returns ρ for the present averages; `None` if there is no traffic. This is Newton's method from below on a
    /// concave function, so it never overshoots.
    fn level(&self) -> Option<f64> {
        if self.average == 0.0 {
            return None;
        }
        let goal = self.goal_of(self.average);
        let mut level = 0.0;
        for _ in 0..ROUNDS_MAX {
            let (mut whole, mut logarithms) = (0.0, 0.0);
            for traffic in self.keys.states().chain([&self.others]) {
                let (average, logarithm) = (f64::from(traffic.average), f64::from(traffic.logarithm));
                if average <= level * logarithm { whole += average } else { logarithms += logarithm }
            }
            if logarithms == 0.0 {
                // The goal is more than the traffic. Leave room for growth: any single key may grow up to the goal.
                return Some(level.max(goal / goal.ln_1p()));
            }
            let next = (goal - whole) / logarithms;
            if next <= level * (1.0 + LEVEL_PRECISION) {
                break;
            }
            level = next;
        }
        Some(level)
    }
}

impl Traffic {
    /// Makes the present interval a past one, with this `number`, which counts from 1.
    fn remember(&mut self, memory: IntervalMemory, number: u64) {
        match memory {
            // The first intervals are averaged with equal weights. Otherwise the past would seem quieter than it was.
            IntervalMemory::Ema { weight } => {
                self.average += weight.max(1.0 / number as f32) * (self.current - self.average);
            }
            IntervalMemory::Windowed { intervals } => {
                self.slots[(number % intervals) as usize] = self.current;
                self.average = self.slots.iter().sum::<f32>() / number.min(intervals) as f32;
            }
        }
        self.logarithm = self.average.ln_1p();
        self.current = 0.0;
    }
}

#[cfg(test)]
mod tests;
