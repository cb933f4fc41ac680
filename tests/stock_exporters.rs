//! The stock Rust exporter over each protocol and compression: what was sent is what Cloud Trace has.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spansieve::otlp::TraceId;
use support::eventually;

/// Sends one failed trace of two spans (and shuts the SDK down); returns its id.
fn send(exporter: SpanExporter) -> TraceId {
    let resource = Resource::builder().with_service_name("stock").with_attribute(KeyValue::new("team", "shop")).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("stock-tests");
    let root = tracer.span_builder("GET /orders/{id}").with_kind(SpanKind::Server).start(&tracer);
    let context = Context::current_with_span(root);
    let mut child =
        tracer.span_builder("SELECT orders").with_kind(SpanKind::Client).start_with_context(&tracer, &context);
    opentelemetry::trace::Span::set_status(&mut child, Status::error("relation does not exist"));
    opentelemetry::trace::Span::set_attribute(&mut child, KeyValue::new("db.system.name", "postgresql"));
    opentelemetry::trace::Span::end(&mut child);
    let trace_id = TraceId(context.span().span_context().trace_id().to_bytes());
    context.span().end();
    provider.shutdown().unwrap();
    trace_id
}

/// Builds the exporter and sends on a thread of its own: the SDK blocks, and the daemon runs on this runtime.
async fn check(name: &str, build: impl FnOnce(String) -> SpanExporter + Send + 'static) {
    let config = support::CONFIG.to_owned() + "resource: {attributes: [{key: tier, value: gold, action: insert}]}\n";
    let daemon = support::start(&config).await;
    let endpoint = support::otlp(&daemon);
    let trace_id = tokio::task::spawn_blocking(move || send(build(endpoint))).await.unwrap();
    let store = support::store(&daemon);
    eventually(name, || store.trace(&trace_id).is_some_and(|spans| spans.len() == 2)).await;
    let spans = store.trace(&trace_id).unwrap();
    let named = |name: &str| spans.iter().find(|span| span.display_name() == name).unwrap();
    let (root, child) = (named("GET /orders/{id}"), named("SELECT orders"));
    assert_eq!(child.span.parent_span_id, root.span.span_id, "{name}");
    assert_eq!(child.span.status.as_ref().unwrap().message, "relation does not exist", "{name}");
    assert_eq!(child.string_attribute("db.system.name"), Some("postgresql"), "{name}");
    for span in [root, child] {
        assert_eq!(span.service(), Some("stock"), "{name}");
        assert_eq!(span.string_attribute("team"), Some("shop"), "{name}");
        assert_eq!(span.string_attribute("tier"), Some("gold"), "{name}: rewritten resource");
        assert_eq!(span.policy(), Some("errors"), "{name}");
        assert_eq!(span.adjusted_count(), Some(1.0), "{name}");
    }
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc() {
    for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
        check(&format!("gRPC {compression:?}"), move |endpoint| {
            let builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
            let builder = match compression {
                Some(compression) => builder.with_compression(compression),
                None => builder,
            };
            builder.build().unwrap()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http() {
    // The exporter's HTTP client wants one even for plaintext; an error says that one is installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for protocol in [Protocol::HttpBinary, Protocol::HttpJson] {
        for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
            check(&format!("{protocol:?} {compression:?}"), move |endpoint| {
                let endpoint = format!("{endpoint}/v1/traces");
                let builder = SpanExporter::builder().with_http().with_protocol(protocol).with_endpoint(endpoint);
                let builder = match compression {
                    Some(compression) => builder.with_compression(compression),
                    None => builder,
                };
                builder.build().unwrap()
            })
            .await;
        }
    }
}
