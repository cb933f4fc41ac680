//! The table as a part of a fleet.

use super::*;
use crate::sampling::{Keep, Threshold, Verdict};
use crate::tail::fleet::{FleetTimes, Followed, Proof, Report};

const QUIET_MS: Millis = 250;
const REPEAT_MS: Millis = 1_000;
const VERDICT_WAIT_MS: Millis = 3_000;

fn fixture(settings: &TailSampling) -> Fixture {
    let times = FleetTimes { quiet_ms: QUIET_MS, repeat_ms: REPEAT_MS, verdict_wait_ms: VERDICT_WAIT_MS };
    let fleet = Arc::new(TableFleet::new(times));
    fleet.set_alone(false);
    let mut f = Fixture::new(settings, 64 << 20);
    f.table = Table::seeded(settings, f.table.policies(), f.budget.clone(), 7).with_fleet(fleet);
    f
}

impl Fixture {
    fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.out.fleet.reports)
    }

    fn follow_drop(&mut self, id: TraceId, trigger: Trigger) {
        self.follow(id, Verdict::Dropped, trigger, u32::MAX);
    }

    /// Follows a verdict that took `spans` spans into account. Returns the proofs that the table sends.
    fn follow(&mut self, id: TraceId, verdict: Verdict, trigger: Trigger, spans: u32) -> Vec<Proof> {
        let generation = self.table.policies().generation();
        let followed = Followed { id, verdict, trigger, spans, generation };
        self.table.follow(&followed, self.now_ms, &mut self.out);
        self.collect();
        std::mem::take(&mut self.out.fleet.proofs)
    }
}

#[test]
fn root_spans_do_not_put_the_end_of_a_question_off() {
    let after_root = Duration::from_secs(2);
    let mut f = fixture(&TailSampling { decision_wait_after_root_received: after_root, ..settings() });
    let trace = id(1, false);
    f.send(&[span(trace)]);
    f.advance(WAIT_MS);
    for _ in 0..5 {
        f.advance(500);
        f.send(&[SpanFact { root: true, ..span(trace) }]);
    }
    assert_eq!(f.table.held().pending_spans, 6, "the owner is asked");
    f.advance(500);
    assert_eq!((f.now_ms, f.table.held().pending_spans), (WAIT_MS + VERDICT_WAIT_MS, 0));
    assert_eq!(f.out.tally.dropped[Trigger::Alone as usize], 1);
}

#[test]
fn an_owner_that_knows_the_end_of_a_wait_is_asked_only_if_no_verdict_comes() {
    let mut f = fixture(&settings());
    let (trace, active) = (id(1, false), id(2, false));
    f.send(&[span(trace)]);
    f.advance(QUIET_MS);
    let due: Vec<_> = f.reports().iter().map(|report| report.due_in_ms).collect();
    assert_eq!(due, [WAIT_MS - QUIET_MS]);
    f.advance(WAIT_MS - QUIET_MS);
    f.advance(REPEAT_MS - 1);
    assert!(f.reports().is_empty(), "the owner knows all");
    f.advance(1);
    assert_eq!(f.reports().iter().map(|report| report.due_in_ms).collect::<Vec<_>>(), [0]);

    // After a report in the last second, the owner waits for another one.
    f.send(&[span(active)]);
    f.advance(WAIT_MS - REPEAT_MS);
    f.send(&[span(active)]);
    f.advance(REPEAT_MS - 1);
    f.reports();
    f.advance(1);
    let asked = f.reports().into_iter().find(|report| report.id == active);
    assert_eq!(asked.map(|report| (report.due_in_ms, report.summary.span_count)), Some((0, 2)));
}

#[test]
fn a_trace_that_an_owner_dropped_for_want_of_memory_stays_rescuable() {
    let mut f = fixture(&settings());
    let trace = id(1, false);
    f.send(&[span(trace)]);
    f.follow_drop(trace, Trigger::Pressure);
    assert_eq!(f.table.held().rescuable_spans, 1);
    f.advance(QUIET_MS + REPEAT_MS);
    f.reports();
    f.advance(2 * REPEAT_MS);
    assert!(f.reports().is_empty(), "its owner has decided it");
    f.send(&[error(trace)]);
    assert_eq!(f.kept_count(), 2);
}

