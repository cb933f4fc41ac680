use super::*;
use crate::tail::Trigger;

fn decided(policy: &str, verdict: TraceVerdict, trigger: Trigger, traces: u64) -> Decided {
    Decided { policy: policy.to_owned(), verdict, trigger, traces }
}

#[test]
fn each_policy_has_its_counts_and_an_idle_one_has_zeros() {
    let names = ["errors", "health", "idle"].map(str::to_owned);
    let all = [
        decided("errors", TraceVerdict::Kept, Trigger::Evidence, 3),
        decided("errors", TraceVerdict::Kept, Trigger::Rescue, 1),
        decided("health", TraceVerdict::Dropped, Trigger::DecisionWait, 7),
        decided("", TraceVerdict::Dropped, Trigger::DecisionWait, 90),
        decided("of an earlier configuration", TraceVerdict::Kept, Trigger::Evidence, 2),
    ];
    let accounts = SpanAccounts { received: 500, held: 4, ..SpanAccounts::default() };
    let answer = counts(&names, &all, &accounts);
    let rows: Vec<_> =
        answer.policies.iter().map(|row| (row.policy.as_str(), row.kept_traces, row.dropped_traces)).collect();
    assert_eq!(rows, [("errors", 4, 0), ("health", 0, 7), ("idle", 0, 0), ("of an earlier configuration", 2, 0)]);
    assert_eq!(answer.policies[0].triggers, [("evidence".to_owned(), 3), ("rescue".to_owned(), 1)].into());
    assert_eq!(answer.dropped_without_policy, [("decision_wait".to_owned(), 90)].into());
    assert_eq!((answer.spans.received, answer.spans.held), (500, 4));
}

#[test]
fn each_shadow_policy_has_its_counts_and_dollars() {
    let count = |policy: &str, effect, traces, spans| ShadowCount { policy: policy.to_owned(), effect, traces, spans };
    let counts = vec![count("gone", ShadowEffect::Keep, 1, 5), count("slower", ShadowEffect::Keep, 20, 5_000_000)];
    let in_force = [("probes", ShadowEffect::Drop), ("slower", ShadowEffect::Keep)];
    let rows: Vec<_> = shadow(in_force.into_iter(), counts)
        .into_iter()
        .map(|row| (row.policy, row.effect, row.traces, row.spans, row.dollars))
        .collect();
    let row = |policy: &str, effect: &str, traces, spans, dollars| {
        (policy.to_owned(), effect.to_owned(), traces, spans, dollars)
    };
    assert_eq!(
        rows,
        [row("probes", "drop", 0, 0, 0.0), row("slower", "keep", 20, 5_000_000, 1.0), row("gone", "keep", 1, 5, 1e-6)]
    );
}
