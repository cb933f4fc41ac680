use std::time::Duration;

use tonic::{Code, Status};

use super::*;
use crate::cloud_trace::client::CloudTrace;
use crate::export::batch::{Batch, Form, OVERHEAD_BYTES, Place};
use crate::export::failure::{Cause, Failure};
use crate::export::sink::Written;
use crate::export::testing::{
    BAD, PANIC, PlainEncoder, Reply, Script, Server, UNENCODABLE, counter, export_settings, kept, settled, span_name,
    with_retry_info,
};
use crate::otlp::altered::AlteredSpans;
use crate::otlp::write;

/// A running exporter and the parts around it.
struct Bench {
    exporter: Exporter,
    kept: Arc<KeptQueue>,
    budget: Budget,
    metrics: Arc<Metrics>,
    pushed: u64,
}

impl Bench {
    /// Starts an exporter with more memory than any test needs.
    fn new(sink: impl Sink, limits: settings::BatchSettings) -> Self {
        Self::with_memory(1 << 30, sink, limits)
    }

    fn with_memory(limit_bytes: usize, sink: impl Sink, limits: settings::BatchSettings) -> Self {
        let (kept, metrics, budget) =
            (Arc::new(KeptQueue::default()), Arc::new(Metrics::new()), Budget::new(limit_bytes));
        let settings = export_settings(limits);
        let exporter =
            Exporter::start(Arc::clone(&kept), PlainEncoder, sink, &settings, &budget, Arc::clone(&metrics), None);
        Bench { exporter, kept, budget, metrics, pushed: 0 }
    }

    /// Keeps a fragment with spans of these names.
    fn keep(&mut self, project: &str, names: &[&str]) {
        let spans = names.iter().zip(self.pushed..).map(|(name, id)| (id, *name)).collect::<Vec<_>>();
        self.pushed += names.len() as u64;
        self.kept.push(&mut vec![kept(&self.budget, project, &spans)]);
    }