#[test]
fn late_spans_of_a_dropped_trace_are_reported_until_the_owner_answers() {
    let mut f = fixture(&settings());
    let trace = id(1, false);
    f.send(&[span(trace)]);
    f.follow_drop(trace, Trigger::DecisionWait);
    f.advance(QUIET_MS + REPEAT_MS);
    f.reports();
    f.send(&[span(trace)]);
    for _ in 0..3 {
        f.advance(REPEAT_MS);
        let reports = f.reports();
        assert_eq!(reports.iter().map(|report| report.summary.span_count).collect::<Vec<_>>(), [2]);
        assert!(!reports[0].waits && crate::tail::fleet::needs_answer(reports[0].trigger), "an answer is needed");
    }
    f.follow_drop(trace, Trigger::DecisionWait);
    // One report was planned before.
    f.advance(REPEAT_MS);
    f.reports();
    f.advance(REPEAT_MS);
    assert!(f.reports().is_empty(), "the owner knows of the late span");

    // Another one that comes before the answer to the first is not forgotten.
    f.send(&[span(trace)]);
    f.advance(QUIET_MS);
    assert_eq!(f.reports().len(), 1);
    f.send(&[span(trace)]);
    f.follow_drop(trace, Trigger::DecisionWait);
    for _ in 0..2 {
        f.advance(REPEAT_MS);
        assert_eq!(f.reports().len(), 1);
    }
}

#[test]
fn an_answer_to_an_earlier_report_does_not_end_the_question_about_later_spans() {
    for is_alone in [false, true] {
        let mut f = fixture(&settings());
        let trace = id(1, false);
        f.send(&[span(trace)]);
        if is_alone {
            f.advance(WAIT_MS + VERDICT_WAIT_MS);
        } else {
            f.follow_drop(trace, Trigger::DecisionWait);
        }
        f.send(&[span(trace)]);
        f.advance(2 * REPEAT_MS);
        assert!(f.reports().iter().any(|report| report.summary.span_count == 2));
        // The report of both spans is lost, and this answer was late.
        f.follow(trace, Verdict::Dropped, Trigger::DecisionWait, 1);
        f.advance(REPEAT_MS);
        f.reports();
        f.advance(REPEAT_MS);
        assert_eq!(f.reports().len(), 1, "{is_alone}");
        f.follow(trace, Verdict::Dropped, Trigger::DecisionWait, 2);
        // One report was planned before.
        f.advance(REPEAT_MS);
        f.reports();
        f.advance(REPEAT_MS);
        assert!(f.reports().is_empty(), "the owner knows of all spans");
    }
}

#[test]
fn traces_with_a_new_owner_are_reported_again_in_slices() {
    // Some 600 in each shard, which are more than one slice looks at.
    const TRACES: u32 = 40_000;
    let mut f = fixture(&settings());
    let all: Vec<SpanFact> = (0..TRACES).map(|n| span(numbered(n))).collect();
    f.send(&all);
    f.advance(QUIET_MS);
    assert_eq!(f.reports().len(), TRACES as usize);
    f.advance(REPEAT_MS);
    assert!(f.reports().is_empty(), "nothing is new");
    let (mut cursor, mut slices) = (AgainCursor::default(), 1);
    while f.table.report_again(&mut cursor, |of| of.0[3] % 2 == 0, f.now_ms) {
        slices += 1;
    }
    assert!(slices > f.table.shard_count(), "no lock is held for two shards, or for all traces of one");
    let again = (0..10).map(|_| {
        f.advance(100);
        f.reports().len()
    });
    let again = again.collect::<Vec<_>>();
    assert_eq!(again.iter().sum::<usize>(), TRACES as usize / 2);
    assert!(again.iter().all(|&reports| reports < TRACES as usize / 10), "they are spread over a second: {again:?}");
}

/// A limit first, so that no trace is proven before its time, and then slow traces.
const SLOW: &str = "
tail_sampling:
  rescue: {window: 0s}
  policies:
    - {name: few, type: rate_limiting, rate_limiting: {spans_per_second: 1}}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10}}
";

