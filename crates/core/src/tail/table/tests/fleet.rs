//! The table as a part of a fleet.

use super::*;
use crate::tail::fleet::{FleetTimes, Followed, Report};

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
        let followed = Followed { id, verdict: crate::sampling::Verdict::Dropped, trigger };
        self.table.follow(&followed, self.now_ms, &mut self.out);
        self.collect();
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
fn a_trace_that_an_owner_dropped_for_want_of_memory_stays_rescuable() {
    let mut f = fixture(&settings());
    let trace = id(1, false);
    f.send(&[span(trace)]);
    f.follow_drop(trace, Trigger::Pressure);
    assert_eq!(f.table.held().rescuable_spans, 1);
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
        assert!(!reports[0].waits && crate::tail::fleet::is_without_owner(reports[0].trigger), "an answer is needed");
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
fn traces_with_a_new_owner_are_reported_again_in_slices() {
    const TRACES: u8 = 200;
    let mut f = fixture(&settings());
    let all: Vec<SpanFact> = (0..TRACES).map(|n| span(id(n, false))).collect();
    f.send(&all);
    f.advance(QUIET_MS);
    assert_eq!(f.reports().len(), usize::from(TRACES));
    f.advance(REPEAT_MS);
    assert!(f.reports().is_empty(), "nothing is new");
    let (mut cursor, mut slices) = (AgainCursor::default(), 1);
    while f.table.report_again(&mut cursor, |of| of.0[0] % 2 == 0, f.now_ms) {
        slices += 1;
    }
    assert_eq!(slices, f.table.shard_count(), "no lock is held for two shards");
    let mut again = 0;
    for _ in 0..10 {
        f.advance(100);
        again += f.reports().len();
    }
    assert_eq!(again, usize::from(TRACES) / 2);
}
