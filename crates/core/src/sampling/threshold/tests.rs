use proptest::prelude::*;

use super::*;

/// A row of the table: N of "1 in N", then `th`, probability and adjusted count, each with 3, 4 and 5 digits.
type Row = (u32, [&'static str; 3], [f64; 3], [f64; 3]);

/// The table of tracestate-probability-sampling.md, "Converting floating-point probability to threshold value".
const SPECIFICATION: [Row; 13] = [
    (1, ["0"; 3], [1.0; 3], [1.0; 3]),
    (2, ["8"; 3], [0.5; 3], [2.0; 3]),
    (
        3,
        ["aab", "aaab", "aaaab"],
        [0.333251953125, 0.3333282470703125, 0.33333301544189453],
        [3.0007326007326007, 3.00004577706569, 3.0000028610256777],
    ),
    (4, ["c"; 3], [0.25; 3], [4.0; 3]),
    (
        5,
        ["ccd", "cccd", "ccccd"],
        [0.199951171875, 0.1999969482421875, 0.19999980926513672],
        [5.001221001221001, 5.0000762951094835, 5.0000047683761295],
    ),
    (8, ["e"; 3], [0.125; 3], [8.0; 3]),
    (
        10,
        ["e66", "e666", "e6666"],
        [0.10009765625, 0.100006103515625, 0.10000038146972656],
        [9.990243902439024, 9.99938968568813, 9.999961853172863],
    ),
    (16, ["f"; 3], [0.0625; 3], [16.0; 3]),
    (
        100,
        ["fd71", "fd70a", "fd70a4"],
        [0.0099945068359375, 0.010000228881835938, 0.009999990463256836],
        [100.05496183206107, 99.99771123402633, 100.00009536752259],
    ),
    (
        1_000,
        ["ffbe7", "ffbe77", "ffbe76d"],
        [0.0010004043579101562, 0.0009999871253967285, 0.000999998301267624],
        [999.5958055290753, 1000.012874769029, 1000.0016987352618],
    ),
    (
        10_000,
        ["fff972", "fff9724", "fff97247"],
        [0.00010001659393310547, 0.00010000169277191162, 0.00010000006295740604],
        [9998.340882002383, 9999.830725674266, 9999.99370426336],
    ),
    (
        100_000,
        ["ffff584", "ffff583a", "ffff583a5"],
        [9.998679161071777e-06, 1.00000761449337e-05, 1.0000003385357559e-05],
        [100013.21013412817, 99999.238556461, 99999.96614643588],
    ),
    (
        1_000_000,
        ["ffffef4", "ffffef39", "ffffef391"],
        [9.98377799987793e-07, 1.00000761449337e-06, 9.999930625781417e-07],
        [1.0016248358208955e+06, 999992.38556461, 1.0000069374699865e+06],
    ),
];

/// Returns true if the numbers are equal in the 12 digits that adjusted counts are rounded to.
fn close(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-11
}

#[test]
fn the_probability_table_of_the_specification() {
    for (one_in, th, probability, adjusted_count) in SPECIFICATION {
        for column in 0..3 {
            let threshold = Threshold::from_probability(1.0 / f64::from(one_in)).rounded(column as u32 + 3);
            let case = format!("1 in {one_in}, {} digits", column + 3);
            assert_eq!(threshold.to_th(), th[column], "{case}");
            assert_eq!(Threshold::from_th(th[column].as_bytes()), Some(threshold), "{case}");
            let (p, count) = (threshold.probability(), threshold.adjusted_count());
            assert!(close(p, probability[column]), "{case}: {p}");
            assert!(close(count, adjusted_count[column]), "{case}: {count}");
        }
    }
}

#[test]
fn percentages_give_the_numbers_of_the_specification() {
    // Percentage, threshold of the table in tracestate-probability-sampling.md, and adjusted count.
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
fn th_is_hexadecimal_without_trailing_zeros() {
    // Examples in tracestate-handling.md and tracestate-probability-sampling.md, and the ends of the range.
    for (bits, th) in [
        (0, "0"),
        (0x80_0000_0000_0000, "8"),
        (0xc0_0000_0000_0000, "c"),
        (0xfd_70a4_0000_0000, "fd70a4"),
        (0x00_0000_0000_0001, "00000000000001"),
        (0x00_1000_0000_0000, "001"),
        (0xff_ffff_ffff_ffff, "ffffffffffffff"),
    ] {
        assert_eq!(Threshold::from_bits(bits).to_th(), th);
        assert_eq!(Threshold::from_th(th.as_bytes()), Some(Threshold::from_bits(bits)), "{th}");
    }
    assert_eq!(Threshold::NEVER.to_th(), "ffffffffffffff");
}

#[test]
fn th_must_be_1_to_14_lower_case_digits() {
    for (th, bits) in
        [("00", Some(0)), ("80", Some(0x80_0000_0000_0000)), ("c0000000000000", Some(0xc0_0000_0000_0000))]
    {
        assert_eq!(Threshold::from_th(th.as_bytes()).map(Threshold::get), bits, "{th}");
    }
    for th in ["", "g", "C", "0x8", " 8", "8 ", "-8", "+8", "é", "000000000000000", "8;rv:1"] {
        assert_eq!(Threshold::from_th(th.as_bytes()), None, "{th:?}");
    }
}

proptest! {
    #[test]
    fn th_is_parsed_to_the_same_threshold(bits in 0u64..1 << 56) {
        let threshold = Threshold::from_bits(bits);
        prop_assert_eq!(Threshold::from_th(threshold.to_th().as_bytes()), Some(threshold));
    }

    #[test]
    fn four_digits_are_within_a_thousandth_of_the_probability(exponent in -30.0f64..0.0) {
        let exact = Threshold::from_probability(exponent.exp2());
        let rounded = exact.rounded(4);
        prop_assert!((rounded.probability() / exact.probability() - 1.0).abs() < 0.001);
        prop_assert!(rounded.to_th().trim_start_matches('f').len() <= 5, "{}", rounded.to_th());
    }
}

#[test]
fn rounding_does_not_change_always_and_never() {
    for threshold in [Threshold::ALWAYS, Threshold::NEVER, Threshold::from_bits(u64::MAX)] {
        for digits in 0..16 {
            assert_eq!(threshold.rounded(digits), threshold, "{digits} digits");
        }
    }
}

#[test]
fn randomness_is_the_low_56_bits_of_the_id() {
    let id = TraceId([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(randomness(id), 0x01_0203_0405_0607);
}

#[test]
fn a_ratio_keeps_its_share_of_random_traces() {
    let threshold = Threshold::from_percent(5.0);
    let mut random = fastrand::Rng::with_seed(7);
    let kept = (0..100_000).filter(|_| threshold.keeps(random.u64(..1 << 56))).count();
    assert!((4_700..5_300).contains(&kept), "{kept} of 100,000 at 5 %");
}
