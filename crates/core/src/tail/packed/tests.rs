use super::*;

#[test]
fn unpacking_returns_what_was_packed() {
    for percent in [100.0, 99.0, 50.0, 30.0, 5.0, 1.0, 0.7, 0.1, 0.01, 0.003, 0.0001, 1e-9] {
        for policy in [0, 1, 256, u16::MAX] {
            for (rescued, missing_parent) in MARKS {
                let keep = Keep { rescued, missing_parent, ..Keep::new(policy, Threshold::from_percent(percent)) };
                let found = unpack(pack(keep));
                assert_eq!(Keep { threshold: keep.threshold, ..found }, keep);
                assert_eq!(found.threshold.adjusted_count(), keep.threshold.adjusted_count(), "{percent} %");
            }
        }
    }
}

#[test]
fn always_stays_always() {
    assert_eq!(unpack(pack(Keep::new(3, Threshold::ALWAYS))), Keep::new(3, Threshold::ALWAYS));
}
