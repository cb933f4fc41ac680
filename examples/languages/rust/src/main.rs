//! The smallest instrumented service in Rust. Its spans are made by hand: one for each request.

use std::{collections::HashMap, env, error::Error};

use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::get};
use opentelemetry::trace::{Span, SpanKind, Status, Tracer};
use opentelemetry::{KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The exporter, the sampler and the resource read the OTEL_ variables.
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(SpanExporter::builder().with_http().build()?).build();
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());

    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT")?)).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    axum::serve(listener, Router::new().route("/work", get(work))).with_graceful_shutdown(stop).await?;
    provider.shutdown()?; // sends the last spans
    Ok(())
}

async fn work(headers: HeaderMap, Query(query): Query<HashMap<String, String>>) -> (StatusCode, String) {
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&HeaderExtractor(&headers)));
    let tracer = global::tracer("last");
    let mut span = tracer.span_builder("GET /work").with_kind(SpanKind::Server).start_with_context(&tracer, &parent);
    let name = env::var("OTEL_SERVICE_NAME").unwrap_or_default();
    let (status, text) = if query.get("fail") == Some(&name) {
        span.set_status(Status::error("asked to fail"));
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{name} fails as asked\n"))
    } else {
        (StatusCode::OK, format!("{name}\n"))
    };
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    span.end();
    (status, text)
}
