mod crowds;
mod refusals;
mod spooling;
mod traffic;
mod waiting;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tonic::Code;

use super::*;
use crate::export::batch::{Batcher, Form};
use crate::export::failure::Cause;
use crate::export::settings;
use crate::export::testing::{
    BAD, Lines, Reply, Script, bad_span, counter, export_settings, kept, push_record, record, settled, with_retry_info,
};
use crate::tail::kept::KeptQueue;
use crate::telemetry::Metrics;

/// A delivery to a script, with the metrics and the kept queue in which spans are settled.
struct Bench {
    delivery: Delivery<Arc<Script>>,
    script: Arc<Script>,
    metrics: Arc<Metrics>,
    kept: Arc<KeptQueue>,
    budget: Budget,
    next_id: u64,
}

/// Returns settings for batches of up to `max_spans` spans.
fn settings_of(max_spans: usize) -> settings::Export {
    export_settings(settings::BatchSettings { max_spans, max_bytes: 1 << 20, max_delay: Duration::ZERO })
}

/// Returns a batch of one span.
fn batch(budget: &Budget, project: &str, id: u64) -> Batch {
    let mut batcher = Batcher::new(Form::CloudTrace, settings_of(1).batch, budget.clone());
    push_record(&mut batcher, &project.into(), Instant::now().into_std(), &record(project, id, "a"));
    batcher.take_closed().next().unwrap()
}

