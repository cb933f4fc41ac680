//! What a received span costs in the scan; prost's owned decode of the same bytes for scale.
#![allow(missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spansieve::otlp::scan::{Bits, Probe, Scan, scan};
use spansieve::otlp::view::{AnyValue, StatusCode};

#[path = "support/request.rs"]
mod request;

/// Asks for nothing: the cost of framing and facts alone.
struct Nothing;

impl Probe for Nothing {
    fn resource_attribute(&self, _: &[u8], _: AnyValue<'_>) -> Bits {
        0
    }

    fn span_attribute(&self, _: &[u8], _: AnyValue<'_>) -> Bits {
        0
    }

    fn status(&self, _: StatusCode) -> Bits {
        0
    }
}

/// Asks what a policy for errors does.
struct ServerError;

impl Probe for ServerError {
    fn resource_attribute(&self, _: &[u8], _: AnyValue<'_>) -> Bits {
        0
    }

    fn span_attribute(&self, key: &[u8], value: AnyValue<'_>) -> Bits {
        let status = key == b"http.response.status_code" || key == b"http.status_code";
        Bits::from(status && matches!(value, AnyValue::Int(500..=599)))
    }

    fn status(&self, code: StatusCode) -> Bits {
        Bits::from(code == StatusCode::Error)
    }
}

fn benches(criterion: &mut Criterion) {
    let body = Bytes::from(request::request().encode_to_vec());
    let mut result = Scan::default();
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(request::SPAN_COUNT as u64));
    group.bench_function("framing and facts", |b| {
        b.iter(|| scan(black_box(body.clone()), &Nothing, &mut result));
    });
    group.bench_function("with an attribute predicate", |b| {
        b.iter(|| scan(black_box(body.clone()), &ServerError, &mut result));
    });
    assert_eq!(result.facts.len(), request::SPAN_COUNT);
    group.bench_function("prost owned decode", |b| {
        b.iter(|| ExportTraceServiceRequest::decode(black_box(&body[..])));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
