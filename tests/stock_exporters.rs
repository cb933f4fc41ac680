//! The stock Rust exporter with each protocol and compression: Cloud Trace receives the spans that were sent.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spansieve::otlp::TraceId;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::support::{self, eventually};

/// Sends one failed trace of two spans, and shuts the SDK down. Returns the trace id.
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

/// A sender's token (`otlp.auth`).
const TOKEN: &str = "stock-exporters-0123456789";

/// Builds the exporter and sends from a thread of its own: the SDK blocks, and the daemon runs on this runtime.
async fn check(name: &str, build: impl FnOnce(String) -> SpanExporter + Send + 'static) {
    check_with(name, support::CONFIG, build).await;
}

async fn check_with(name: &str, config: &str, build: impl FnOnce(String) -> SpanExporter + Send + 'static) {
    let config = config.to_owned() + "resource: {attributes: [{key: tier, value: gold, action: insert}]}\n";
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
    // The exporter's HTTP client requires a provider even for plaintext. An error means that one is already installed.
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

/// Uses mutual TLS and a token, as `docs/security.md` describes for senders.
#[tokio::test(flavor = "multi_thread")]
async fn over_mutual_tls_with_a_token() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert_file, key_file) = (write("cert.pem", &cert), write("key.pem", &key));
    let tokens_file = write("tokens", &format!("# of senders\n{TOKEN}\n"));
    let otlp = format!(
        "otlp:\n  listen: ['127.0.0.1:0']\n  auth: {{bearer: {{tokens_file: '{tokens_file}'}}}}\n  \
         tls: {{cert_file: '{cert_file}', key_file: '{key_file}', client_ca_file: '{cert_file}'}}"
    );
    let config = support::CONFIG.replace("otlp: {listen: [\"127.0.0.1:0\"]}", &otlp);
    check_with("gRPC, mutual TLS, a token", &config, move |endpoint| {
        assert!(endpoint.starts_with("https://127.0.0.1:"), "{endpoint}");
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&cert))
            .identity(Identity::from_pem(&cert, &key));
        let builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        builder.with_tls_config(tls).with_metadata(metadata).build().unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_with_a_token() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let otlp = format!("otlp: {{listen: [\"127.0.0.1:0\"], auth: {{bearer: {{tokens: [{TOKEN}]}}}}}}");
    let config = support::CONFIG.replace("otlp: {listen: [\"127.0.0.1:0\"]}", &otlp);
    check_with("HTTP, a token", &config, move |endpoint| {
        let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {TOKEN}"))]);
        let builder = SpanExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/traces"));
        builder.with_headers(headers).build().unwrap()
    })
    .await;
}
