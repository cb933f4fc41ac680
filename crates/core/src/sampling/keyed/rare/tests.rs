use std::collections::HashMap;

use super::*;
use crate::sampling::keyed::tests::{Traffic, key};

fn rare(traces_per_minute: u32, max_keys: usize) -> RareState {
    RareState::new(&settings::Rare { key: key(), traces_per_minute, max_keys })
}

#[test]
fn the_first_traces_of_each_key_in_each_minute_are_kept() {
    let mut policy = rare(2, 100);
    for (key, now_ms, kept) in [
        (1, 0, true),
        (1, 1, true),
        (1, 2, false),
        (2, 3, true),
        (1, 59_999, false),
        // A minute has passed since the first trace of key 1. The minute of key 2 has 3 ms left.
        (1, 60_000, true),
        (2, 60_000, true),
        (2, 60_002, false),
        (2, 60_003, true),
        (1, 60_004, true),
        (1, 60_005, false),
        // The next minute begins with the next trace, not at the end of the last minute.
        (1, 170_000, true),
        (1, 200_000, true),
        (1, 229_999, false),
        (1, 230_000, true),
    ] {
        assert_eq!(policy.keeps(key, now_ms), kept, "key {key} at {now_ms} ms");
    }
}

#[test]
fn every_key_is_kept_at_least_once_a_minute() {
    let (mut policy, mut traffic) = (rare(1, 1_000), Traffic::zipf(500));
    let mut last_kept: HashMap<u64, u64> = HashMap::new();
    let mut kept_count = 0;
    while traffic.now_ms < 1_800_000.0 {
        let trace = traffic.next(100.0);
        if policy.keeps(trace.key, trace.now_ms) {
            kept_count += 1;
            last_kept.insert(trace.key, trace.now_ms);
        }
        let since_ms = trace.now_ms - last_kept.get(&trace.key).copied().unwrap_or_default();
        assert!(since_ms < MINUTE_MS, "key {} was not kept for {since_ms} ms", trace.key);
    }
    assert!(kept_count <= 500 * 30, "kept {kept_count} traces of 500 keys in 30 minutes");
}

#[test]
fn a_flood_of_keys_keeps_a_bounded_number_of_traces() {
    let mut policy = rare(2, 100);
    // 1,000 new keys a second come for ten minutes.
    let kept = (0..600_000).filter(|&now_ms| policy.keeps(now_ms, now_ms)).count();
    assert!(kept <= 100 * 2 * 10, "kept {kept} traces in 10 minutes, with 100 keys in the table");
}
