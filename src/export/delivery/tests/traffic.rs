//! Calls fit the quota with any traffic, and adapt to the sink.

use super::*;
use crate::export::delivery::pace::{PROJECT_CALLS_START, call_interval};

/// The time between calls that fits the quota of Cloud Trace.
const CALL_INTERVAL: Duration = Duration::from_nanos(60_000_000_000 / 4_500);

/// Returns the start times of the calls of each project.
fn starts(script: &Script) -> HashMap<String, Vec<Instant>> {
    let mut starts: HashMap<String, Vec<Instant>> = HashMap::new();
    for call in script.calls() {
        starts.entry(call.request.name).or_default().push(call.at);
    }
    starts
}

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_calls_of_a_project_than_the_quota() {
    const QUOTA: usize = 4_800;
    // Each case has the number of projects, the longest pause in milliseconds between batches, the number of batches,
    // and n if one in n calls fails.
    let cases = [(1, 0, 6_000, u64::MAX), (1, 20, 6_000, 50), (3, 1, 12_000, 10), (100, 3, 6_000, u64::MAX)];
    for (seed, (projects, pause_max, batches, failing)) in cases.into_iter().enumerate() {
        let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed as u64)));
        let answers = Arc::clone(&random);
        let codes = [Code::Unavailable, Code::ResourceExhausted, Code::Unauthenticated, Code::InvalidArgument];
        let mut bench = Bench::with(Script::with_rule(move |_| {
            let mut random = answers.lock();
            let code = codes[random.usize(..codes.len())];
            (random.u64(..failing) == 0 && failing < u64::MAX).then(|| Status::new(code, "as scripted"))
        }));
        for _ in 0..batches {
            let project = format!("p{}", random.lock().usize(..projects));
            bench.push(&project, &["a"]);
            let pause = Duration::from_millis(random.lock().u64(..=pause_max));
            let _ = tokio::time::timeout(pause, bench.delivery.progress()).await;
        }
        bench.deliver_all().await;
        let starts = starts(&bench.script);
        assert_eq!(starts.len(), projects);
        for (project, starts) in starts {
            assert!(starts.is_sorted(), "{project}");
            for minute in starts.windows(QUOTA + 1) {
                let time = minute[QUOTA] - minute[0];
                assert!(time > Duration::from_secs(60), "case {seed}, {project}: {QUOTA} calls in {time:?}");
            }
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= CALL_INTERVAL), "case {seed}, {project}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tiny_batches_that_wait_become_full_ones() {
    // For ten seconds, two thousand batches of one span come in each second.
    let mut bench = Bench::of(Script::new([]), &settings_of(2000));
    for _ in 0..10_000 {
        bench.push("p", &["a"]);
        bench.push("p", &["a"]);
        let _ = tokio::time::timeout(Duration::from_millis(1), bench.delivery.progress()).await;
    }
    let held = bench.kept.unsettled_spans();
    bench.deliver_all().await;
    bench.assert_settled(20_000, 0);
    let calls = bench.script.calls();
    assert!(held < 100 && (500..750).contains(&calls.len()), "{held} spans were waiting, {} calls", calls.len());
    assert_eq!(bench.script.stored().1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sent_batch_is_repeated_with_the_same_bytes_although_more_waits() {
    let mut bench = Bench::of(Script::new(vec![Reply::Say(Status::unavailable("away")); 3]), &settings_of(10));
    for _ in 0..25 {
        bench.push("p", &["a"]);
    }
    bench.deliver_all().await;
    bench.assert_settled(25, 0);
    let mut requests = bench.script.calls().into_iter().map(|call| call.request).collect::<Vec<_>>();
    requests.sort_by(|a, b| a.spans[0].name.cmp(&b.spans[0].name));
    requests.dedup();
    // One batch was alone because nothing waited yet. Then come two of ten, and the rest, each as it was sent first.
    assert_eq!(requests.iter().map(|request| request.spans.len()).collect::<Vec<_>>(), [1, 10, 10, 4]);

    // A repeated batch is not filled up with later ones either.
    let mut bench = Bench::of(Script::new([Reply::Say(Status::unavailable("away"))]), &settings_of(10));
    (0..25).for_each(|_| bench.push("p", &["a"]));
    bench.delivery.progress().await;
    (0..7).for_each(|_| bench.push("p", &["a"]));
    bench.deliver_all().await;
    bench.assert_settled(32, 0);
    let sizes = bench.script.calls().iter().map(|call| call.request.spans.len()).collect::<Vec<_>>();
    assert_eq!(sizes, [1, 10, 10, 4, 1, 7]);
}

#[tokio::test(start_paused = true)]
async fn halves_of_a_refused_batch_are_not_joined_again() {
    let unnamed = |request: &_| bad_span(request).map(|_| Status::invalid_argument("no sense"));
    let mut bench = Bench::of(Script::with_rule(unnamed), &settings_of(100));
    let mut names = vec!["a"; 64];
    names[17] = BAD;
    bench.push("p", &names);
    bench.deliver_all().await;
    bench.assert_settled(63, 1);
    let sizes = bench.script.calls().iter().map(|call| call.request.spans.len()).collect::<Vec<_>>();
    assert_eq!(sizes, [64, 32, 32, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_used_up_quota_slows_the_whole_project() {
    let mut replies = vec![Reply::Slow(Duration::from_millis(5)); 100];
    replies[10] = Reply::Say(with_retry_info(Code::ResourceExhausted, 3));
    let mut bench = Bench::new(replies);
    for _ in 0..40 {
        bench.push("p", &["a"]);
        bench.push("q", &["a"]);
    }
    bench.deliver_all().await;
    bench.assert_settled(80, 0);
    let calls = bench.script.calls();
    let slow = calls[10].request.name.clone();
    for (project, starts) in starts(&bench.script) {
        let after = starts.iter().filter(|&&at| at > calls[10].at + Duration::from_millis(5)).collect::<Vec<_>>();
        let pauses = after.windows(2).map(|pair| *pair[1] - *pair[0]).max().unwrap();
        if project == slow {
            assert!(*after[0] - calls[10].at >= Duration::from_secs(3));
            assert!(pauses >= 3 * CALL_INTERVAL / 2, "{project} goes on as before: {pauses:?}");
        } else {
            assert!(pauses < 3 * CALL_INTERVAL / 2, "{project} is slowed down too: {pauses:?}");
        }
    }
}

/// Returns the limit of calls from `/metrics`.
fn calls_limit(bench: &Bench) -> u64 {
    counter(&bench.metrics, "spansieve_sink_calls_limit", "")
}

#[tokio::test(start_paused = true)]
async fn calls_at_a_time_follow_the_sink() {
    // Up to eight concurrent calls take 400 ms. More calls slow each other down. Later, each call takes 3 s.
    let is_slow = Arc::new(AtomicBool::new(false));
    let slow = Arc::clone(&is_slow);
    let mut bench = Bench::with(Script::with_latency(move |open_calls| {
        let at_ease = if slow.load(Ordering::Relaxed) { 3000 } else { 400 };
        Duration::from_millis(at_ease * open_calls.max(8) as u64 / 8)
    }));
    bench.push("p", &["a"]);
    assert_eq!(calls_limit(&bench), PROJECT_CALLS_START as u64);
    (0..3000).for_each(|_| bench.push("p", &["a"]));
    let mut limits = Vec::new();
    while bench.kept.unsettled_spans() > 1000 {
        bench.delivery.progress().await;
        limits.push(calls_limit(&bench));
    }
    let settled = &limits[limits.len() / 2..];
    assert!(settled.iter().all(|limit| (6..=16).contains(limit)), "{settled:?}");
    assert!(settled.iter().sum::<u64>() / settled.len() as u64 >= 8, "{settled:?}");
    is_slow.store(true, Ordering::Relaxed);
    let start = Instant::now();
    while calls_limit(&bench) > 2 {
        bench.delivery.progress().await;
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    bench.deliver_all().await;
    bench.assert_settled(3001, 0);
}

#[test]
fn only_a_sink_with_a_quota_of_calls_paces_them() {
    assert_eq!(call_interval(Some(4_800)), CALL_INTERVAL);
    assert!(call_interval(None) <= Duration::from_millis(1));
}
