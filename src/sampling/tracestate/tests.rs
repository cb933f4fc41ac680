use proptest::prelude::*;

use super::*;
use crate::otlp::trace_state::randomness as trace_state_randomness;

/// Randomness that every threshold of the tables keeps.
const HIGH: u64 = 0xff_ffff_ffff_ffff;

fn threshold(percent: f64) -> Threshold {
    Threshold::from_percent(percent)
}

#[test]
fn the_threshold_is_set_as_the_specification_says() {
    let half = 0x80_0000_0000_0000;
    // Sent, kept by percent, randomness, expected.
    let cases = [
        ("", 100.0, 0, "ot=th:0"),
        ("", 50.0, HIGH, "ot=th:8"),
        ("", 25.0, HIGH, "ot=th:c"),
        ("", 5.0, HIGH, "ot=th:f3333333333333"),
        ("", 100.0 / 256.0, HIGH, "ot=th:ff"),
        // Exactly at the threshold is kept.
        ("", 50.0, half, "ot=th:8"),
        // Values of other concerns stay; the order is free.
        ("ot=p:8;r:62", 25.0, HIGH, "ot=p:8;r:62;th:c"),
        ("ot=p:8;th:8;r:62", 25.0, HIGH, "ot=p:8;r:62;th:c"),
        ("ot=rv:6e6d1a75832a2f", 100.0, 0x6e_6d1a_7583_2a2f, "ot=rv:6e6d1a75832a2f;th:0"),
        // An equalizing sampler: raised, never lowered.
        ("ot=th:0", 50.0, HIGH, "ot=th:8"),
        ("ot=th:8", 100.0, HIGH, "ot=th:8"),
        ("ot=th:c", 50.0, HIGH, "ot=th:c"),
        ("ot=th:c", 25.0, HIGH, "ot=th:c"),
        ("ot=th:fd70a4", 5.0, HIGH, "ot=th:fd70a4"),
        // What stays as it is keeps its place, too.
        ("a=1, ot=th:c,b=2", 100.0, HIGH, "a=1, ot=th:c,b=2"),
        // What changes moves to the front, others stay behind it in order.
        ("a=1, ot=th:8;rv:ffffffffffffff ,,t@b=2", 25.0, HIGH, "ot=rv:ffffffffffffff;th:c,a=1,t@b=2"),
        ("vendor=ot=th:c", 50.0, HIGH, "ot=th:8,vendor=ot=th:c"),
        // A lie: a span of this randomness was not kept by that threshold.
        ("ot=th:c", 100.0, half, ""),
        ("ot=th:c;rv:80000000000000,a=1", 50.0, half, "ot=rv:80000000000000,a=1"),
        // Ours would be one: late spans may name another randomness than their trace did.
        ("", 25.0, half, ""),
        ("a=1", 25.0, half, "a=1"),
        ("ot=th:8", 25.0, half, ""),
        // No thresholds: upper case, too long, empty, no hexadecimal number.
        ("ot=th:C", 50.0, HIGH, "ot=th:8"),
        ("ot=th:000000000000001", 50.0, HIGH, "ot=th:8"),
        ("ot=th:", 100.0, HIGH, "ot=th:0"),
        ("ot=th:+8,a=1", 100.0, HIGH, "ot=th:0,a=1"),
        ("ot=th:x", 25.0, half, ""),
        // Keys are unique: the first counts.
        ("ot=th:8,ot=th:c", 100.0, HIGH, "ot=th:8,ot=th:c"),
        ("ot=p:1,ot=th:c", 50.0, HIGH, "ot=p:1;th:8"),
        // Nothing is kept at 0 %, so nothing can be said of it.
        ("a=1", 0.0, HIGH, "a=1"),
    ];
    for (sent, percent, randomness, expected) in cases {
        assert_eq!(with_threshold(sent, threshold(percent), randomness), expected, "{sent:?} at {percent} %");
    }
}

