use proptest::prelude::*;

use super::*;
use crate::otlp::trace_state::randomness as trace_state_randomness;

/// A randomness that every threshold in the tables keeps.
const HIGH: u64 = 0xff_ffff_ffff_ffff;

fn threshold(percent: f64) -> Threshold {
    Threshold::from_percent(percent)
}

#[test]
fn the_threshold_is_set_as_the_specification_says() {
    let half = 0x80_0000_0000_0000;
    // The tracestate that was sent, the percentage that kept the span, the randomness, the expected tracestate.
    let cases = [
        ("", 100.0, 0, "ot=th:0"),
        ("", 50.0, HIGH, "ot=th:8"),
        ("", 25.0, HIGH, "ot=th:c"),
        ("", 5.0, HIGH, "ot=th:f3333333333333"),
        ("", 100.0 / 256.0, HIGH, "ot=th:ff"),
        // A randomness equal to the threshold is kept.
        ("", 50.0, half, "ot=th:8"),
        // Other sub-keys stay, in any order.
        ("ot=p:8;r:62", 25.0, HIGH, "ot=p:8;r:62;th:c"),
        ("ot=p:8;th:8;r:62", 25.0, HIGH, "ot=p:8;r:62;th:c"),
        ("ot=rv:6e6d1a75832a2f", 100.0, 0x6e_6d1a_7583_2a2f, "ot=rv:6e6d1a75832a2f;th:0"),
        // An equalizing sampler raises a threshold and never lowers it.
        ("ot=th:0", 50.0, HIGH, "ot=th:8"),
        ("ot=th:8", 100.0, HIGH, "ot=th:8"),
        ("ot=th:c", 50.0, HIGH, "ot=th:c"),
        ("ot=th:c", 25.0, HIGH, "ot=th:c"),
        ("ot=th:fd70a4", 5.0, HIGH, "ot=th:fd70a4"),
        // An entry that does not change keeps its place.
        ("a=1, ot=th:c,b=2", 100.0, HIGH, "a=1, ot=th:c,b=2"),
        // An entry that changes moves to the front. The others follow in their order.
        ("a=1, ot=th:8;rv:ffffffffffffff ,,t@b=2", 25.0, HIGH, "ot=rv:ffffffffffffff;th:c,a=1,t@b=2"),
        ("vendor=ot=th:c", 50.0, HIGH, "ot=th:8,vendor=ot=th:c"),
        // The threshold that was sent is wrong: it does not keep a span of this randomness.
        ("ot=th:c", 100.0, half, ""),
        ("ot=th:c;rv:80000000000000,a=1", 50.0, half, "ot=rv:80000000000000,a=1"),
        // Our threshold would be wrong: a late span may carry another randomness than its trace.
        ("", 25.0, half, ""),
        ("a=1", 25.0, half, "a=1"),
        ("ot=th:8", 25.0, half, ""),
        // Values that are not valid thresholds: upper case, too long, empty, not hexadecimal.
        ("ot=th:C", 50.0, HIGH, "ot=th:8"),
        ("ot=th:000000000000001", 50.0, HIGH, "ot=th:8"),
        ("ot=th:", 100.0, HIGH, "ot=th:0"),
        ("ot=th:+8,a=1", 100.0, HIGH, "ot=th:0,a=1"),
        ("ot=th:x", 25.0, half, ""),
        // Keys must be unique. If one is repeated, the first entry counts.
        ("ot=th:8,ot=th:c", 100.0, HIGH, "ot=th:8,ot=th:c"),
        ("ot=p:1,ot=th:c", 50.0, HIGH, "ot=p:1;th:8"),
        // A ratio of 0 % keeps no span, so there is no threshold to set.
        ("a=1", 0.0, HIGH, "a=1"),
    ];
    for (sent, percent, randomness, expected) in cases {
        assert_eq!(with_threshold(sent, threshold(percent), randomness), expected, "{sent:?} at {percent} %");
    }
}

#[test]
fn entries_without_room_are_removed_in_the_order_of_w3c() {
    let many = (0..40).map(|i| format!("k{i}=v")).collect::<Vec<_>>();
    let (full, kept) = (many[..32].join(","), many[..31].join(","));
    assert_eq!(with_threshold(&full, Threshold::ALWAYS, HIGH), format!("ot=th:0,{kept}"));
    // `ot` is one of 32 entries, so all of them stay.
    let own = format!("{kept},ot=p:1");
    assert_eq!(with_threshold(&own, Threshold::ALWAYS, HIGH), format!("ot=p:1;th:0,{kept}"));

    // The tracestate is too long and has a long entry in the middle. That entry is removed before the last ones.
    let (long, short) = (format!("long={}", "x".repeat(200)), format!("s={}", "x".repeat(98)));
    let sent = [&*short, &long, "a=1", &short, "b=2"].join(",");
    assert!(sent.len() < LEN_MAX && sent.len() + "ot=th:0,".len() <= LEN_MAX);
    assert_eq!(with_threshold(&sent, Threshold::ALWAYS, HIGH), format!("ot=th:0,{sent}"));
    let over = [&*sent, &short].join(",");
    let without_long = [&*short, "a=1", &short, "b=2", &short].join(",");
    assert_eq!(with_threshold(&over, Threshold::ALWAYS, HIGH), format!("ot=th:0,{without_long}"));
    // No entry is long. The last one is removed, and exactly 512 characters are left.
    let sent = [&*short; 6].join(",");
    assert_eq!(with_threshold(&sent, Threshold::ALWAYS, HIGH), format!("ot=th:0,{}", [&*short; 5].join(",")));

    // `ot` itself is full, so no threshold is set. A threshold that would be wrong is removed.
    let ot = format!("ot=k:{}", "x".repeat(250));
    assert_eq!(with_threshold(&ot, Threshold::ALWAYS, HIGH), ot);
    let th = format!("ot=th:8;k:{}", "x".repeat(247));
    assert_eq!(with_threshold(&th, threshold(5.0), HIGH), format!("ot=k:{}", "x".repeat(247)));
}

#[test]
fn passed_is_the_strictest_valid_threshold_of_a_span() {
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
    assert_eq!(
        passed(b"ot=th:8", Threshold::ALWAYS, id).adjusted_count(),
        2.0,
        "a trace kept on evidence counts 2 if its sender kept half"
    );
}

proptest! {
    #[test]
    fn a_changed_tracestate_is_within_the_limits_and_has_a_true_threshold(sent in "[a-z0-9=:;, ]{0,700}|(ot=(th:[0-9a-f]{0,15};?|rv:[0-9a-f]{14};?|k:1;?){0,4},?|a=b,){0,40}", percent in 0.0..=100.0f64, id: u64) {
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
        // A second call changes nothing, unless the first one removed a wrong threshold.
        if th(out.split(',').find_map(|entry| entry.trim_ascii().strip_prefix("ot=")).unwrap_or_default()).is_some() {
            prop_assert_eq!(with_threshold(&out, ours, randomness), out.clone());
        }
    }

    #[test]
    fn a_new_tracestate_is_what_an_empty_one_becomes(percent in 0.0..=100.0f64, id: u64) {
        for threshold in [threshold(percent), Threshold::ALWAYS, Threshold::NEVER] {
            let expected = with_threshold("", threshold, id >> 8);
            prop_assert_eq!(&new_with_threshold(threshold, id >> 8)[..], expected.as_bytes());
        }
    }
}
