//! `adaptive`: a ratio for each key, so that busy keys do not crowd out the others.

use super::credit::{Credit, seconds_since};
use super::shares::Shares;
use crate::sampling::Threshold;
use crate::sampling::settings::{self, Goal};

/// Bounds of the credit, in goals of an interval: 4 of overspent goal are paid back, and 2 of unspent goal may be spent
/// later. A credit of -4 reduces the ratio to 1/55, which ends any burst. A lower bound would only prolong the payback.
const CREDIT_INTERVALS: (f64, f64) = (-4.0, 2.0);

/// The state of one `adaptive` policy. It takes 80 bytes for each key, at most 190 with the unused places of the table.
#[derive(Debug)]
pub struct AdaptiveState {
    goal: Goal,
    shares: Shares,
    /// The credit, in goals of an interval. A trace spends its probability, whether it is kept or not.
    credit: Credit,
    now_ms: Option<u64>,
}

impl AdaptiveState {
    /// Creates a state that has seen no trace yet.
    #[must_use]
    pub fn new(settings: &settings::Adaptive) -> Self {
        let interval_ms = settings.adjustment_interval.as_millis() as u64;
        AdaptiveState {
            goal: settings.goal,
            shares: Shares::new(settings.goal, settings.memory, interval_ms, settings.max_keys),
            credit: Credit::new(CREDIT_INTERVALS),
            now_ms: None,
        }
    }

    /// Returns the maximum bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.shares.bytes_max()
    }

    /// Returns the threshold of the next trace, which has this key and number of spans, and learns the trace.
    pub fn threshold(&mut self, key: u64, span_count: u32, now_ms: u64) -> Threshold {
        let weight = self.shares.weight(span_count);
        let earned = match self.goal {
            Goal::Percentage(percentage) => weight * percentage / 100.0,
            Goal::SpansPerSecond(spans) => spans * seconds_since(&mut self.now_ms, now_ms),
        };
        let threshold = self.shares.threshold(key, weight, self.credit.boost(1.0), now_ms);
        self.credit.add((earned - threshold.probability() * weight) / self.shares.interval_goal(now_ms));
        threshold
    }
}

#[cfg(test)]
mod tests;
