use super::*;

#[test]
fn tokens_come_in_at_a_steady_rate_up_to_the_burst() {
    let mut bucket = Bucket::new(&TokenBucket { per_second: 10, burst: 20 });
    for (now_ms, count, passes) in [
        (0, 20, true),
        (0, 1, false),
        (99, 1, false),
        (100, 1, true),
        (1_100, 11, false),
        (1_100, 10, true),
        // An hour later the bucket has no more tokens than `burst`.
        (3_600_000, 20, true),
        (3_600_000, 1, false),
        // The time may be lower than before, because it is read before the lock is taken.
        (3_599_000, 1, false),
        (3_600_100, 1, true),
        (3_600_100, 0, true),
    ] {
        assert_eq!(bucket.take(count, now_ms), passes, "{count} at {now_ms} ms");
    }
}

#[test]
fn a_count_above_the_burst_passes_if_the_bucket_is_full_and_is_paid_back() {
    let mut bucket = Bucket::new(&TokenBucket { per_second: 10, burst: 20 });
    assert!(bucket.take(50, 0));
    assert!(!bucket.take(50, 4_999), "the bucket is not full again yet");
    assert!(bucket.take(50, 5_000));
    assert!(!bucket.take(1, 8_099));
    assert!(bucket.take(1, 8_100));
}

#[test]
fn the_rate_holds_for_any_sizes() {
    let mut bucket = Bucket::new(&TokenBucket { per_second: 100, burst: 200 });
    let mut passed = 0;
    for now_ms in 0..60_000 {
        let count = 1 + now_ms * 7919 % 500;
        passed += if bucket.take(count, now_ms) { count } else { 0 };
    }
    assert!((5_900..=6_700).contains(&passed), "{passed}");
}
