//! `budget`: an `adaptive` whose goal is the part of a month's budget that other policies leave.
//!
//! The budget is spread evenly over the month, as spans a second. Every kept trace is charged, no matter which policy
//! kept it. Errors and slow traces are never refused. Their spans reduce the ratio of the others, until all together
//! spend the spans a second of the budget.

use super::credit::{Credit, seconds_since};
use super::shares::Shares;
use crate::sampling::Threshold;
use crate::sampling::settings::{self, Goal, TrafficMemory};

/// A month of a budget, in seconds: 30 days.
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;

/// The interval at which shares are computed. It is the default of Refinery's EMA samplers, as is the weight of the
/// last interval in [`MEMORY`].
const ADJUSTMENT_INTERVAL_MS: u64 = 15_000;
const MEMORY: TrafficMemory = TrafficMemory::Ema(0.5);

/// The time in which the ratio covers most of the way to its new value, after the spending of errors and slow traces
/// has changed.
const RESPONSE_SECONDS: f64 = 300.0;

/// The unused budget that may be spent later, in seconds of budget. A restart costs at most that much.
const CARRY_SECONDS: f64 = 600.0;

/// The overspent budget that is paid back, in seconds of budget. At this bound the ratio is 1/1000 of the ratio without
/// errors: nearly 0, but high enough for adjusted counts.
const DEBT_SECONDS: f64 = 7.0 * RESPONSE_SECONDS;

/// The present pace is an average over about this time.
const PACE_SECONDS: f64 = 3_600.0;

/// The state of one `budget` policy. It takes 80 bytes for each key, at most 190 with the unused places of the table.
#[derive(Debug)]
pub struct BudgetState {
    spans_per_second: f64,
    shares: Shares,
    /// The credit, in seconds of budget.
    credit: Credit,
    pace: SpanRate,
    now_ms: Option<u64>,
}

impl BudgetState {
    /// Creates a state that has seen no trace yet.
    #[must_use]
    pub fn new(settings: &settings::BudgetPolicy) -> Self {
        let spans_per_second = settings.spans_per_month / MONTH_SECONDS;
        let goal = Goal::SpansPerSecond(spans_per_second);
        BudgetState {
            spans_per_second,
            shares: Shares::new(goal, MEMORY, ADJUSTMENT_INTERVAL_MS, settings.max_keys),
            credit: Credit::new((-DEBT_SECONDS, CARRY_SECONDS)),
            pace: SpanRate::default(),
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
        self.advance(now_ms);
        let weight = self.shares.weight(span_count);
        self.shares.threshold(key, weight, self.credit.boost(RESPONSE_SECONDS), now_ms)
    }

    /// Charges a kept trace to the budget, no matter which policy kept it.
    pub fn kept(&mut self, span_count: u32, now_ms: u64) {
        self.advance(now_ms);
        self.credit.add(-f64::from(span_count) / self.spans_per_second);
        self.pace.spans += f64::from(span_count);
    }

    /// Returns the number of spans that a month exports at the present pace, an average over about an hour. 0 at the
    /// start.
    pub fn month_estimate(&mut self, now_ms: u64) -> f64 {
        self.advance(now_ms);
        self.pace.spans_per_second() * MONTH_SECONDS
    }

    fn advance(&mut self, now_ms: u64) {
        let seconds = seconds_since(&mut self.now_ms, now_ms);
        self.credit.add(seconds);
        self.pace.advance(seconds);
    }
}

/// Sums of spans and seconds that decay at the same rate. Their ratio is an average from the first second on.
#[derive(Debug, Default)]
struct SpanRate {
    spans: f64,
    seconds: f64,
}

impl SpanRate {
    fn advance(&mut self, seconds: f64) {
        let fading = (-seconds / PACE_SECONDS).exp();
        self.spans *= fading;
        self.seconds = self.seconds * fading + PACE_SECONDS * (1.0 - fading);
    }

    fn spans_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.spans / self.seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
