//! Refused spans cost few calls: because of the words of the sink, of its rules, and of earlier refusals.

use super::*;
use crate::export::testing::decode;
use crate::proto::google::devtools::cloudtrace::v2::BatchWriteSpansRequest;

/// Refuses bad spans without naming them.
fn unnamed(request: &BatchWriteSpansRequest) -> Option<Status> {
    bad_span(request).map(|_| Status::invalid_argument("some span has no sense"))
}

fn sizes(script: &Script) -> Vec<usize> {
    script.calls().iter().map(|call| call.request.spans.len()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_bad_span_that_is_not_named_is_found_by_halves() {
    let mut names = vec!["good"; 1000];
    names[613] = BAD;
    let mut bench = Bench::of(Script::with_rule(unnamed), &settings_of(1000));
    bench.push("p", &names);
    bench.deliver_all().await;
    bench.assert_settled(999, 1);
    // The whole batch, then two halves in each step: 1000 is less than 2^10.
    assert!(bench.script.calls().len() <= 1 + 2 * 10, "{} calls", bench.script.calls().len());
}

#[tokio::test(start_paused = true)]
async fn spans_with_a_refused_name_are_sent_separately() {
    let mut names = vec!["good"; 64];
    names[17] = BAD;
    let mut bench = Bench::of(Script::with_rule(unnamed), &settings_of(64));
    // The first bad span is found by halves. At the second one, the attribute keys turn out to be those of all spans.
    for _ in 0..2 {
        bench.push("p", &names);
        bench.deliver_all().await;
    }
    let learnt = bench.script.calls().len();
    for _ in 0..10 {
        bench.push("p", &names);
        bench.deliver_all().await;
    }
    bench.assert_settled(12 * 63, 12);
    assert_eq!(bench.script.calls().len() - learnt, 2 * 10, "the others, and the one that is suspected");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_mostly_stored_is_not_suspected_for_long() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let rule = move |_: &_| is_broken.load(Ordering::Relaxed).then(|| Status::invalid_argument("no sense"));
    let mut bench = Bench::of(Script::with_rule(rule), &settings_of(64));
    bench.push("p", &["a"]);
    bench.deliver_all().await;
    broken.store(false, Ordering::Relaxed);
    for _ in 0..10 {
        bench.push("p", &["a", "b"]);
        bench.deliver_all().await;
    }
    bench.assert_settled(20, 1);
    // Before that, seven spans have to be stored. By then its attribute keys are not suspected any more.
    let sizes = sizes(&bench.script);
    assert!(sizes.len() <= 15 && sizes[13..].iter().all(|&spans| spans == 2), "{sizes:?}");
}

/// A sink with a known rule, which bad spans break.
struct Ruled(Arc<Script>);

impl Sink for Ruled {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        self.0.write(batch).await
    }

    fn advice(&self, _: Cause, _: Option<&str>) -> Option<String> {
        None
    }

    fn rule_breakers(&self, batch: &Batch) -> Vec<usize> {
        let spans = decode(batch).spans.into_iter().enumerate();
        spans.filter(|(_, span)| span.display_name.as_ref().unwrap().value == BAD).map(|(place, _)| place).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn spans_that_break_known_rules_go_together_once_the_sink_has_refused_them() {
    let bench = Bench::with(Script::with_rule(unnamed));
    let ledger = Arc::new(Ledger::new(Arc::clone(&bench.kept), Arc::clone(&bench.metrics)));
    let mut delivery =
        Delivery::new(Ruled(Arc::clone(&bench.script)), &settings_of(100), ledger, bench.budget.clone(), None);
    let limits = settings::BatchSettings { max_spans: 100, max_bytes: 1 << 20, max_delay: Duration::ZERO };
    let mut batcher = Batcher::new(Form::CloudTrace, limits, bench.budget.clone());
    for id in 0..100 {
        let name = if id % 3 == 0 { BAD } else { "a" };
        bench.kept.push(&mut vec![kept(&bench.budget, "p", &[(id, name)])]);
        bench.kept.take(1, &mut Vec::new());
        push_record(&mut batcher, &"p".into(), Instant::now().into_std(), &record("p", id, name));
    }
    batcher.take_closed().for_each(|batch| delivery.push(batch));
    while !delivery.is_idle() {
        delivery.progress().await;
    }
    assert_eq!(settled(&bench.metrics), (66, [0, 34, 0]));
    assert_eq!((bench.kept.unsettled_spans(), sizes(&bench.script)), (0, vec![100, 34, 66]));
}

#[tokio::test(start_paused = true)]
async fn bad_spans_do_not_outrun_the_quota_of_calls() {
    const SECONDS: u64 = 10;
    const SPANS_A_SECOND: usize = 3_000;
    // One in 256 spans is bad. The sink names it in one case, and not in the other.
    type Rule = fn(&BatchWriteSpansRequest) -> Option<Status>;
    let named: Rule = |request| bad_span(request).map(|bad| Status::invalid_argument(format!("{} is bad", bad.name)));
    for rule in [named, unnamed] {
        let mut bench = Bench::of(Script::with_rule(rule), &settings_of(2_000));
        let mut names = vec!["a"; 1_500];
        (0..names.len()).step_by(256).for_each(|at| names[at] = BAD);
        for _ in 0..SECONDS * SPANS_A_SECOND as u64 / 1_500 {
            bench.push("p", &names);
            let _ = tokio::time::timeout(Duration::from_millis(500), async {
                loop {
                    bench.delivery.progress().await;
                }
            })
            .await;
        }
        let held = bench.kept.unsettled_spans();
        assert!(held < 2 * SPANS_A_SECOND as u64, "{held} spans are held after {SECONDS} s");
        bench.deliver_all().await;
        let bad = 6 * SECONDS * SPANS_A_SECOND as u64 / 1_500;
        bench.assert_settled(SECONDS * SPANS_A_SECOND as u64 - bad, bad);
    }
}
