//! Policies that several instances share.

use super::*;
use crate::sampling::settings::Policy;
use crate::sampling::{ConfigMark, NameMark, PolicySet, Threshold};

fn set(policies: &[Policy]) -> PolicySet<'_> {
    PolicySet { policies, shadow: &[], sample_on_first_match: false, counted: None }
}

/// Returns the number of traces of 10 spans that the policy keeps, of 40 that come at once to `members` members each.
fn kept(kind: &str, members: u32) -> usize {
    let policies = policies(&format!("    - {{name: p, type: {kind}}}"));
    policies.share_among(members);
    let mut summary = Summary::of_generation(policies.generation());
    (summary.span_count, summary.span_bytes) = (10, 1_000);
    (0..40).filter(|_| matches!(policies.decide(&summary, ID, 0), Verdict::Kept(_))).count()
}

#[test]
fn members_share_a_limit() {
    for kind in [
        "rate_limiting, rate_limiting: {spans_per_second: 120}",
        "bytes_limiting, bytes_limiting: {bytes_per_second: 24000, burst_capacity: 24000}",
    ] {
        assert_eq!((kept(kind, 1), kept(kind, 2), kept(kind, 3)), (24, 12, 8), "{kind}");
    }
}

#[test]
fn the_successors_of_policies_share_their_limits_too() {
    let loaded = testing::load(
        "tail_sampling: {policies: [{name: p, type: rate_limiting, rate_limiting: {spans_per_second: 30}}]}",
    );
    let policies = loaded.unwrap().tail_sampling.policies;
    let before = Policies::compile_set(set(&policies), None).unwrap();
    before.share_among(3);
    let after = Policies::compile_set(set(&policies), Some(&before)).unwrap();
    let mut summary = Summary::of_generation(after.generation());
    summary.span_count = 10;
    let kept = (0..3).filter(|_| matches!(after.decide(&summary, ID, 0), Verdict::Kept(_))).count();
    assert_eq!(kept, 2, "a third of the six that one instance lets pass");
}

#[test]
fn the_mark_of_policies_says_if_they_are_equal() {
    let load = |text: &str| testing::load(&format!("tail_sampling: {{policies: [{text}]}}")).unwrap().tail_sampling;
    let mark = |text: &str| ConfigMark::of(&load(text).policy_set());
    let errors = "{name: errors, type: error}";
    assert_eq!(mark(errors), mark(errors));
    assert_ne!(mark(errors), mark("{name: failures, type: error}"));
    let ratio =
        |percent: &str| format!("{{name: r, type: probabilistic, probabilistic: {{sampling_percentage: {percent}}}}}");
    assert_ne!(mark(&ratio("5")), mark(&ratio("6")));
}

#[test]
fn a_policy_is_known_by_the_mark_of_its_name() {
    let policies = policies(
        "    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 5}}\n    - {name: errors, type: error}",
    );
    assert_eq!(policies.number_of(NameMark::of("errors")), Some(1));
    assert_eq!(policies.mark(1), NameMark::of("errors"));
    assert_eq!(policies.number_of(NameMark::of("other")), None);
    let elsewhere = policies.kept_elsewhere(NameMark::of("other"), Threshold::ALWAYS);
    assert_eq!(elsewhere, Keep::new(1, Threshold::ALWAYS), "the first policy that keeps on evidence");
}
