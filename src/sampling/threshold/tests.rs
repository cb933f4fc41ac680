use super::*;

#[test]
fn percentages_give_the_numbers_of_the_specification() {
    // Thresholds of the table in tracestate-probability-sampling.md, and adjusted counts.
    for (percent, threshold, count) in [
        (100.0, 0, 1.0),
        (50.0, 0x80_0000_0000_0000, 2.0),
        (25.0, 0xc0_0000_0000_0000, 4.0),
        (10.0, 0xe6_6666_6666_6666, 10.0),
        (5.0, 0xf3_3333_3333_3333, 20.0),
        (1.0, 0xfd_70a3_d70a_3d71, 100.0),
    ] {
        let computed = Threshold::from_percent(percent);
        assert!(computed.get().abs_diff(threshold) <= 1, "{percent} %: {:x}", computed.get());
        assert_eq!(computed.adjusted_count(), count, "{percent} %");
    }
    assert_eq!(Threshold::from_percent(30.0).adjusted_count(), 3.33333333333);
    assert_eq!(Threshold::from_percent(0.0), Threshold::NEVER);
    assert!(!Threshold::NEVER.keeps((1 << 56) - 1));
    assert!(Threshold::ALWAYS.keeps(0));
}

#[test]
fn randomness_is_the_low_56_bits_of_the_id() {
    let id = TraceId([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(randomness(id), 0x01_0203_0405_0607);
}

#[test]
fn a_ratio_keeps_that_part_of_random_traces() {
    let threshold = Threshold::from_percent(5.0);
    let mut random = fastrand::Rng::with_seed(7);
    let kept = (0..100_000).filter(|_| threshold.keeps(random.u64(..1 << 56))).count();
    assert!((4_700..5_300).contains(&kept), "{kept} of 100,000 at 5 %");
}
