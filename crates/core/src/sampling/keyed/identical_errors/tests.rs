use std::time::Duration;

use super::*;
use crate::condition::Condition;
use crate::sampling::keyed::tests::key;

fn policy(first: u32, sampling_percentage: f64, max_keys: usize) -> IdenticalErrorsState {
    IdenticalErrorsState::new(&settings::IdenticalErrors {
        condition: Condition::Constant(true),
        key: key(),
        first,
        window: Duration::from_secs(10),
        sampling_percentage,
        max_keys,
    })
}

#[test]
fn the_first_errors_of_each_window_are_kept_and_the_rest_at_the_ratio() {
    let mut policy = policy(2, 5.0, 100);
    let rest = Threshold::from_percent(5.0);
    for (key, now_ms, threshold) in [
        (1, 0, Threshold::ALWAYS),
        (1, 5, Threshold::ALWAYS),
        (1, 6, rest),
        (2, 7, Threshold::ALWAYS),
        (1, 9_999, rest),
        (1, 10_000, Threshold::ALWAYS),
        (1, 10_001, Threshold::ALWAYS),
        (1, 10_002, rest),
        (2, 10_003, Threshold::ALWAYS),
        (2, 10_004, rest),
    ] {
        assert_eq!(policy.threshold(key, now_ms), threshold, "key {key} at {now_ms} ms");
    }
}

#[test]
fn the_ratio_may_be_0_or_100_percent() {
    for (percentage, rest) in [(0.0, Threshold::NEVER), (100.0, Threshold::ALWAYS)] {
        let mut policy = policy(1, percentage, 100);
        assert_eq!(policy.threshold(1, 0), Threshold::ALWAYS);
        assert_eq!(policy.threshold(1, 1), rest, "{percentage} %");
    }
}

#[test]
fn errors_of_keys_without_room_are_all_kept() {
    let mut policy = policy(1, 0.0, 2);
    policy.threshold(1, 0);
    for now_ms in 0..1_000 {
        policy.threshold(now_ms % 2, now_ms);
        assert_eq!(policy.threshold(7, now_ms), Threshold::ALWAYS);
    }
    assert_eq!(policy.threshold(0, 1_000), Threshold::NEVER, "keys in the table have the ratio");
}
