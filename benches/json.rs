//! The cost of converting OTLP/JSON to protobuf: Spansieve's transcoder, compared with opentelemetry-proto's serde.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spansieve::otlp::json::to_protobuf;
use workload::SPAN_COUNT;

mod support;

use support::{report, workload};

fn json(c: &mut Criterion) {
    let request = workload::request();
    let body = serde_json::to_vec(&request).unwrap();
    let wire = to_protobuf(&body).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(&wire[..]).unwrap(), request);
    println!("bytes a span: {} as JSON, {} as protobuf", body.len() / SPAN_COUNT, wire.len() / SPAN_COUNT);

    let mut group = c.benchmark_group("json");
    report::per_span(&mut group, "to_protobuf", SPAN_COUNT, || to_protobuf(black_box(&body)).unwrap());
    report::per_span(&mut group, "opentelemetry_proto_serde", SPAN_COUNT, || {
        serde_json::from_slice::<ExportTraceServiceRequest>(black_box(&body)).unwrap()
    });
    group.finish();
}

criterion_group!(benches, json);
criterion_main!(benches);