impl Bench {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(Script::new(replies))
    }

    fn with(script: Arc<Script>) -> Self {
        Self::of(script, &settings_of(1))
    }

    /// Creates a delivery to `script` with these settings.
    fn of(script: Arc<Script>, settings: &settings::Export) -> Self {
        let (metrics, kept) = (Arc::new(Metrics::new()), Arc::new(KeptQueue::default()));
        let budget = Budget::new(0);
        let ledger = Arc::new(Ledger::new(Arc::clone(&kept), Arc::clone(&metrics)));
        let delivery = Delivery::new(Arc::clone(&script), settings, ledger, budget.clone(), None);
        Bench { delivery, script, metrics, kept, budget, next_id: 0 }
    }

    /// Pushes a batch of spans with these names.
    fn push(&mut self, project: &str, names: &[&str]) {
        let limits = settings::BatchSettings { max_spans: names.len(), max_bytes: 1 << 20, max_delay: Duration::ZERO };
        let mut batcher = Batcher::new(Form::CloudTrace, limits, self.budget.clone());
        for name in names {
            let record = record(project, self.next_id, name);
            push_record(&mut batcher, &project.into(), Instant::now().into_std(), &record);
            self.kept.push(&mut vec![kept(&self.budget, project, &[(self.next_id, name)])]);
            self.kept.take(1, &mut Vec::new());
            self.next_id += 1;
        }
        batcher.take_closed().for_each(|batch| self.delivery.push(batch));
    }

    async fn deliver_all(&mut self) {
        while !self.delivery.is_idle() {
            self.delivery.progress().await;
        }
    }

    /// Checks the conservation law: every span was stored and confirmed, or dropped and counted. Nothing is held.
    fn assert_settled(&self, exported: u64, refused: u64) {
        assert_eq!(settled(&self.metrics), (exported, [0, refused, 0]));
        assert_eq!(exported + refused, self.next_id);
        assert_eq!((self.kept.unsettled_spans(), self.budget.used_bytes()), (0, 0));
    }

    /// Returns the seconds between the calls.
    fn gaps(&self) -> Vec<f64> {
        let calls = self.script.calls();
        calls.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_repeated_with_the_same_bytes_until_it_is_stored() {
    let codes =
        [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Aborted, Code::Cancelled, Code::Unknown];
    let mut bench = Bench::new(codes.map(|code| Reply::Say(Status::new(code, "not now"))));
    bench.push("p", &["a", "b"]);
    bench.deliver_all().await;
    bench.assert_settled(2, 0);
    let calls = bench.script.calls();
    assert_eq!(calls.len(), codes.len() + 1);
    assert!(calls.iter().all(|call| call.request == calls[0].request));
    assert_eq!(bench.script.stored().1, 0);
    // The wait is random, below 250 ms at first, and the upper limit doubles.
    for (attempt, gap) in bench.gaps().into_iter().enumerate() {
        assert!(gap <= 0.002 + 0.25 * f64::from(1 << attempt), "{gap} s after failure {attempt}");
    }
}

#[tokio::test(start_paused = true)]
async fn already_exists_counts_as_exported() {
    let mut bench = Bench::new([Reply::StoreAndSay(Status::already_exists("have it"))]);
    bench.push("p", &["a", "b", "c"]);
    bench.deliver_all().await;
    bench.assert_settled(3, 0);
    assert_eq!(bench.script.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_costs_a_repetition() {
    let mut bench = Bench::new([Reply::StoreAndSay(Status::unavailable("connection reset"))]);
    bench.push("p", &["a", "b", "c"]);
    bench.deliver_all().await;
    bench.assert_settled(3, 0);
    let (names, repeated) = bench.script.stored();
    assert_eq!((names.len(), repeated), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn one_bad_span_is_found_and_dropped_alone() {
    let mut names = vec!["good"; 1000];
    names[613] = BAD;
    let mut bench = Bench::new([]);
    bench.push("p", &names);
    bench.deliver_all().await;
    bench.assert_settled(999, 1);
    let (stored, repeated) = bench.script.stored();
    assert_eq!((stored.len(), repeated), (999, 0));
    // The answer names the bad span. So the calls have the whole batch, the bad span, and the others.
    let sizes = bench.script.calls().iter().map(|call| call.request.spans.len()).collect::<Vec<_>>();
    assert_eq!(sizes, [1000, 1, 999]);
}

#[tokio::test(start_paused = true)]
async fn calls_at_a_time_are_bounded_and_projects_take_turns() {
    let slow = Reply::Slow(Duration::from_secs(1));
    let mut bench = Bench::new(vec![slow; 450]);
    for project in ["p", "q", "r"] {
        for _ in 0..150 {
            bench.push(project, &["a"]);
        }
    }
    bench.deliver_all().await;
    bench.assert_settled(450, 0);
    assert_eq!(bench.script.open_calls_max(), CALLS_MAX);
    // With all calls in use, all three projects are served, although p and q could use every call.
    let calls = bench.script.calls();
    let second = &calls[150..150 + CALLS_MAX];
    for project in ["projects/p", "projects/q", "projects/r"] {
        let count = second.iter().filter(|call| call.request.name == project).count();
        assert!((8..=PROJECT_CALLS_MAX).contains(&count), "{project}: {count} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_project_is_tested_with_one_call_and_resumes_at_once() {
    // Four calls fail. After that, everything is stored, and each call takes one second.
    let mut replies = vec![Reply::Say(Status::unavailable("away")); 4];
    replies.extend(vec![Reply::Slow(Duration::from_secs(1)); 100]);
    let mut bench = Bench::new(replies);
    let start = Instant::now();
    for _ in 0..40 {
        bench.push("p", &["a"]);
    }
    bench.deliver_all().await;
    bench.assert_settled(40, 0);
    let calls = bench.script.calls();
    assert_eq!(calls.len(), 4 + 40);
    // Four failures in a row lead to waits of at most 3.75 s in total.
    assert!(calls[4].at - start < Duration::from_millis(3800), "{:?}", calls[4].at - start);
    // The first successful call is alone. Then two calls are concurrent, and one more in each round: 40 batches take
    // about 8 s.
    assert_eq!((calls[5].at - calls[4].at).as_secs(), 1);
    assert!(calls[6].at - calls[5].at < Duration::from_millis(20));
    assert!((calls[43].at - calls[4].at).as_secs() < 10, "{:?}", calls[43].at - calls[4].at);
}

#[tokio::test(start_paused = true)]
async fn a_failing_project_leaves_the_others_alone() {
    let granted = Arc::new(AtomicBool::new(false));
    let has_role = Arc::clone(&granted);
    let mut bench = Bench::with(Script::with_rule(move |request| {
        let denied = request.name == "projects/denied" && !has_role.load(Ordering::Relaxed);
        denied.then(|| Status::permission_denied("no role"))
    }));
    let start = Instant::now();
    for _ in 0..20 {
        bench.push("denied", &["a"]);
        bench.push("fine", &["a"]);
    }
    while bench.kept.unsettled_spans() > 20 {
        bench.delivery.progress().await;
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bench.script.stored().0.len(), 20);
    granted.store(true, Ordering::Relaxed);
    bench.deliver_all().await;
    bench.assert_settled(40, 0);
    assert!(start.elapsed() <= retry::DELAY_MAX, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waits_follow_the_code_and_the_servers_wish() {
    // Each case has the code, the wait that the server asks for, and the shortest and longest expected wait before the
    // second call in seconds.
    let cases = [
        (Status::permission_denied("no role"), 0.0, 4.0),
        (Status::not_found("no project"), 0.0, 4.0),
        (Status::failed_precondition("API off"), 0.0, 4.0),
        (Status::unimplemented("no such method"), 0.0, 4.0),
        (Status::resource_exhausted("quota"), 0.0, 4.0),
        (Status::unauthenticated("no token"), 0.0, 0.02),
        (Status::unavailable("away"), 0.0, 0.25),
        (with_retry_info(Code::ResourceExhausted, 17), 17.0, 17.0),
        (with_retry_info(Code::Unavailable, 5), 5.0, 5.0),
    ];
    for (status, least, longest) in cases {
        let mut bench = Bench::new([Reply::Say(status.clone())]);
        bench.push("p", &["a"]);
        bench.push("p", &["b"]);
        bench.deliver_all().await;
        bench.assert_settled(2, 0);
        // After the first failure the whole project waits, not only the batch.
        let calls = bench.script.calls();
        let wait = (calls[1].at - calls[0].at).as_secs_f64();
        assert!((least..longest + 0.03).contains(&wait), "{status:?}: {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_always_fails_does_not_delay_others() {
    let mut bench =
        Bench::with(Script::with_rule(|request| bad_span(request).map(|_| Status::internal("broken by it"))));
    bench.push("p", &["a", "b", BAD, "c"]);
    // While other batches succeed, and only then, the failures count against the batch.
    for _ in 0..1000 {
        bench.push("p", &["a"]);
        bench.delivery.progress().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bench.deliver_all().await;
    bench.assert_settled(1003, 1);
    let calls = bench.script.calls();
    let blamed = calls.iter().filter(|call| bad_span(&call.request).is_some()).collect::<Vec<_>>();
    // The time counts from the second failure, because no other batch had succeeded before the first one.
    let time = blamed[blamed.len() - 1].at - blamed[1].at;
    let latest = project_queue::BLAME_TIME_MIN + project_queue::ASIDE_TIME + Duration::from_secs(5);
    assert!((project_queue::BLAME_TIME_MIN..latest).contains(&time), "{time:?}");
    assert!(blamed.len() < calls.len() / 2, "{} of {}", blamed.len(), calls.len());
}

#[tokio::test(start_paused = true)]
async fn while_stopping_waits_are_short() {
    let mut bench = Bench::new(vec![Reply::Say(Status::permission_denied("no role")); 4]);
    bench.push("p", &["a"]);
    bench.delivery.progress().await;
    let start = Instant::now();
    bench.delivery.stop();
    bench.deliver_all().await;
    bench.assert_settled(1, 0);
    assert!(start.elapsed() <= 4 * STOPPING_DELAY_MAX, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_panicking_call_is_a_failed_call() {
    /// Panics at its first calls.
    struct Panics(Arc<Script>, AtomicUsize);
    impl Sink for Panics {
        async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
            assert!(self.1.fetch_add(1, Ordering::Relaxed) >= 3, "as the test asked for");
            self.0.write(batch).await
        }

        fn advice(&self, _: Cause, _: Option<&str>) -> Option<String> {
            None
        }
    }
    let mut bench = Bench::new([]);
    let ledger = Arc::new(Ledger::new(Arc::clone(&bench.kept), Arc::clone(&bench.metrics)));
    let sink = Panics(Arc::clone(&bench.script), AtomicUsize::new(0));
    let mut delivery = Delivery::new(sink, &settings_of(1), ledger, bench.budget.clone(), None);
    bench.kept.push(&mut vec![kept(&bench.budget, "p", &[(0, "a")])]);
    bench.kept.take(1, &mut Vec::new());
    bench.next_id = 1;
    delivery.push(batch(&bench.budget, "p", 0));
    while !delivery.is_idle() {
        delivery.progress().await;
    }
    bench.assert_settled(1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_over_a_limit_goes_in_halves_and_a_single_one_is_dropped_alone() {
    const LIMIT_SPANS: usize = 4;
    let lines = Lines::capture();
    let mut bench = Bench::of(
        Script::with_rule(|request| {
            let too_large = request.spans.len() > LIMIT_SPANS || bad_span(request).is_some();
            too_large.then(|| Status::resource_exhausted("grpc: received message larger than max (5000 vs. 4096)"))
        }),
        &settings_of(100),
    );
    let mut names = ["a"; 64];
    names[17] = BAD;
    let start = Instant::now();
    bench.push("p", &names);
    bench.deliver_all().await;
    bench.assert_settled(63, 1);
    // The failure is not a quota, so nothing waits.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let lines = lines.take();
    assert!(
        lines.iter().any(|line| line.contains("too large") && line.contains("advice on TooLarge for p")),
        "{lines:?}"
    );
    assert!(lines.len() <= 2, "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_size_limit_is_remembered_for_a_while() {
    let mut bench = Bench::of(
        Script::with_rule(|request| (request.spans.len() > 16).then(|| Status::resource_exhausted("larger than max"))),
        &settings_of(100),
    );
    let refused = |bench: &Bench| bench.script.calls().iter().filter(|call| call.request.spans.len() > 16).count();
    let long = "a".repeat(4096);
    let long = [long.as_str(); 64];
    bench.push("p", &long);
    bench.deliver_all().await;
    for _ in 0..20 {
        (0..4).for_each(|_| bench.push("p", &long));
        bench.deliver_all().await;
    }
    assert!(refused(&bench) <= 3, "the whole, and two halves at most: {}", refused(&bench));
    let learnt = refused(&bench);
    tokio::time::sleep(Duration::from_secs(600)).await;
    bench.push("p", &long);
    bench.deliver_all().await;
    assert!(refused(&bench) > learnt, "it might have been raised");
    bench.assert_settled(82 * 64, 0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_refuses_everything_for_a_moment_does_not_make_a_call_of_each_span() {
    let is_well = Arc::new(AtomicBool::new(false));
    let refuses = Arc::clone(&is_well);
    let mut bench = Bench::of(
        Script::with_rule(move |request| {
            let refuses = request.spans.len() > 1 && !refuses.load(Ordering::Relaxed);
            refuses.then(|| Status::resource_exhausted("larger than max"))
        }),
        &settings_of(100),
    );
    bench.push("p", &["a"; 100]);
    bench.deliver_all().await;
    is_well.store(true, Ordering::Relaxed);
    let calls = bench.script.calls().len();
    bench.push("p", &["a"; 100]);
    bench.deliver_all().await;
    assert_eq!(bench.script.calls().len(), calls + 1);
    bench.assert_settled(200, 0);
}

/// A sink whose calls fail like those through a proxy or over a broken connection.
struct Broken<F>(Arc<Script>, F);

impl<F: Fn(&Batch) -> Option<Failure> + Send + Sync + 'static> Sink for Broken<F> {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        match self.1(batch) {
            Some(failure) => Err(failure),
            None => self.0.write(batch).await,
        }
    }

    fn advice(&self, _: Cause, _: Option<&str>) -> Option<String> {
        None
    }
}

/// Delivers batches of `spans` spans with a bad one for `time`, together with batches that succeed. Returns the number
/// of held and of dropped spans at the end.
async fn beside_others(failure: fn() -> Failure, spans: usize, time: Duration) -> (u64, u64) {
    let bench = Bench::new([]);
    let ledger = Arc::new(Ledger::new(Arc::clone(&bench.kept), Arc::clone(&bench.metrics)));
    let is_bad = |batch: &Batch| bad_span(&crate::export::testing::decode(batch)).is_some();
    let sink = Broken(Arc::clone(&bench.script), move |batch: &Batch| is_bad(batch).then(failure));
    let mut delivery = Delivery::new(sink, &settings_of(1), ledger, bench.budget.clone(), None);
    let keep = |id| {
        bench.kept.push(&mut vec![kept(&bench.budget, "p", &[(id, "a")])]);
        bench.kept.take(1, &mut Vec::new());
    };
    let limits = settings::BatchSettings { max_spans: spans, max_bytes: 1 << 20, max_delay: Duration::ZERO };
    let mut batcher = Batcher::new(Form::CloudTrace, limits, bench.budget.clone());
    for id in 0..spans as u64 {
        keep(id);
        let name = if id == 0 { BAD } else { "a" };
        push_record(&mut batcher, &"p".into(), Instant::now().into_std(), &record("p", id, name));
    }
    batcher.take_closed().for_each(|batch| delivery.push(batch));
    let start = Instant::now();
    let mut next = spans as u64;
    while start.elapsed() < time {
        keep(next);
        delivery.push(batch(&bench.budget, "p", next));
        next += 1;
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            loop {
                delivery.progress().await;
            }
        })
        .await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            delivery.progress().await;
        }
    })
    .await;
    let (exported, [_, refused, _]) = settled(&bench.metrics);
    assert_eq!(exported + refused + bench.kept.unsettled_spans(), next);
    (bench.kept.unsettled_spans(), refused)
}

#[tokio::test(start_paused = true)]
async fn a_span_that_a_proxy_always_refuses_does_not_delay_others() {
    const SECONDS: u64 = 1200;
    let bench = Bench::new([]);
    let ledger = Arc::new(Ledger::new(Arc::clone(&bench.kept), Arc::clone(&bench.metrics)));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let sink = Broken(Arc::clone(&bench.script), move |batch: &Batch| {
        let is_bad = bad_span(&crate::export::testing::decode(batch)).is_some();
        counted.fetch_add(usize::from(is_bad), Ordering::Relaxed);
        is_bad.then(|| Failure::http(http::StatusCode::FORBIDDEN, &http::HeaderMap::new()))
    });
    let mut delivery = Delivery::new(sink, &settings_of(1), ledger, bench.budget.clone(), None);
    let mut batcher = Batcher::new(Form::CloudTrace, settings_of(1).batch, bench.budget.clone());
    push_record(&mut batcher, &"p".into(), Instant::now().into_std(), &record("p", 0, BAD));
    batcher.take_closed().for_each(|batch| delivery.push(batch));
    let mut late = 0;
    for id in 1..=SECONDS {
        delivery.push(batch(&bench.budget, "p", id));
        let forever = async {
            loop {
                delivery.progress().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), forever).await;
        late += usize::from(bench.script.stored().0.len() as u64 != id);
    }
    let calls = calls.load(Ordering::Relaxed);
    assert!((15..40).contains(&calls), "one each two minutes, and the strikes before: {calls}");
    assert!(late < 60, "the others waited in {late} of {SECONDS} seconds");
    assert!(!delivery.is_idle());
}

#[tokio::test(start_paused = true)]
async fn only_the_sink_drops_spans() {
    let hours = Duration::from_secs(2 * 3600);
    // A proxy or the connection does not let a batch of eight through because of one of its spans. Seven spans arrive,
    // and that one waits.
    let cases: [fn() -> Failure; 5] = [
        || Failure::http(http::StatusCode::FORBIDDEN, &http::HeaderMap::new()),
        || Failure::http(http::StatusCode::UNAUTHORIZED, &http::HeaderMap::new()),
        || Failure::http(http::StatusCode::PAYLOAD_TOO_LARGE, &http::HeaderMap::new()),
        || Failure::connection(Status::unknown("reset")),
        || Failure::connection(Status::out_of_range("the client's own")),
    ];
    for failure in cases {
        let (held, refused) = beside_others(failure, 8, hours).await;
        assert_eq!((held, refused), (1, 0), "{}", failure());
    }
    let (held, refused) = beside_others(|| Failure::sink(Status::internal("broken by it")), 8, hours).await;
    assert_eq!((held, refused), (0, 1));
}
