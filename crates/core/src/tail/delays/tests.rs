use super::*;

#[test]
fn a_wait_covers_its_share() {
    let mut delays = Delays::default();
    assert_eq!(delays.covering(0.99, 0), None, "no span was seen");
    // Of 100,000 spans, 98 % come at once, 1.9 % after 3 s, and the others after 40 s.
    for (delay_ms, seen) in [(0, 98_000), (3_000, 1_900), (40_000, 100)] {
        delays.record(delay_ms, seen, seen, 1_000);
    }
    for (share, delay_ms) in [(0.5, 10), (0.98, 10), (0.99, 3_000), (0.999, 3_000), (0.9995, 40_000)] {
        let wait_ms = delays.covering(share, 2_000).unwrap();
        assert!((delay_ms..=delay_ms * 11 / 10 + 1).contains(&wait_ms), "{share}: {wait_ms}");
    }
    assert_eq!(delays.covering(0.999_99, 2_000), None, "a single span beyond the wait is chance");
}

#[test]
fn spans_count_by_their_weight() {
    let mut delays = Delays::default();
    delays.record(0, 1_000, 1_000, 0);
    delays.record(5_000, 1_000, 99_000, 0);
    assert_eq!(delays.covering(0.009, 0), Some(10));
    assert!(delays.covering(0.02, 0).unwrap() >= 5_000);
}

#[test]
fn old_delays_are_forgotten() {
    let mut delays = Delays::default();
    delays.record(60_000, 10_000, 10_000, 30_000);
    let last_ms = MINUTES as u64 * MINUTE_MS - 1;
    assert!(delays.covering(0.99, last_ms).unwrap() >= 60_000);
    assert_eq!(delays.covering(0.99, last_ms + 1), None);
    delays.record(100, 10_000, 10_000, last_ms + 1);
    assert!(delays.covering(0.99, last_ms + 1).unwrap() <= 111);
}

#[test]
fn every_delay_has_a_bucket() {
    for delay_ms in [0, 1, 10, 11, 12, 999, 899_999, super::super::trace_sample::HORIZON_MS, u64::MAX] {
        let mut delays = Delays::default();
        delays.record(delay_ms, 10_000, 10_000, 0);
        let wait_ms = delays.covering(0.99, 0).unwrap();
        assert!(wait_ms >= delay_ms.min(super::super::trace_sample::HORIZON_MS), "{delay_ms}: {wait_ms}");
    }
}
