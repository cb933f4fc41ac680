//! OTLP/JSON to protobuf: the transcoder beside opentelemetry-proto's serde. Time is per span (the throughput's
//! inverse): a span of 12 attributes, 512 of them in a request.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spansieve::otlp::json::to_protobuf;

const SPANS: u64 = 512;

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn span(i: u64) -> Span {
    let id = (i + 1).to_be_bytes();
    let start = 1_700_000_000_000_000_000 + i * 1_000_000;
    Span {
        trace_id: [id, id].concat(),
        span_id: id.to_vec(),
        parent_span_id: (i + 2).to_be_bytes().to_vec(),
        name: "GET /api/v1/orders/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 12_345_678,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.scheme", "https"),
            text("url.path", "/api/v1/orders/123456"),
            text("http.route", "/api/v1/orders/{id}"),
            text("server.address", "shop.example.com"),
            attribute("server.port", any_value::Value::IntValue(443)),
            attribute("http.response.status_code", any_value::Value::IntValue(200)),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
            text("client.address", "203.0.113.7"),
            text("network.protocol.version", "1.1"),
            attribute("shop.cart.value", any_value::Value::DoubleValue(99.95)),
            attribute("shop.customer.returning", any_value::Value::BoolValue(true)),
        ],
        status: Some(Status::default()),
        ..Default::default()
    }
}

fn request() -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Default::default() };
    let scope = InstrumentationScope { name: "http".to_owned(), ..Default::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: (0..SPANS).map(span).collect(), ..Default::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            ..Default::default()
        }],
    }
}

fn json(c: &mut Criterion) {
    let request = request();
    let body = serde_json::to_vec(&request).unwrap();
    let wire = to_protobuf(&body).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(&wire[..]).unwrap(), request);
    println!("bytes a span: {} as JSON, {} as protobuf", body.len() as u64 / SPANS, wire.len() as u64 / SPANS);

    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Elements(SPANS));
    group.bench_function("to_protobuf", |b| b.iter(|| to_protobuf(black_box(&body)).unwrap()));
    group.bench_function("opentelemetry_proto_serde", |b| {
        b.iter(|| serde_json::from_slice::<ExportTraceServiceRequest>(black_box(&body)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, json);
criterion_main!(benches);