#[test]
fn evidence_that_the_owner_did_not_know_keeps_the_trace_and_is_passed_on() {
    let mut f = fixture(&crate::testing::load(SLOW).unwrap().tail_sampling);
    let trace = id(1, false);
    f.send(&[span(trace), slow(trace)]);
    assert_eq!(f.kept_count(), 0, "the limit might keep it first");
    let proofs = f.follow(trace, Verdict::Dropped, Trigger::DecisionWait, 1);
    assert_eq!((f.kept_count(), f.table.held().pending_spans), (2, 0));
    let [Proof { id, keep, was_dropped: true }] = proofs[..] else { panic!("{proofs:?}") };
    assert_eq!((id, keep.policy, keep.threshold, keep.rescued), (trace, 1, Threshold::ALWAYS, true));

    // A keep that would stand for other traces becomes one that is certain.
    let trace = super::id(2, false);
    f.send(&[slow(trace)]);
    let ratio = Keep::new(2, Threshold::from_percent(10.0));
    let proofs = f.follow(trace, Verdict::Kept(ratio), Trigger::DecisionWait, 0);
    assert_eq!(f.kept_count(), 3);
    assert!(matches!(proofs[..], [Proof { keep: Keep { policy: 1, .. }, was_dropped: false, .. }]), "{proofs:?}");
}

#[test]
fn a_drop_by_policies_that_are_not_in_force_has_no_effect() {
    let mut f = fixture(&settings());
    f.send(&[span(id(1, false)), span(id(2, false))]);
    let generation = f.table.policies().generation() + 1;
    for (id, verdict) in [
        (id(1, false), Verdict::Dropped),
        (id(1, false), Verdict::DroppedByPolicy(0)),
        (id(2, false), Verdict::Kept(Keep::new(0, Threshold::ALWAYS))),
    ] {
        let followed = Followed { id, verdict, trigger: Trigger::DecisionWait, spans: u32::MAX, generation };
        f.table.follow(&followed, f.now_ms, &mut f.out);
        f.collect();
    }
    assert_eq!((f.table.held().pending_spans, f.kept_count()), (1, 1));
}

#[test]
fn spans_that_the_owner_did_not_know_are_reported_after_a_drop() {
    let mut f = fixture(&settings());
    let trace = id(1, false);
    f.send(&[span(trace)]);
    f.send(&[span(trace)]);
    f.follow(trace, Verdict::Dropped, Trigger::DecisionWait, 1);
    f.advance(QUIET_MS + REPEAT_MS);
    let spans: Vec<_> = f.reports().iter().map(|report| (report.waits, report.summary.span_count)).collect();
    assert_eq!(spans.last(), Some(&(false, 2)));
    for _ in 0..2 {
        f.advance(REPEAT_MS);
        let reports = f.reports();
        assert_eq!(reports.len(), 1, "the report is repeated until the owner answers");
        assert!(crate::tail::fleet::needs_answer(reports[0].trigger));
    }
    f.follow_drop(trace, Trigger::DecisionWait);
    f.advance(2 * REPEAT_MS);
    f.reports();
    f.advance(2 * REPEAT_MS);
    assert!(f.reports().is_empty(), "the owner has answered");
}

#[test]
fn a_policy_drops_a_trace_with_evidence_that_its_owner_knew_or_that_it_drops_all_the_same() {
    let policies = "
tail_sampling:
  policies:
    - {name: health, type: drop, drop: {drop_sub_policy: [{name: h, type: span_count, span_count: {min_spans: 1}}, {name: n, type: not, not: {not_sub_policy: {name: e, type: error}}}]}}
    - {name: long, type: drop, drop: {drop_sub_policy: [{name: h, type: span_count, span_count: {min_spans: 100}}]}}
    - {name: few, type: rate_limiting, rate_limiting: {spans_per_second: 1}}
    - {name: errors, type: error}
";
    let settings = crate::testing::load(policies).unwrap().tail_sampling;
    let kept = |policies: &[usize], spans| {
        let mut settings = settings.clone();
        settings.policies = policies.iter().map(|&at| settings.policies[at].clone()).collect();
        let mut f = fixture(&settings);
        f.send(&[error(id(1, false))]);
        f.follow(id(1, false), Verdict::DroppedByPolicy(0), Trigger::DecisionWait, spans);
        f.kept_count()
    };
    assert_eq!(kept(&[0, 2, 3], 0), 1, "the trace has not failed, as far as the owner knew");
    assert_eq!(kept(&[0, 2, 3], 1), 0, "the owner knew that, so the error came late");
    assert_eq!(kept(&[1, 2, 3], 0), 0, "the other spans may be many");
}
