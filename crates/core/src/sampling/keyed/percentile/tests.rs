use super::*;
use crate::sampling::keyed::tests::key;

fn percentile(percentile: f64, threshold_ms: u64, max_keys: usize) -> PercentileState {
    PercentileState::new(&settings::Percentile { percentile, key: key(), threshold_ms, max_keys })
}

#[test]
fn a_trace_is_slow_if_it_is_slow_for_its_key() {
    let mut policy = percentile(95.0, 0, 10);
    for index in 0..1_000 {
        policy.is_slow(1, 20 + index % 10, index);
        policy.is_slow(2, 2_000 + index % 100, index);
    }
    for (key, duration_ms, slow) in [(1, 28, false), (1, 40, true), (2, 40, false), (2, 2_050, false), (2, 2_300, true)]
    {
        assert_eq!(policy.is_slow(key, duration_ms, 1_000), slow, "key {key}, {duration_ms} ms");
    }
}

#[test]
fn a_trace_is_compared_only_with_earlier_ones() {
    let mut policy = percentile(50.0, 0, 10);
    let slow: Vec<bool> = (0..21).map(|_| policy.is_slow(1, 10, 0)).collect();
    assert!(slow.iter().all(|slow| !slow), "no trace is slow at the start, or if all durations are equal");
    assert!(policy.is_slow(1, 11, 0));
}

#[test]
fn no_trace_below_the_threshold_is_slow() {
    let mut policy = percentile(95.0, 100, 10);
    (0..1_000).for_each(|now_ms| assert!(!policy.is_slow(1, 10, now_ms)));
    for (duration_ms, slow) in [(50, false), (100, false), (101, true)] {
        assert_eq!(policy.is_slow(1, duration_ms, 1_000), slow, "{duration_ms} ms");
    }
}

#[test]
fn the_wanted_share_of_the_traces_is_slow() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut policy = percentile(99.0, 0, 10);
    let traces = 200_000;
    let slow = (0..traces)
        .filter(|now_ms| policy.is_slow(1, (20.0 * (1.0 - random.f64()).powf(-0.7)) as u64, now_ms / 10))
        .count();
    // The percentile is within a bucket, so the share may be less than 1 %, and is never much more.
    assert!((0.009..0.0103).contains(&(slow as f64 / traces as f64)), "{slow} of {traces}");
}

#[test]
fn keys_without_room_share_a_sketch() {
    let mut policy = percentile(90.0, 0, 1);
    for now_ms in 0..500 {
        policy.is_slow(1, 1_000, now_ms);
        policy.is_slow(2 + now_ms, 10, now_ms);
    }
    assert!(policy.is_slow(9_999, 15, 500), "a key without room uses the shared sketch");
    assert!(!policy.is_slow(1, 15, 500), "a key in the table uses its own sketch");
}
