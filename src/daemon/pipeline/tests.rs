use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::budget::{Budget, Claim};
use crate::config::Settings;
use crate::otlp::write;
use crate::sampling::Policies;

pub(in crate::daemon) fn pipeline() -> Pipeline {
    pipeline_of(64 << 20)
}

fn pipeline_of(limit_bytes: usize) -> Pipeline {
    pipeline_with(limit_bytes, |table| table)
}

/// Returns a pipeline that compresses bodies.
pub(in crate::daemon) fn compressing_pipeline(limit_bytes: usize) -> Pipeline {
    pipeline_with(limit_bytes, Table::with_compression)
}

fn pipeline_with(limit_bytes: usize, change: impl FnOnce(Table) -> Table) -> Pipeline {
    let settings = Settings::default().tail_sampling;
    let policies = Arc::new(Policies::compile(&settings.policies, settings.sample_on_first_match).unwrap());
    let names = PolicyNames::new(policies.names());
    let table = change(Table::new(&settings, policies, Budget::new(limit_bytes)));
    Pipeline::new(table, names, Arc::default(), None, Arc::new(Metrics::new()), None)
}

#[tokio::test(start_paused = true)]
async fn only_a_panic_during_a_change_to_the_table_is_reported() {
    let pipeline = pipeline();
    let is_broken = async || tokio::time::timeout(Duration::from_secs(1), pipeline.broken()).await.is_ok();
    drop(BreaksOnPanic(&pipeline.broken));
    assert!(!is_broken().await);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _guard = BreaksOnPanic(&pipeline.broken);
        panic!("during a change to the table");
    }));
    assert!(ended.is_err() && is_broken().await);
}

#[test]
fn a_pause_ends_when_a_trace_is_due() {
    let hour = Duration::from_secs(3600);
    let pipeline = pipeline();
    assert_eq!(pipeline.pause(hour), hour, "no trace is held");
    pipeline.send(small_spans(1)).unwrap();
    let wait = Settings::default().tail_sampling.decision_wait;
    let pause = pipeline.pause(hour);
    assert!(pause <= wait && pause > wait / 2, "{pause:?}");
    assert_eq!(pipeline.pause(wait / 10), wait / 10);
    pipeline.table.budget().set_disk(99, 100);
    assert_eq!(pipeline.pause(hour), Duration::ZERO, "the disk is nearly full");
    pipeline.table.budget().set_disk(1, 100);
    assert!(!pipeline.pause(hour).is_zero());
    let _ = pipeline.arrivals.take();
    pipeline.follow(&[], &mut RoundOutcome::default());
    assert!(pipeline.arrivals.take(), "a verdict may plan a report that ends the pause");
    drop(pipeline.table.budget().room(1_000).unwrap().freeze());
    assert_eq!(pipeline.pause(hour), Duration::ZERO, "a block is idle, and is to be given back");
}

/// Returns a request of `count` traces, each with one span of the smallest possible size.
pub(in crate::daemon) fn small_spans(count: u128) -> Bytes {
    let mut body = Vec::new();
    write::message(&mut body, 1, |out| {
        write::message(out, 2, |out| {
            for number in 1..=count {
                write::short_message(out, 2, |out| {
                    write::bytes(out, 1, &number.to_be_bytes());
                    write::bytes(out, 2, &[1; 8]);
                });
            }
        });
    });
    body.into()
}

/// Returns a request of one span of a trace that is large enough to be compressed.
pub(in crate::daemon) fn large_span(trace: u128) -> Bytes {
    let mut body = Vec::new();
    write::message(&mut body, 1, |out| {
        write::message(out, 2, |out| {
            write::message(out, 2, |out| {
                write::bytes(out, 1, &trace.to_be_bytes());
                write::bytes(out, 2, &[1; 8]);
                write::bytes(out, 5, &[b'x'; 3 << 10]);
            });
        });
    });
    body.into()
}

impl Pipeline {
    pub(in crate::daemon) fn send(&self, body: Bytes) -> Result<Accepted, AcceptError> {
        let share = self.admit(body.len()).ok_or(AcceptError::NoRoom)?;
        self.accept(body, share, None)
    }
}

