//! `budget`: an `adaptive` whose goal is what a month's budget leaves.
//!
//! The budget is paced evenly: so many spans a second. Every kept trace is charged, whatever kept it; errors and slow
//! traces are never refused. What they spend is missing to the ratio, which falls until both together spend what comes
//! in.

use super::credit::{Credit, seconds_since};
use super::shares::Shares;
use crate::config::settings::{self, Goal, TrafficMemory};
use crate::sampling::Threshold;

/// A month, as budgets count it: 30 days.
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;

/// How often shares are made anew, and the weight of the last interval: what Refinery's EMA samplers do by default.
const ADJUSTMENT_INTERVAL_MS: u64 = 15_000;
const MEMORY: TrafficMemory = TrafficMemory::Ema(0.5);

/// How fast the ratio follows what errors and slow traces spend: the time after which it has made most of the way.
const RESPONSE_SECONDS: f64 = 300.0;

/// Unused budget of so long may be used later. A restart costs no more than that.
const CARRY_SECONDS: f64 = 600.0;

/// Overspent budget of so long is paid back. At the bottom the ratio is at 1/1000 of what it would be without errors:
/// nearly nothing, but counts stay possible.
const DEBT_SECONDS: f64 = 7.0 * RESPONSE_SECONDS;

/// The present pace is an average over about this long.
const PACE_SECONDS: f64 = 3_600.0;

/// The state of one `budget` policy: 80 B a key, 190 B with the most slack of the table.
#[derive(Debug)]
pub struct Budget {
    spans_per_second: f64,
    shares: Shares,
    /// In seconds of budget.
    credit: Credit,
    pace: Pace,
    now_ms: Option<u64>,
}

impl Budget {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(settings: &settings::Budget) -> Self {
        let spans_per_second = settings.spans_per_month / MONTH_SECONDS;
        let goal = Goal::SpansPerSecond(spans_per_second);
        Budget {
            spans_per_second,
            shares: Shares::new(goal, MEMORY, ADJUSTMENT_INTERVAL_MS, settings.max_keys),
            credit: Credit::new((-DEBT_SECONDS, CARRY_SECONDS)),
            pace: Pace::default(),
            now_ms: None,
        }
    }

    /// The most bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.shares.bytes_max()
    }

    /// The threshold of the next trace, which has this key and so many spans.
    pub fn threshold(&mut self, key: u64, span_count: u32, now_ms: u64) -> Threshold {
        self.advance(now_ms);
        let weight = self.shares.weight(span_count);
        self.shares.threshold(key, weight, self.credit.boost(RESPONSE_SECONDS), now_ms)
    }

    /// Charges a trace that was kept, by whatever policy.
    pub fn kept(&mut self, span_count: u32, now_ms: u64) {
        self.advance(now_ms);
        self.credit.add(-f64::from(span_count) / self.spans_per_second);
        self.pace.spans += f64::from(span_count);
    }

    /// Spans a month at the present pace, an average over about an hour; 0 at the very start.
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

/// Spans and seconds, both fading alike: their ratio is an average from the first second on.
#[derive(Debug, Default)]
struct Pace {
    spans: f64,
    seconds: f64,
}

impl Pace {
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
