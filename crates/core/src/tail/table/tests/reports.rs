//! The reports of the table on a trace, and the time for which they stay available.

use super::*;

#[test]
fn a_report_tells_the_facts_of_a_decision_until_the_verdict_is_forgotten() {
    let mut settings = settings();
    let policy = Policy::new;
    let stalled = policy("stalled", Rule::Latency { threshold_ms: 60_000, upper_threshold_ms: 0 });
    settings.policies.push(policy("veto", Rule::Drop(vec![stalled])));
    let mut f = Fixture::new(&settings, 64 << 20);
    f.table = Table::seeded(&settings, f.table.policies(), f.budget.clone(), 7).with_facts();
    let (kept, dropped, vetoed) = (id(2, true), id(3, false), id(4, false));
    let very_slow = SpanFact { end_unix_nano: 100_000_000_000, ..span(vetoed) };
    f.send(&[span(kept), span(dropped), span(dropped), very_slow]);
    let pending = f.table.report(dropped, f.now_ms);
    let held = pending.held.unwrap();
    assert_eq!((pending.fate, pending.decision, held.until_ms), (Fate::Pending, None, f.now_ms + WAIT_MS));
    f.advance(WAIT_MS);
    let decided_ms = f.now_ms;
    let facts = |f: &Fixture, id| f.table.report(id, f.now_ms).decision.map(|facts| (facts.spans, facts.late_spans));
    assert_eq!([kept, dropped, vetoed].map(|id| facts(&f, id)), [Some((1, 0)), Some((2, 0)), Some((1, 0))]);
    f.advance(1_000);
    f.send(&[span(kept), span(dropped), span(vetoed), span(vetoed)]);
    let late = [Some((2, 1)), Some((3, 1)), Some((3, 2))];
    assert_eq!([kept, dropped, vetoed].map(|id| facts(&f, id)), late);
    let rescuable = f.table.report(dropped, f.now_ms);
    assert_eq!(rescuable.decision.unwrap().at_ms, decided_ms);
    assert_eq!(rescuable.held.unwrap().until_ms, decided_ms + WINDOW_MS);
    f.advance(WINDOW_MS);
    assert_eq!([kept, dropped, vetoed].map(|id| facts(&f, id)), late, "they outlive the spans");
    let gone = f.table.report(dropped, f.now_ms);
    assert_eq!((gone.fate, gone.held), (Fate::SampledOut { rescuable: false }, None));
    assert_eq!(gone.decision.map(|facts| facts.at_ms), Some(decided_ms / 1_000 * 1_000), "to the second");
    assert_eq!(f.table.report(vetoed, f.now_ms).decision.unwrap().drop_policy, Some(3));
    f.send(&[span(dropped), span(vetoed)]);
    assert_eq!([dropped, vetoed].map(|id| facts(&f, id)), [Some((4, 2)), Some((4, 3))], "late spans still count");
    f.send(&[error(dropped)]);
    let rescued = f.table.report(dropped, f.now_ms);
    assert!(rescued.keep.is_some_and(|keep| keep.rescued));
    let decision = rescued.decision.unwrap();
    assert_eq!((decision.trigger, decision.spans, decision.late_spans), (Trigger::Rescue, 5, 3));
}

#[test]
fn a_table_without_facts_remembers_verdicts_only() {
    let mut f = Fixture::new(&settings(), 64 << 20);
    let kept = id(2, true);
    f.send(&[span(kept)]);
    f.advance(WAIT_MS);
    let report = f.table.report(kept, f.now_ms);
    assert!(report.keep.is_some());
    assert_eq!(report.decision, None);
    let without = Budget::new(64 << 20);
    let _table = Table::new(&settings(), f.table.policies(), without.clone());
    let with = Budget::new(64 << 20);
    let _table = Table::new(&settings(), f.table.policies(), with.clone()).with_facts();
    assert!(with.used_bytes() > without.used_bytes(), "facts are charged to the budget");
}

/// Late spans of a trace that a policy dropped belong to that policy, if the table has facts.
#[test]
fn late_spans_count_under_the_policy_that_dropped_their_trace() {
    for has_facts in [true, false] {
        let mut settings = settings();
        let stalled = Policy::new("stalled", Rule::Latency { threshold_ms: 60_000, upper_threshold_ms: 0 });
        settings.policies.push(Policy::new("veto", Rule::Drop(vec![stalled])));
        let mut f = Fixture::new(&settings, 64 << 20);
        let table = Table::seeded(&settings, f.table.policies(), f.budget.clone(), 7);
        f.table = if has_facts { table.with_facts() } else { table };
        let vetoed = id(4, false);
        f.send(&[SpanFact { end_unix_nano: 100_000_000_000, ..span(vetoed) }]);
        f.advance(WAIT_MS);
        f.send(&[span(vetoed), span(vetoed)]);
        let by_policy = |policy| {
            let decided = f.out.tally.decided_spans.iter().filter(|decided| decided.policy == policy);
            decided.map(|decided| decided.amount.spans).sum::<u64>()
        };
        let expected = if has_facts { (3, 0) } else { (1, 2) };
        assert_eq!((by_policy(Some(3)), by_policy(None)), expected, "facts: {has_facts}");
    }
}
