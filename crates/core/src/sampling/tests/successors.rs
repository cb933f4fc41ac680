//! Sets of policies that take the place of earlier ones.

use super::*;
use crate::sampling::settings::{Policy, Rule};
use crate::sampling::{CompileError, PolicySet};

fn after(previous: Option<&Policies>, list: &str) -> Policies {
    let text = format!("tail_sampling:\n  policies:\n{list}\n");
    let settings = testing::load(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    Policies::compile_set(settings.tail_sampling.policy_set(), previous).unwrap()
}

/// Returns how many of `count` traces of one span are kept, all at the same time.
fn kept(policies: &Policies, count: usize) -> usize {
    let summary = summary(policies, &[span()]);
    (0..count).filter(|_| matches!(policies.decide(&summary, ID, 0), Verdict::Kept(_))).count()
}

const LIMITED: &str = "    - {name: limit, type: rate_limiting, rate_limiting: {spans_per_second: 5}}";
const RARE: &str = "    - {name: rare, type: rare, rare: {traces_per_minute: 3}}";
const COMPOSITE: &str = "    - {name: composite, type: composite, composite: {max_total_spans_per_second: 4, composite_sub_policy: [{name: all, type: always_sample}]}}";
const OTHER_KEY: &str =
    "    - {name: other, type: and, and: {and_sub_policy: [{type: error}, {type: rare, rare: {key: [name]}}]}}";

#[test]
fn a_policy_that_stays_the_same_keeps_its_memory() {
    for (policy, burst) in [(LIMITED, 10), (RARE, 3), (COMPOSITE, 4)] {
        let first = after(None, policy);
        assert_eq!(kept(&first, 2), 2, "{policy}");
        // A new policy in front of this one moves its state and its key to other places.
        let second = after(Some(&first), &format!("{OTHER_KEY}\n{policy}"));
        assert_eq!(kept(&second, 100), burst - 2, "{policy}");
        let third = after(Some(&second), policy);
        assert_eq!(kept(&third, 100), 0, "{policy}");
        // With another name, with another rule, or after a time without it, the policy begins with an empty memory.
        let renamed = after(Some(&third), &policy.replacen("name: ", "name: new ", 1));
        assert_eq!(kept(&renamed, 100), burst, "{policy}");
        let gone = after(Some(&third), OTHER_KEY);
        assert_eq!(kept(&after(Some(&gone), policy), 100), burst, "{policy}");
    }
    let first = after(None, LIMITED);
    assert_eq!(kept(&first, 100), 10);
    assert_eq!(kept(&after(Some(&first), &LIMITED.replace('5', "7")), 100), 14);
}

#[test]
fn names_keep_their_numbers() {
    let first = after(None, &format!("{LIMITED}\n{COMPOSITE}"));
    assert_eq!(first.names(), ["limit", "composite", "composite/all"]);
    let second = after(Some(&first), &format!("{RARE}\n{COMPOSITE}"));
    assert_eq!(second.names(), ["limit", "composite", "composite/all", "rare"]);
    assert_eq!(second.labels().collect::<Vec<_>>(), ["rare", "composite", "composite/all"]);
    assert_eq!((first.generation(), second.generation()), (0, 1));
    let third = after(Some(&second), LIMITED);
    assert_eq!(third.names().len(), 4);
    let Verdict::Kept(keep) = third.decide(&summary(&third, &[span()]), ID, 0) else { panic!("kept") };
    assert_eq!(keep.policy, 0);
}

fn successor(policies: &[Policy], previous: Option<&Policies>) -> Result<Policies, CompileError> {
    Policies::compile_set(PolicySet { policies, shadow: &[], sample_on_first_match: false, counted: None }, previous)
}

#[test]
fn too_many_names_are_refused() {
    let named = |at: usize| {
        let policies = (at..at + 64).map(|number| Policy::new(&format!("p{number}"), Rule::AlwaysSample));
        policies.collect::<Vec<_>>()
    };
    let mut policies = successor(&named(0), None).unwrap();
    for at in (64..4_096).step_by(64) {
        policies = successor(&named(at), Some(&policies)).unwrap();
    }
    assert_eq!(policies.names().len(), 4_096);
    assert_eq!(successor(&named(4_096), Some(&policies)).unwrap_err(), CompileError::Policies);
    assert!(successor(&named(1_000), Some(&policies)).is_ok());
}