#[test]
fn what_has_no_room_goes_in_w3cs_order() {
    let many = (0..40).map(|i| format!("k{i}=v")).collect::<Vec<_>>();
    let (full, kept) = (many[..32].join(","), many[..31].join(","));
    assert_eq!(with_threshold(&full, Threshold::ALWAYS, HIGH), format!("ot=th:0,{kept}"));
    // Of the same 32, `ot` is one: all stay.
    let own = format!("{kept},ot=p:1");
    assert_eq!(with_threshold(&own, Threshold::ALWAYS, HIGH), format!("ot=p:1;th:0,{kept}"));

    // 512 characters with a long entry in the middle: that one goes, though others stand behind it.
    let (long, short) = (format!("long={}", "x".repeat(200)), format!("s={}", "x".repeat(98)));
    let sent = [&*short, &long, "a=1", &short, "b=2"].join(",");
    assert!(sent.len() < LEN_MAX && sent.len() + "ot=th:0,".len() <= LEN_MAX);
    assert_eq!(with_threshold(&sent, Threshold::ALWAYS, HIGH), format!("ot=th:0,{sent}"));
    let over = [&*sent, &short].join(",");
    let without_long = [&*short, "a=1", &short, "b=2", &short].join(",");
    assert_eq!(with_threshold(&over, Threshold::ALWAYS, HIGH), format!("ot=th:0,{without_long}"));
    // None is long: the last goes, and exactly 512 characters are left.
    let sent = [&*short; 6].join(",");
    assert_eq!(with_threshold(&sent, Threshold::ALWAYS, HIGH), format!("ot=th:0,{}", [&*short; 5].join(",")));

    // `ot` itself is full: nothing is set, and what would be wrong by now goes.
    let ot = format!("ot=k:{}", "x".repeat(250));
    assert_eq!(with_threshold(&ot, Threshold::ALWAYS, HIGH), ot);
    let th = format!("ot=th:8;k:{}", "x".repeat(247));
    assert_eq!(with_threshold(&th, threshold(5.0), HIGH), format!("ot=k:{}", "x".repeat(247)));
}

#[test]
fn a_span_has_passed_the_strictest_of_its_thresholds() {
    let id = TraceId([0xff; 16]);
    let ours = Threshold::from_percent(25.0);
    let cases = [
        ("", ours),
        ("ot=rv:ffffffffffffff", ours),
        ("vendor=1,ot=th:8", ours),
        ("ot=th:e", Threshold::from_percent(12.5)),
        ("ot=rv:d0000000000000;th:e", ours),
        ("ot=th:x", ours),
    ];
    for (sent, expected) in cases {
        assert_eq!(passed(sent.as_bytes(), ours, id), expected, "{sent}");
    }
    assert_eq!(passed(b"ot=th:8", Threshold::ALWAYS, id).adjusted_count(), 2.0, "evidence of a half counts twice");
}

proptest! {
    #[test]
    fn whatever_comes_stays_in_bounds_and_true(sent in "[a-z0-9=:;, ]{0,700}|(ot=(th:[0-9a-f]{0,15};?|rv:[0-9a-f]{14};?|k:1;?){0,4},?|a=b,){0,40}", percent in 0.0..=100.0f64, id: u64) {
        let randomness = trace_state_randomness(sent.as_bytes()).unwrap_or(id >> 8);
        let ours = threshold(percent);
        let out = with_threshold(&sent, ours, randomness);
        if out != sent {
            prop_assert!(out.len() <= LEN_MAX.max("ot=".len() + OT_LEN_MAX));
            prop_assert!(out.split(',').count() <= ENTRIES_MAX);
            let ot = out.split(',').filter_map(|entry| entry.strip_prefix("ot=")).collect::<Vec<_>>();
            prop_assert!(ot.len() <= 1);
            prop_assert_eq!(ot.is_empty(), !out.starts_with("ot="));
            let set = ot.first().and_then(|ot| th(ot)).map(|th| Threshold::from_th(th.as_bytes()));
            prop_assert!(set.is_none_or(|set| set.is_some_and(|set| set >= ours && set.keeps(randomness))));
            prop_assert_eq!(trace_state_randomness(out.as_bytes()), trace_state_randomness(sent.as_bytes()));
        }
        // Twice is once, but that a lie that went leaves no trace.
        if th(out.split(',').find_map(|entry| entry.trim_ascii().strip_prefix("ot=")).unwrap_or_default()).is_some() {
            prop_assert_eq!(with_threshold(&out, ours, randomness), out.clone());
        }
    }
}
