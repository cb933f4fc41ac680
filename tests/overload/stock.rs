//! The retries of a stock exporter succeed when memory is free again.

use std::time::Duration;

use opentelemetry::trace::{Span as _, Status, Tracer, TracerProvider};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::JoinHandle;

use super::trial::Trial;
use spansieve_test_support::sink::free_address;

/// Number of failed traces, each of one span.
const TRACES: usize = 20;

/// Returns the exporter's own retry policy with more retries, as a machine that runs tests in parallel is slow.
fn retry() -> RetryPolicy {
    RetryPolicy::recommended().with_max_retries(30)
}

fn exporter(protocol: Protocol, endpoint: String) -> SpanExporter {
    let timeout = Duration::from_secs(30);
    match protocol {
        Protocol::Grpc => {
            let builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(timeout);
            builder.with_retry_policy(retry()).build().unwrap()
        }
        _ => {
            // The exporter's HTTP client requires a provider even for plaintext. An error means that one is already
            // installed.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let endpoint = format!("{endpoint}/v1/traces");
            let builder = SpanExporter::builder().with_http().with_endpoint(endpoint).with_timeout(timeout);
            builder.with_protocol(protocol).with_retry_policy(retry()).build().unwrap()
        }
    }
}

/// Sends failed traces, and shuts the SDK down. Returns the trace ids.
fn send(exporter: SpanExporter) -> Vec<u128> {
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let tracer = provider.tracer("overload");
    let ids = (0..TRACES).map(|_| {
        let mut span = tracer.start("failed");
        span.set_status(Status::error("broken"));
        u128::from_be_bytes(span.span_context().trace_id().to_bytes())
    });
    let ids = ids.collect();
    provider.shutdown_with_timeout(Duration::from_secs(60)).unwrap();
    ids
}

/// Starts to send while memory is full, and returns after the first refusal. On a busy machine, spans may be encoded
/// only after memory was filled, which frees some of it. Memory is then filled again.
async fn refused_sender(trial: &Trial, protocol: Protocol, label: &str) -> JoinHandle<Vec<u128>> {
    let busy = || trial.metric("spansieve_requests_total", &["busy", label]);
    for _ in 0..20 {
        trial.fill().await;
        let (before, uri) = (busy(), trial.uri());
        let sender = tokio::task::spawn_blocking(move || send(exporter(protocol, uri)));
        while busy() == before && !sender.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if busy() > before {
            return sender;
        }
        trial.expect(sender.await.unwrap().into_iter().map(|id| (id, 1)));
    }
    panic!("the exporter is never refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_exporter_gets_through_when_memory_is_free_again() {
    for (protocol, label) in [(Protocol::Grpc, "grpc"), (Protocol::HttpBinary, "http_protobuf")] {
        let mut trial = Trial::without_sink("a stock exporter", free_address().await, "").await;
        let sender = refused_sender(&trial, protocol, label).await;
        trial.start_sink(Vec::new());
        trial.expect(sender.await.unwrap().into_iter().map(|id| (id, 1)));
        trial.check().await;
    }
}
