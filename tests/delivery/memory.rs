//! A sink outage that fills the memory: senders are told to retry, and no kept span is dropped unless the operator
//! configured it.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::daemon::Daemon;
use tonic::Code;

use crate::support::{self, Client, conservation, error, metric, request, trace_id};
use spansieve_test_support::sink::{Answer, Sink};

const LIMIT_BYTES: f64 = 4194304.0;
const REQUEST_SPANS: usize = 50;

/// Returns a configuration with 4 MiB of memory, nearly all of it for spans.
fn config(sink: &Sink, export: &str) -> String {
    let address = sink.address;
    support::CONFIG
        .replace("otlp: {", "otlp: {max_request_bytes: 256KiB, ")
        .replace(
            "decision_wait: 1s",
            "decision_wait: 1s\n  decision_cache: {sampled_cache_size: 1000, non_sampled_cache_size: 1000}",
        )
        .replace("endpoint: embedded", &format!("endpoint: \"http://{address}\"\n  project: p\n  {export}"))
        .replace("{max_delay: 100ms}", "{max_delay: 100ms, max_bytes: 256KiB}")
        .replace("limit: 512MiB", "limit: 4MiB")
}

/// Returns spans of about 1 KiB each.
fn spans() -> Vec<Span> {
    (0..REQUEST_SPANS).map(|_| error(trace_id(false), &"a long name ".repeat(80))).collect()
}

/// Sends `count` requests, each until it is accepted, as exporters do. Returns the number of refusals.
async fn send(daemon: &Daemon, count: usize) -> usize {
    let mut client = Client::new(&support::otlp(daemon));
    let mut refusals = 0;
    for _ in 0..count {
        let request = request("shop", spans());
        while let Err(status) = client.export(request.clone()).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            assert!(!status.details().is_empty(), "a RetryInfo allows a retry");
            refusals += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let held_bytes = metric(&daemon.scrape()(), "spansieve_held_bytes", &[]);
        assert!(held_bytes <= 1.25 * LIMIT_BYTES, "{held_bytes} B are held");
    }
    refusals
}

async fn until_held(daemon: &Daemon, spans: f64) {
    let held = async {
        while metric(&daemon.scrape()(), "spansieve_held_spans", &[]) > spans {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), held).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn senders_wait_while_kept_spans_fill_the_memory() {
    // The sink is away for a minute. The spans take five times the memory.
    let sink = Sink::start(Duration::from_secs(60), vec![]).await;
    let daemon = support::start(&config(&sink, "")).await;
    let requests = 5 * LIMIT_BYTES as usize / (REQUEST_SPANS * 1024);
    let refusals = send(&daemon, requests).await;
    assert!(refusals > 30, "refused {refusals} times in a minute");
    until_held(&daemon, 0.0).await;
    let (text, sent) = (daemon.scrape()(), requests * REQUEST_SPANS);
    assert_eq!(conservation(&text), (sent as f64, sent as f64));
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), sent as f64);
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
    let written = sink.written();
    assert_eq!((written.spans.len(), written.changed.len()), (sent, 0));
}

#[tokio::test(start_paused = true)]
async fn give_up_after_frees_the_memory_of_spans_that_the_sink_refuses() {
    let denied = Answer::Say(tonic::Status::permission_denied("no role"));
    let sink = Sink::start(Duration::ZERO, vec![denied; 1000]).await;
    let daemon = support::start(&config(&sink, "give_up_after: 2m")).await;
    let requests = 2 * LIMIT_BYTES as usize / (REQUEST_SPANS * 1024);
    let refusals = send(&daemon, requests).await;
    assert!(refusals > 60, "refused {refusals} times");
    assert!(metric(&daemon.scrape()(), "spansieve_waiting_spans", &["denied"]) > 0.0);
    until_held(&daemon, 0.0).await;
    let (text, sent) = (daemon.scrape()(), (requests * REQUEST_SPANS) as f64);
    assert_eq!(metric(&text, "spansieve_dropped_spans_total", &["gave_up"]), sent);
    assert_eq!(conservation(&text), (sent, sent));
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}