#[test]
fn a_request_that_can_never_fit_is_refused_for_good_and_one_that_can_for_now() {
    // The body takes 3 MB, and its spans take about 30 MB in memory.
    let (body, idle_bytes) = (small_spans(100_000), pipeline().budget().used_bytes());
    let tight = pipeline_of(idle_bytes + (16 << 20));
    let Err(AcceptError::NeverFits { needed_bytes, free_bytes }) = tight.send(body.clone()) else {
        panic!("the request is accepted")
    };
    assert!(needed_bytes > free_bytes && free_bytes == 16 << 20, "{needed_bytes} of {free_bytes}");
    assert_eq!(tight.table.held().pending_spans, 0);
    let roomy = pipeline_of(idle_bytes + (64 << 20));
    let _others = roomy.budget().reserve(40 << 20).unwrap();
    assert!(matches!(roomy.send(body.clone()), Err(AcceptError::NoRoom)));
    drop(_others);
    assert_eq!(roomy.send(body).unwrap().spans, 100_000);
}

#[test]
fn the_buffers_that_a_worker_keeps_are_bounded_and_in_the_budget() {
    let pipeline = pipeline_of(256 << 20);
    let idle_bytes = pipeline.budget().used_bytes();
    let settle = || {
        while pipeline.table.drain(0, &mut RoundOutcome::default()) {}
        pipeline.kept.take(usize::MAX, &mut Vec::new());
        pipeline.budget().used_bytes() - idle_bytes
    };
    pipeline.send(small_spans(1_000)).unwrap();
    let kept_bytes = settle();
    assert!(
        (1_000 * size_of::<crate::otlp::scan::SpanFact>()..WORKSPACE_BYTES_MAX).contains(&kept_bytes),
        "{kept_bytes}"
    );
    pipeline.send(small_spans(100_000)).unwrap();
    assert_eq!(settle(), 0, "the buffers of a large request are freed");
}

/// The request is accepted even if its worker has freed its buffers.
#[test]
fn a_small_request_takes_its_memory_from_the_reserve_when_memory_is_full() {
    let pipeline = pipeline();
    let limit_bytes = pipeline.budget().limit_bytes();
    let _kept = pipeline.budget().force(limit_bytes + limit_bytes / 16);
    let send = |spans: u128, claim: &Arc<Claim>| {
        let (body, share) = (small_spans(spans), pipeline.budget().share().claimed(claim));
        let share = share.of_reserve(body.len()).ok_or(AcceptError::NoRoom)?;
        WORKSPACE.take();
        pipeline.accept(body, share, None)
    };
    let (small, greedy) = (Arc::default(), Arc::default());
    assert_eq!(send(10, &small).unwrap().spans, 10);
    assert!(matches!(send(10_000, &greedy), Err(AcceptError::NoRoom)), "the body is too large for the reserve");
    assert!(matches!(send(3_000, &greedy), Err(AcceptError::NoRoom)), "the scan needs too much of it");
    assert_eq!(send(10, &small).unwrap().spans, 10, "there is room left for others");
    assert!(pipeline.admit(1).is_none(), "only requests of connections can use the reserve");
}

#[test]
fn a_refused_request_is_not_counted_and_an_accepted_one_is_counted_once() {
    let settings = crate::config::load("span_metrics: {spans: all}", &|_| None).unwrap().settings;
    let (counted, tail_sampling) = (settings.counted(), settings.tail_sampling);
    let set = crate::sampling::PolicySet { counted: counted.as_ref(), ..tail_sampling.policy_set() };
    let policies = Arc::new(Policies::compile_set(set, None).unwrap());
    let budget = Budget::new(pipeline().budget().used_bytes() + (64 << 20));
    let span_metrics = Arc::new(SpanMetrics::new(&settings.span_metrics.unwrap(), &budget));
    let table = Table::new(&tail_sampling, Arc::clone(&policies), budget);
    let (names, metrics) = (PolicyNames::new(policies.names()), Arc::new(Metrics::new()));
    let pipeline = Pipeline::new(table, names, Arc::default(), None, metrics, Some(Arc::clone(&span_metrics)));
    let others = pipeline.budget().reserve(40 << 20).unwrap();
    let body = small_spans(100_000);
    for _ in 0..3 {
        assert!(matches!(pipeline.send(body.clone()), Err(AcceptError::NoRoom)));
    }
    assert_eq!(span_metrics.totals().calls, 0);
    drop(others);
    assert_eq!(pipeline.send(body).unwrap().spans, 100_000);
    assert_eq!(span_metrics.totals().calls, 100_000);
}
