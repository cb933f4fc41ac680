//! Simulated traffic, and tests that hold for every policy: adjusted counts sum to the number of traces.

use std::time::Duration;

use super::*;
use crate::condition::Condition;
use crate::sampling::Threshold;
use crate::sampling::settings::{self, Goal, KeyField, KeySpan, TraceKey, TrafficMemory};

pub(super) fn key() -> TraceKey {
    TraceKey { fields: vec![KeyField::Service], of: KeySpan::Entry }
}

/// A trace of a simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    pub(super) key: u64,
    pub(super) span_count: u32,
    pub(super) randomness: u64,
    pub(super) now_ms: u64,
}

/// Traces whose keys have Zipf's distribution: key `k` is 1/(k + 1) times as frequent as key 0.
pub(super) struct Traffic {
    pub(super) random: fastrand::Rng,
    pub(super) now_ms: f64,
    cumulative: Vec<f64>,
}

impl Traffic {
    pub(super) fn zipf(keys: usize) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=keys)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Traffic { random: fastrand::Rng::with_seed(29), now_ms: 0.0, cumulative }
    }

    /// Returns the next trace, with 1 to 11 spans. Traces come at random times, `per_second` on average.
    pub(super) fn next(&mut self, per_second: f64) -> Trace {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let point = self.random.f64() * total;
        let key = self.cumulative.partition_point(|&sum| sum <= point) as u64;
        self.next_of(key, per_second)
    }

    /// Returns the next trace like [`Traffic::next`], but with this key.
    pub(super) fn next_of(&mut self, key: u64, per_second: f64) -> Trace {
        self.now_ms -= (1.0 - self.random.f64()).ln() * 1000.0 / per_second;
        let span_count = self.random.u32(1..=11);
        Trace { key, span_count, randomness: self.random.u64(..1 << 56), now_ms: self.now_ms as u64 }
    }
}

/// Counts of traces and of the kept ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) traces: f64,
    pub(super) spans: f64,
    pub(super) kept_traces: f64,
    /// The number of kept traces that the thresholds predict. It has no sampling noise.
    pub(super) expected_traces: f64,
    pub(super) expected_spans: f64,
    /// The sum of the adjusted counts of the kept traces.
    pub(super) counted: f64,
    /// The variance of `counted`: 1/p - 1 for each trace.
    variance: f64,
}

impl Tally {
    /// Adds `trace`. Returns true if `threshold` keeps it.
    pub(super) fn add(&mut self, trace: Trace, threshold: Threshold) -> bool {
        let kept = threshold.keeps(trace.randomness);
        self.traces += 1.0;
        self.spans += f64::from(trace.span_count);
        self.expected_traces += threshold.probability();
        self.expected_spans += threshold.probability() * f64::from(trace.span_count);
        self.variance += threshold.adjusted_count() - 1.0;
        if kept {
            self.kept_traces += 1.0;
            self.counted += threshold.adjusted_count();
        }
        kept
    }

    /// Checks that adjusted counts sum to the number of traces, within four standard deviations. The standard deviation
    /// must be below 10 % of the number, or the check proves nothing.
    #[track_caller]
    pub(super) fn assert_unbiased(&self, what: &str) {
        let deviation = self.variance.sqrt();
        assert!(
            deviation < 0.1 * self.traces,
            "{what}: a deviation of {deviation} for {} traces proves nothing",
            self.traces
        );
        let error = self.counted - self.traces;
        assert!(error.abs() <= 4.0 * deviation, "{what}: off by {error}, with a standard deviation of {deviation}");
    }
}

pub(super) fn adaptive(goal: Goal, memory: TrafficMemory, max_keys: usize) -> AdaptiveState {
    let adjustment_interval = Duration::from_secs(15);
    AdaptiveState::new(&settings::Adaptive { key: key(), goal, memory, adjustment_interval, max_keys })
}

pub(super) const EMA: TrafficMemory = TrafficMemory::Ema(0.5);
pub(super) const WINDOWED: TrafficMemory = TrafficMemory::Windowed(Duration::from_secs(60));

#[test]
fn adjusted_counts_of_adaptive_sum_to_the_traces() {
    for goal in [Goal::Percentage(5.0), Goal::SpansPerSecond(60.0)] {
        for memory in [EMA, WINDOWED] {
            // There are more keys than the table can hold, from the first trace on.
            let (mut policy, mut traffic) = (adaptive(goal, memory, 50), Traffic::zipf(80));
            let (mut all, mut busiest) = (Tally::default(), Tally::default());
            for _ in 0..100_000 {
                let trace = traffic.next(200.0);
                let threshold = policy.threshold(trace.key, trace.span_count, trace.now_ms);
                all.add(trace, threshold);
                if trace.key == 0 {
                    busiest.add(trace, threshold);
                }
            }
            all.assert_unbiased(&format!("{goal:?} {memory:?}"));
            busiest.assert_unbiased(&format!("busiest key, {goal:?} {memory:?}"));
        }
    }
}

#[test]
fn adjusted_counts_of_budget_sum_to_the_traces() {
    let settings = settings::BudgetPolicy { spans_per_month: 60.0 * 30.0 * 86_400.0, key: key(), max_keys: 50 };
    let (mut policy, mut traffic, mut tally) = (BudgetState::new(&settings), Traffic::zipf(80), Tally::default());
    for index in 0..100_000 {
        let trace = traffic.next(200.0);
        let ratio = policy.threshold(trace.key, trace.span_count, trace.now_ms);
        // One trace in a hundred is kept on evidence.
        let threshold = if index % 100 == 0 { Threshold::ALWAYS } else { ratio };
        if tally.add(trace, threshold) {
            policy.kept(trace.span_count, trace.now_ms);
        }
    }
    tally.assert_unbiased("budget");
}

#[test]
fn adjusted_counts_of_identical_errors_sum_to_the_errors() {
    let settings = settings::IdenticalErrors {
        condition: Condition::Constant(true),
        key: key(),
        first: 5,
        window: Duration::from_secs(60),
        sampling_percentage: 10.0,
        max_keys: 50,
    };
    let (mut policy, mut traffic) = (IdenticalErrorsState::new(&settings), Traffic::zipf(80));
    let mut tally = Tally::default();
    for _ in 0..100_000 {
        let trace = traffic.next(200.0);
        tally.add(trace, policy.threshold(trace.key, trace.now_ms));
    }
    tally.assert_unbiased("identical_errors");
    assert!(tally.kept_traces < 0.3 * tally.traces, "kept {} of {}", tally.kept_traces, tally.traces);
}

#[test]
fn adjusted_counts_of_rare_beside_a_ratio_sum_to_the_traces() {
    let settings = settings::Rare { key: key(), traces_per_minute: 3, max_keys: 50 };
    let (mut policy, mut traffic, mut tally) = (RareState::new(&settings), Traffic::zipf(80), Tally::default());
    let ratio = Threshold::from_percent(5.0);
    for _ in 0..100_000 {
        let trace = traffic.next(200.0);
        let rare = policy.keeps(trace.key, trace.now_ms);
        tally.add(trace, if rare { Threshold::ALWAYS } else { ratio });
    }
    tally.assert_unbiased("rare and a ratio");
}