    async fn settle(&self) {
        while self.exporter.export_spans() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn limits(max_spans: usize) -> settings::BatchSettings {
    settings::BatchSettings { max_spans, max_bytes: 4 << 20, max_delay: Duration::from_millis(100) }
}

fn names(project: &str, ids: impl IntoIterator<Item = u64>) -> Vec<String> {
    ids.into_iter().map(|id| span_name(project, id)).collect()
}

#[tokio::test(start_paused = true)]
async fn every_span_is_exported_once_or_counted_whatever_the_sink_says() {
    let say = |code, n| vec![Reply::Say(Status::new(code, "as scripted")); n];
    let slow = |millis| vec![Reply::Slow(Duration::from_millis(millis)); 20];
    let cases: Vec<(&str, Vec<Reply>)> = vec![
        ("fine", vec![]),
        ("slow", slow(3000)),
        ("unavailable", say(Code::Unavailable, 20)),
        ("deadline", say(Code::DeadlineExceeded, 20)),
        ("quota", say(Code::ResourceExhausted, 20)),
        ("quota with a wish", vec![Reply::Say(with_retry_info(Code::ResourceExhausted, 90)); 12]),
        ("no role", say(Code::PermissionDenied, 20)),
        ("no token", say(Code::Unauthenticated, 20)),
        (
            "one of everything",
            (1..=16)
                .filter(|&code| code != Code::AlreadyExists as i32)
                .map(|code| Reply::Say(Status::new(Code::from(code), "as scripted")))
                .collect(),
        ),
        ("there already", vec![Reply::StoreAndSay(Status::already_exists("")); 3]),
    ];
    for (case, replies) in cases {
        let script = Script::new(replies);
        let mut bench = Bench::new(Arc::clone(&script), limits(100));
        // There are 60 fragments of 10 spans. One in a hundred spans is bad, and one in two hundred cannot be encoded.
        for fragment in 0..60 {
            let first = match fragment % 20 {
                0 => UNENCODABLE,
                10 => BAD,
                _ => "good",
            };
            bench.keep("p", &[first, "good", "good", "good", "good", "good", "good", "good", "good", "good"]);
        }
        let is_lost = |id: &u64| id.is_multiple_of(100);
        assert_eq!(bench.exporter.export_spans(), 600, "{case}");
        bench.settle().await;
        assert_eq!(settled(&bench.metrics), (594, [3, 3, 0]), "{case}");
        assert_eq!(script.stored(), (names("p", (0..600).filter(|id| !is_lost(id))), 0), "{case}");
        assert_eq!(bench.budget.used_bytes(), 0, "{case}");
        assert_eq!(bench.exporter.shutdown(Instant::now(), Unwritten::Lost).await, 0, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_spans_of_a_batch_that_was_taken_are_counted_and_not_sent_again() {
    /// Accepts every batch, and rejects this many of its spans.
    struct Rejects(u32);
    impl Sink for Rejects {
        async fn write(&self, _: &Batch) -> Result<Written, Failure> {
            Ok(Written { rejected_spans: self.0, message: "too old".to_owned() })
        }

        fn advice(&self, _: Cause, _: Option<&str>) -> Option<String> {
            None
        }
    }
    for (rejected, refused) in [(0, 0), (1, 1), (3, 3), (4, 3), (u32::MAX, 3)] {
        let mut bench = Bench::new(Rejects(rejected), limits(100));
        bench.keep("p", &["a", "b", "c"]);
        bench.settle().await;
        assert_eq!(settled(&bench.metrics), (3 - refused, [0, refused, 0]), "{rejected}");
        assert_eq!(counter(&bench.metrics, "spansieve_sink_batches_total", "code=\"OK\""), 1, "{rejected}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_of_one_project_and_wait_no_longer_than_their_delay() {
    let script = Script::new([]);
    let mut bench = Bench::new(Arc::clone(&script), limits(100));
    let start = Instant::now();
    bench.keep("p", &["a", "b"]);
    bench.keep("q", &["a"]);
    bench.keep("p", &["c"]);
    bench.settle().await;
    let calls = script.calls();
    let mut sizes = calls.iter().map(|call| (call.request.name.as_str(), call.request.spans.len())).collect::<Vec<_>>();
    sizes.sort_unstable();
    assert_eq!(sizes, [("projects/p", 3), ("projects/q", 1)]);
    assert!(calls.iter().all(|call| (100..110).contains(&(call.at - start).as_millis())), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_are_let_go_once_encoded_though_the_sink_is_away() {
    let script = Script::new(vec![Reply::Hang; 100]);
    let mut bench = Bench::new(Arc::clone(&script), limits(10));
    bench.keep("p", &["good"; 10]);
    let request_bytes = bench.budget.used_bytes();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Now only the batch counts, because the call sends its bytes without a copy.
    let batch_bytes = prost::Message::encoded_len(&script.calls()[0].request);
    assert_eq!(bench.budget.used_bytes(), batch_bytes + OVERHEAD_BYTES);
    assert_ne!(request_bytes, bench.budget.used_bytes());
    assert_eq!(bench.exporter.export_spans(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_grows_by_encoding_is_encoded_no_faster_than_memory_has_room() {
    const LIMIT_BYTES: usize = 256 << 10;
    let script = Script::new(vec![Reply::Slow(Duration::from_secs(1)); 1000]);
    let mut bench = Bench::with_memory(LIMIT_BYTES, Arc::clone(&script), limits(100));
    let trace = vec!["good"; 5_000];
    bench.keep("p", &trace);
    assert!(bench.budget.used_bytes() < LIMIT_BYTES, "the request has room");
    let mut peak_bytes = 0;
    while bench.exporter.export_spans() > 0 {
        peak_bytes = peak_bytes.max(bench.budget.used_bytes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sent_bytes: usize = script.calls().iter().map(|call| prost::Message::encoded_len(&call.request)).sum();
    assert!(sent_bytes > LIMIT_BYTES, "{sent_bytes} B are no more than memory has room for");
    assert!(peak_bytes < LIMIT_BYTES * 5 / 4, "{peak_bytes} B");
    assert_eq!(settled(&bench.metrics), (5_000, [0, 0, 0]));
    assert_eq!(bench.budget.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn encoding_stops_when_memory_is_full() {
    const LIMIT_BYTES: usize = 8 << 20;
    const SPAN_BYTES: usize = 512 << 10;
    /// Encodes spans to far more bytes than they had.
    struct Inflating;
    impl EncodeSpans for Inflating {
        const FORM: Form = Form::CloudTrace;
        type Origin = Arc<str>;
        type Error = &'static str;
        fn origin(&mut self, _: SpanBytes<'_>) -> Self::Origin {
            "p".into()
        }
        fn place(project: &Self::Origin) -> Place<'_> {
            Place { project, resource: &[], head: &[], number: None }
        }
        fn span(&mut self, _: &Self::Origin, _: SpanBytes<'_>, _: Keep, out: &mut Vec<u8>) -> Result<(), Self::Error> {
            write::bytes(out, 2, &vec![0; SPAN_BYTES]);
            Ok(())
        }
        fn take_altered(&mut self) -> AlteredSpans {
            AlteredSpans::default()
        }
        fn held_bytes(&self) -> usize {
            1 << 10
        }
        fn drop_reason(_: &Self::Error) -> DropReason {
            DropReason::Encode
        }
    }
    /// Accepts everything after a short time.
    struct Slow;
    impl Sink for Slow {
        async fn write(&self, _: &Batch) -> Result<Written, Failure> {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(Written::default())
        }

        fn advice(&self, _: Cause, _: Option<&str>) -> Option<String> {
            None
        }
    }
    let (kept_spans, metrics, budget) =
        (Arc::new(KeptQueue::default()), Arc::new(Metrics::new()), Budget::new(LIMIT_BYTES));
    let settings = export_settings(settings::BatchSettings { max_bytes: 1 << 20, ..limits(100) });
    let (queue, counters) = (Arc::clone(&kept_spans), Arc::clone(&metrics));
    let exporter = Exporter::start(queue, Inflating, Slow, &settings, &budget, counters, None);
    let spans: Vec<_> = (0..256).map(|id| (id, "good")).collect();
    kept_spans.push(&mut vec![kept(&budget, "p", &spans)]);
    let mut peak_bytes = 0;
    while exporter.export_spans() > 0 {
        peak_bytes = peak_bytes.max(budget.used_bytes());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The limit may be exceeded by a sixteenth, by a span, and by the copies of the running calls.
    assert!(peak_bytes < 2 * LIMIT_BYTES + 4 * SPAN_BYTES, "{peak_bytes} B for {} B in all", 256 * SPAN_BYTES);
    assert_eq!(settled(&metrics), (256, [0, 0, 0]));
    assert_eq!(budget.used_bytes(), 1 << 10, "what the encoder holds");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_delivers_what_is_open_and_waiting() {
    // The shutdown cuts two waits short: that of the open batch, two hours, and that after the denied call.
    let script = Script::new([Reply::Say(Status::permission_denied("no role"))]);
    let slow = settings::BatchSettings { max_delay: Duration::from_secs(7200), ..limits(100) };
    let mut bench = Bench::new(Arc::clone(&script), slow);
    for _ in 0..25 {
        bench.keep("p", &["good"; 10]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(bench.exporter.export_spans() >= 50);
    bench.keep("q", &["good"]);
    let start = Instant::now();
    assert_eq!(bench.exporter.shutdown(start + Duration::from_secs(8), Unwritten::Lost).await, 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(script.stored().0.len(), 251);
    assert_eq!(settled(&bench.metrics), (251, [0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn spans_that_a_shutdown_cannot_write_are_counted() {
    let script = Script::new(vec![Reply::Hang; 3]);
    let mut bench = Bench::new(Arc::clone(&script), limits(10));
    for _ in 0..5 {
        bench.keep("p", &["good"; 10]);
    }
    let deadline = Instant::now() + Duration::from_secs(8);
    assert_eq!(bench.exporter.shutdown(deadline, Unwritten::Lost).await, 30);
    assert_eq!(Instant::now(), deadline);
    assert_eq!(settled(&bench.metrics), (20, [0, 0, 30]));
    assert_eq!(bench.kept.unsettled_spans(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_seen() {
    let mut bench = Bench::new(Script::new([]), limits(10));
    let idle = tokio::time::timeout(Duration::from_secs(1), bench.exporter.failed()).await;
    assert!(idle.is_err());
    bench.keep("p", &["good", PANIC]);
    let error = bench.exporter.failed().await.to_string();
    assert!(error.contains("ended unexpectedly") && error.contains("as the test asked for"), "{error}");
    // Both spans are still unsettled.
    assert_eq!(bench.exporter.shutdown(Instant::now(), Unwritten::Lost).await, 2);
    assert_eq!(settled(&bench.metrics), (0, [0, 0, 2]));
}

#[tokio::test]
async fn over_grpc_one_bad_span_of_a_full_batch_is_dropped_alone() {
    let script = Script::new([]);
    let server = Server::any(Arc::clone(&script));
    let mut bench = Bench::new(CloudTrace::plaintext(&server.uri()).unwrap(), limits(2000));
    for fragment in 0..200 {
        bench.keep("p", &[if fragment == 77 { BAD } else { "good" }; 1]);
        bench.keep("p", &["good"; 9]);
    }
    bench.settle().await;
    assert_eq!(settled(&bench.metrics), (1999, [0, 1, 0]));
    assert_eq!(script.stored(), (names("p", (0..2000).filter(|&id| id != 770)), 0));
}

#[tokio::test]
async fn over_grpc_a_sink_that_crashes_and_returns_loses_nothing() {
    // At first there is no server. Then there is one that gives no answer to its first calls, and crashes.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let mut bench = Bench::new(CloudTrace::plaintext(&format!("http://{address}")).unwrap(), limits(10));
    for _ in 0..20 {
        bench.keep("p", &["good"; 10]);
    }
    let hanging = Script::new(vec![Reply::Hang; 100]);
    let crashing = Server::start(Arc::clone(&hanging), address);
    while hanging.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(crashing);
    assert_eq!(bench.exporter.export_spans(), 200);
    let script = Script::new([]);
    let _server = Server::start(Arc::clone(&script), address);
    bench.settle().await;
    assert_eq!(settled(&bench.metrics), (200, [0, 0, 0]));
    assert_eq!(script.stored(), (names("p", 0..200), 0));
}

#[tokio::test(start_paused = true)]
async fn the_exporter_gives_signs_of_life_while_the_sink_is_unavailable() {
    let away = Script::new(vec![Reply::Say(Status::unavailable("away")); 10_000]);
    let mut bench = Bench::new(away, limits(100));
    let silence = |bench: &Bench| bench.exporter.pulse().silence(Instant::now());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(silence(&bench) <= pulse::INTERVAL, "with nothing to do");
    bench.keep("p", &["good"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.exporter.export_spans(), 1, "the sink is away");
    assert!(silence(&bench) <= pulse::INTERVAL);
    bench.exporter.task.abort();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(silence(&bench) > pulse::SILENCE_MAX);
}
