//! The cost of a decision of each policy with keys, and of the longest call of `adaptive`, which recalculates the
//! ratios of 10,000 keys.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use spansieve::condition::Condition;
use spansieve::sampling::keyed::{AdaptiveState, BudgetState, IdenticalErrorsState, PercentileState, RareState};
use spansieve::sampling::settings::{self, Goal, KeyField, KeySpan, TraceKey, TrafficMemory};

/// Maximum keys in the table. The benchmark uses twice as many, so half of them find no free entry.
const MAX_KEYS: usize = 10_000;

const INTERVAL_MS: u64 = 15_000;

fn key() -> TraceKey {
    TraceKey { fields: vec![KeyField::Route], of: KeySpan::Entry }
}

fn adaptive(memory: TrafficMemory) -> AdaptiveState {
    AdaptiveState::new(&settings::Adaptive {
        key: key(),
        goal: Goal::SpansPerSecond(100.0),
        memory,
        adjustment_interval: Duration::from_millis(INTERVAL_MS),
        max_keys: MAX_KEYS,
    })
}

/// Returns a made-up hash of a key.
fn hash(index: u64) -> u64 {
    (index % (2 * MAX_KEYS as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Measures `decide(key, now_ms)` with a full table, at ten calls a millisecond.
fn bench<T>(criterion: &mut Criterion, name: &str, mut decide: impl FnMut(u64, u64) -> T) {
    let mut index = 0;
    let mut next = || {
        index += 1;
        decide(black_box(hash(index)), index / 10)
    };
    for _ in 0..20 * MAX_KEYS {
        next();
    }
    criterion.benchmark_group("decision").bench_function(name, |b| b.iter(&mut next));
}

/// Measures the first call of an interval, after an interval in which the traffic of the keys followed Zipf's law.
fn adjustment(policy: &mut AdaptiveState, interval: u64) -> Duration {
    for index in 0..MAX_KEYS as u64 {
        policy.threshold(hash(index), 1 + MAX_KEYS as u32 / (index as u32 + 1), interval * INTERVAL_MS);
    }
    let start = Instant::now();
    black_box(policy.threshold(0, 6, (interval + 1) * INTERVAL_MS));
    start.elapsed()
}

fn benches(criterion: &mut Criterion) {
    for (name, memory) in [
        ("adaptive, ema", TrafficMemory::Ema(0.5)),
        ("adaptive, windowed", TrafficMemory::Windowed(Duration::from_secs(60))),
    ] {
        let mut policy = adaptive(memory);
        bench(criterion, name, |key, now_ms| policy.threshold(key, 6, now_ms));
        let (mut policy, mut intervals) = (adaptive(memory), 0..);
        criterion.benchmark_group("adjustment").bench_function(name, |b| {
            b.iter_custom(|count| {
                intervals.by_ref().take(count as usize).map(|interval| adjustment(&mut policy, interval)).sum()
            });
        });
    }
    let settings = settings::BudgetPolicy { spans_per_month: 1e8, key: key(), max_keys: MAX_KEYS };
    let mut policy = BudgetState::new(&settings);
    bench(criterion, "budget", |key, now_ms| {
        policy.kept(6, now_ms);
        policy.threshold(key, 6, now_ms)
    });
    let settings = settings::Rare { key: key(), traces_per_minute: 1, max_keys: MAX_KEYS };
    let mut policy = RareState::new(&settings);
    bench(criterion, "rare", |key, now_ms| policy.keeps(key, now_ms));
    let settings = settings::IdenticalErrors {
        condition: Condition::Constant(true),
        key: key(),
        first: 10,
        window: Duration::from_secs(60),
        sampling_percentage: 5.0,
        max_keys: MAX_KEYS,
    };
    let mut policy = IdenticalErrorsState::new(&settings);
    bench(criterion, "identical_errors", |key, now_ms| policy.threshold(key, now_ms));
    let settings = settings::Percentile { percentile: 99.0, key: key(), threshold_ms: 0, max_keys: MAX_KEYS };
    let mut policy = PercentileState::new(&settings);
    bench(criterion, "percentile", |key, now_ms| policy.is_slow(key, key % 2_000, now_ms));
}

criterion_group!(policies, benches);
criterion_main!(policies);
