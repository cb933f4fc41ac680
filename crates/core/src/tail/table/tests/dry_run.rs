//! `dry_run`: every span is exported, and everything else is as without it.

use super::*;

fn both() -> [Fixture; 2] {
    [false, true].map(|dry_run| Fixture::new(&TailSampling { dry_run, ..settings() }, 64 << 20))
}

#[test]
fn a_dry_run_decides_alike_and_exports_everything() {
    let [mut real, mut dry] = both();
    for fixture in [&mut real, &mut dry] {
        fixture.send(&[span(id(1, false)), span(id(2, true)), span(id(3, false))]);
        fixture.advance(WAIT_MS);
        // Trace 1 is rescued, trace 2 gets a late span, and trace 3 stays dropped.
        fixture.send(&[error(id(1, false)), span(id(2, true)), span(id(3, false))]);
        fixture.advance(WINDOW_MS);
        // Its spans are gone. One more follows the verdict, and an error is evidence by itself.
        fixture.send(&[span(id(3, false)), span(id(4, false))]);
        fixture.send(&[error(id(3, false))]);
        fixture.drain();
    }
    let (left, all) = (&real.out.tally, &dry.out.tally);
    assert_eq!((&left.kept, left.dropped), (&all.kept, all.dropped));
    let late = |tally: &Tally| [tally.late_kept_spans, tally.late_dropped_spans, tally.late_rescued_spans];
    assert_eq!(late(left), late(all));
    assert_eq!((left.sampled_out_spans, all.sampled_out_spans), (4, 0));
    assert_eq!((real.kept_count(), dry.kept_count()), (5, 9));
    let (dropped, kept): (Vec<_>, Vec<_>) = dry.kept.iter().partition(|kept| kept.keep.is_dropped());
    assert!(dropped.iter().all(|dropped| dropped.keep == Keep::only_dry_run(None)), "{dropped:?}");
    let said: Vec<_> = kept.iter().map(|kept| Keep { dry_run: false, ..kept.keep }).collect();
    assert_eq!(said, real.kept.iter().map(|kept| kept.keep).collect::<Vec<_>>());
    assert!(kept.iter().all(|kept| kept.keep.dry_run) && real.kept.iter().all(|kept| !kept.keep.dry_run));
}

#[test]
fn a_dry_run_names_the_policy_that_drops() {
    let drop = Policy::new("no errors", Rule::Drop(vec![Policy::new("", Rule::AnySpan(Condition::status(2)))]));
    let keep = Policy::new("rest", Rule::AlwaysSample);
    let settings = TailSampling { dry_run: true, policies: vec![drop, keep], ..settings() };
    let mut fixture = Fixture::new(&settings, 64 << 20);
    fixture.send(&[error(id(1, true)), span(id(2, true))]);
    fixture.advance(WAIT_MS);
    let mut keeps: Vec<_> = fixture.kept.iter().map(|kept| kept.keep).collect();
    keeps.sort_by_key(|keep| keep.policy);
    let kept = Keep { dry_run: true, ..Keep::new(1, crate::sampling::Threshold::ALWAYS) };
    assert_eq!(keeps, [Keep::only_dry_run(Some(0)), kept]);
}
