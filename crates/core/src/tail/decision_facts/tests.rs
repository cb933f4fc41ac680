use super::*;

fn facts(trigger: Trigger) -> DecisionFacts {
    DecisionFacts { at_ms: 86_400_000, trigger, spans: 21, late_spans: 3, drop_policy: Some(4) }
}

#[test]
fn facts_survive_packing() {
    for trigger in Trigger::ALL {
        for drop_policy in [None, Some(0), Some(1021)] {
            let facts = DecisionFacts { drop_policy, ..facts(trigger) };
            assert_eq!(DecisionFacts::unpack(facts.pack()), Some(facts));
        }
    }
    let first = DecisionFacts { at_ms: 0, spans: 0, late_spans: 0, drop_policy: None, ..facts(Trigger::DecisionWait) };
    assert_eq!(DecisionFacts::unpack(first.pack()), Some(first), "never 0");
    assert_eq!(DecisionFacts::unpack(0), None);
}

#[test]
fn what_is_too_large_is_stored_as_the_largest() {
    let large = DecisionFacts {
        at_ms: u64::MAX,
        trigger: Trigger::Rescue,
        spans: u32::MAX,
        late_spans: 300,
        drop_policy: Some(1022),
    };
    let stored = DecisionFacts::unpack(large.pack()).unwrap();
    assert_eq!((stored.trigger, stored.drop_policy), (Trigger::Rescue, None));
    assert_eq!((stored.spans, stored.late_spans), (DecisionFacts::SPANS_MAX, DecisionFacts::LATE_SPANS_MAX));
    assert!(stored.at_ms > 4 * 365 * 86_400_000, "four years");
}

#[test]
fn late_spans_count_twice() {
    let packed = DecisionFacts::with_late(facts(Trigger::DecisionWait).pack(), 2);
    let stored = DecisionFacts::unpack(packed).unwrap();
    assert_eq!((stored.spans, stored.late_spans), (23, 5));
    assert_eq!(DecisionFacts::with_late(0, 2), 0, "no facts stay no facts");
}
