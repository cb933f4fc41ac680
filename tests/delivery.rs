//! No kept span is lost between the trace table and Cloud Trace, during an outage of the sink or a stop under load.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod faults;
mod memory;
mod random;

use std::time::Duration;

use spansieve::emulator::Emulator;

use crate::support::{self, Client, conservation, error, eventually, metric, request, span, trace_id};

/// Returns the address of a port on which no process listens.
async fn free_address() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn kept_spans_wait_while_the_sink_is_away() {
    let address = free_address().await;
    let config =
        support::CONFIG.replace("endpoint: embedded", &format!("endpoint: \"http://{address}\"\n  project: p"));
    let daemon = support::start(&config).await;
    let mut client = Client::new(&support::otlp(&daemon));
    for _ in 0..50 {
        client.export(request("shop", (0..10).map(|_| error(trace_id(false), "failed")).collect())).await.unwrap();
    }
    let scrape = daemon.scrape().clone();
    eventually("calls fail", || metric(&scrape(), "spansieve_sink_batches_total", &[]) > 1.0).await;
    assert_eq!(metric(&scrape(), "spansieve_held_spans", &["export"]), 500.0);
    let emulator = Emulator::start(&address, 64 << 20).await.unwrap();
    let store = emulator.store().clone();
    eventually("all arrive once the sink is there", || store.span_count() == 500).await;
    eventually("all are confirmed", || metric(&scrape(), "spansieve_exported_spans_total", &[]) == 500.0).await;
    assert_eq!(conservation(&scrape()), (500.0, 500.0));
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}

#[tokio::test]
async fn a_stop_counts_what_it_could_not_write() {
    let config = support::CONFIG
        .replace("endpoint: embedded", &format!("endpoint: \"http://{}\"\n  project: p", free_address().await));
    let daemon = support::start(&config).await;
    let mut client = Client::new(&support::otlp(&daemon));
    client
        .export(request("shop", vec![error(trace_id(false), "failed"), span(trace_id(false), "fine")]))
        .await
        .unwrap();
    let scrape = daemon.scrape().clone();
    assert_eq!(daemon.stop(Duration::from_secs(2)).await, 1);
    let text = scrape();
    assert_eq!(metric(&text, "spansieve_dropped_spans_total", &["shutdown"]), 1.0);
    assert_eq!(conservation(&text), (2.0, 2.0));
}

#[tokio::test]
async fn a_stop_decides_and_exports_all_acknowledged_spans() {
    let config = support::CONFIG.replace("decision_wait: 1s", "decision_wait: 60s");
    let daemon = support::start(&config).await;
    let uri = support::otlp(&daemon);
    let sender = tokio::spawn(async move {
        let mut client = Client::new(&uri);
        let mut acknowledged = 0;
        // The loop ends when the stopping daemon refuses a request.
        loop {
            // `slow` alone decides the trace, with both of its spans.
            let trace = trace_id(false);
            let spans = vec![support::slow(trace, "slow"), span(trace, "part of it")];
            match client.export(request("shop", spans)).await {
                Ok(_) => acknowledged += 2,
                Err(status) => return (acknowledged, status.code()),
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (store, scrape) = (support::store(&daemon), daemon.scrape().clone());
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
    let (acknowledged, refusal) = sender.await.unwrap();
    assert!(acknowledged > 20, "{acknowledged}");
    assert_eq!(refusal, tonic::Code::Unavailable, "a retryable refusal while stopping");
    assert_eq!(store.span_count(), acknowledged);
    let (received, accounted) = conservation(&scrape());
    assert_eq!(received, accounted);
}
