//! A goal divided among keys: each gets a share by the logarithm of its traffic.
//!
//! With λ the traffic of a key (an average of past intervals) and G the goal, both for one interval, ρ is such that
//! Σ min(λ, ρ ln(1 + λ)) = G; a trace is kept with probability ρ ln(1 + λ) / λ, at most 1. So quiet keys are kept whole,
//! and a key that is ten times as busy as another is kept only a little more. A key that is busier in this interval than it used
//! to be counts with what it has brought so far: its probability falls from the first trace of a burst on.

use super::keys::Keys;
use crate::config::settings::{Goal, TrafficMemory};
use crate::sampling::Threshold;

/// The window of [`TrafficMemory::Windowed`] is at most so many intervals: bounds the memory of a key.
const SLOTS_MAX: usize = 12;

/// With an exponential average, keys that have been silent for so many intervals make room for others.
const SILENCE_INTERVALS: u64 = 2;

/// Rounds of the search for ρ. Three to five are usual; each round is a pass over all keys, and what is still missing
/// after the last one is evened out by the callers' credit.
const ROUNDS_MAX: usize = 16;

/// The search ends when ρ grows by less than this part.
const LEVEL_PRECISION: f64 = 1e-3;

/// Digits of a threshold, as the specification recommends: within 0.1 % of the probability.
const THRESHOLD_DIGITS: u32 = 4;

/// The traffic of all keys, and what share of it is to be kept.
#[derive(Debug)]
pub(super) struct Shares {
    goal: Goal,
    memory: Memory,
    interval_ms: u64,
    keys: Keys<Traffic>,
    /// Keys for which there is no room count as one.
    others: Traffic,
    /// When this interval is over; `None` before the first trace.
    end_ms: Option<u64>,
    /// Past intervals that are remembered or were.
    intervals: u64,
    /// The traffic of this interval so far.
    current: f64,
    /// The traffic of the interval before.
    last: f64,
    /// The average traffic of past intervals.
    average: f64,
    /// ρ; `None` as long as there is no past.
    level: Option<f64>,
}

/// The traffic of a key: traces if the goal is a percentage, spans if it is spans. 24 bits are enough: a key that brings
/// more in an interval counts as if it brought 17 million.
#[derive(Debug, Default)]
struct Traffic {
    /// Of an interval, by memory.
    average: f32,
    /// ln(1 + `average`): the search for ρ needs it in each round.
    logarithm: f32,
    /// Of this interval so far.
    current: f32,
    /// Of past intervals, if memory is a window.
    slots: [f32; SLOTS_MAX],
}

/// [`TrafficMemory`] in intervals.
#[derive(Clone, Copy, Debug)]
enum Memory {
    Ema { weight: f32 },
    Windowed { intervals: u64 },
}

impl Shares {
    /// The most bytes that the keys take.
    pub(super) fn bytes_max(&self) -> usize {
        self.keys.bytes_max()
    }

    /// A goal to divide among `keys_max` keys, each of which takes 80 B (190 B with the most slack of the table).
    pub(super) fn new(goal: Goal, memory: TrafficMemory, adjustment_interval_ms: u64, keys_max: usize) -> Self {
        let adjustment_interval_ms = adjustment_interval_ms.max(1);
        let (memory, interval_ms, silence_intervals) = match memory {
            TrafficMemory::Ema(weight) => {
                (Memory::Ema { weight: weight as f32 }, adjustment_interval_ms, SILENCE_INTERVALS)
            }
            TrafficMemory::Windowed(lookback) => {
                let lookback_ms = lookback.as_millis() as u64;
                let intervals = (lookback_ms / adjustment_interval_ms).clamp(1, SLOTS_MAX as u64);
                (Memory::Windowed { intervals }, (lookback_ms / intervals).max(1), intervals)
            }
        };
        Shares {
            goal,
            memory,
            interval_ms,
            keys: Keys::new(keys_max, interval_ms * silence_intervals),
            others: Traffic::default(),
            end_ms: None,
            intervals: 0,
            current: 0.0,
            last: 0.0,
            average: 0.0,
            level: None,
        }
    }

    /// What a trace weighs in traffic and goal.
    pub(super) fn weight(&self, span_count: u32) -> f64 {
        match self.goal {
            Goal::Percentage(_) => 1.0,
            Goal::SpansPerSecond(_) => f64::from(span_count.max(1)),
        }
    }

    /// The goal of an interval with the traffic of the last so many milliseconds. At least 1, as less than a trace
    /// cannot be kept.
    pub(super) fn interval_goal(&self, now_ms: u64) -> f64 {
        let left_ms = self.end_ms.map_or(0, |end_ms| end_ms.saturating_sub(now_ms));
        let traffic = self.current + self.last * left_ms as f64 / self.interval_ms as f64;
        self.goal_of(traffic).max(1.0)
    }

    /// Takes a trace of this key and weight into account; the threshold at which it is to be kept, if what is kept is
    /// to be `boost` times the goal.
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

    /// The goal of an interval with this traffic.
    fn goal_of(&self, traffic: f64) -> f64 {
        match self.goal {
            Goal::Percentage(percentage) => traffic * percentage / 100.0,
            Goal::SpansPerSecond(spans) => spans * self.interval_ms as f64 / 1000.0,
        }
    }

    /// Takes the traffic of the present interval into memory if it is over.
    fn advance(&mut self, now_ms: u64) {
        let end_ms = *self.end_ms.get_or_insert(now_ms + self.interval_ms);
        let Some(late_ms) = now_ms.checked_sub(end_ms) else { return };
        let intervals = 1 + late_ms / self.interval_ms;
        self.end_ms = Some(end_ms + intervals * self.interval_ms);
        // An interval without traffic teaches an exponential average nothing; a window moves on over it.
        let steps = if let Memory::Windowed { intervals: all } = self.memory { intervals.min(all) } else { 1 };
        for _ in 0..steps {
            self.remember();
        }
        self.level = self.level();
    }

    /// The present interval becomes a past one.
    fn remember(&mut self) {
        self.last = std::mem::take(&mut self.current);
        self.average = 0.0;
        self.intervals += 1;
        for traffic in self.keys.states_mut().chain([&mut self.others]) {
            traffic.remember(self.memory, self.intervals);
            self.average += f64::from(traffic.average);
        }
    }

    /// ρ for the averages as they are: Newton's method from below on a concave function, so it never overshoots. `None`
    /// if there is no traffic.
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
                // Everything fits, and some may come on top: any single key may be as busy as the goal.
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
    /// The present interval becomes the past one of this number, from 1 on.
    fn remember(&mut self, memory: Memory, number: u64) {
        match memory {
            // The first intervals of all are averaged plainly, or the past would seem quieter than it was.
            Memory::Ema { weight } => self.average += weight.max(1.0 / number as f32) * (self.current - self.average),
            Memory::Windowed { intervals } => {
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
