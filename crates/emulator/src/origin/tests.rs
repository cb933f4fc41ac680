//! Tests of the explanations for traces that are not stored.

use super::*;

#[test]
fn each_fate_is_explained() {
    let kept = TraceFate::Kept { policy: "errors".into() };
    let cases = [
        (TraceFate::Pending, false, "pending", "has not decided yet"),
        (kept.clone(), false, "kept", "the policy errors kept this trace: it is on its way here"),
        (kept, true, "kept", "or it was evicted to make room"),
        (TraceFate::SampledOut { rescuable: true }, true, "sampled_out", "can still bring it back"),
        (TraceFate::SampledOut { rescuable: false }, true, "sampled_out", "no policy kept it"),
        (TraceFate::Dropped, true, "dropped", "a policy of type drop"),
        (TraceFate::Unknown, true, "unknown", "no span of it came"),
    ];
    for (fate, evicted, label, text) in cases {
        assert_eq!(fate.label(), label);
        assert!(fate.explain(evicted).contains(text), "{fate:?}: {}", fate.explain(evicted));
    }
    assert!(!TraceFate::Kept { policy: "errors".into() }.explain(false).contains("evicted"));
}
