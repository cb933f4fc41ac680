//! Inflating request bodies: an everyday batch, and the largest one that is still inflated on the I/O worker.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spansieve::receiver::inflate::{Coding, inflate};

const CAP: usize = 16 << 20;

/// Spans with random ids and times and twelve attributes, as senders write them.
fn body(spans: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let spans = (0..spans).map(|_| {
        let attributes = (0..12).map(|n| {
            let value = any_value::Value::StringValue(format!("value-{}", random.u16(..50)));
            KeyValue {
                key: format!("attribute.number.{n}"),
                value: Some(AnyValue { value: Some(value) }),
                ..KeyValue::default()
            }
        });
        Span {
            attributes: attributes.collect(),
            trace_id: random.u128(..).to_be_bytes().into(),
            span_id: random.u64(..).to_be_bytes().into(),
            start_time_unix_nano: 1_700_000_000_000_000_000 + random.u64(..1 << 40),
            end_time_unix_nano: 1_700_000_000_000_000_000 + random.u64(..1 << 40),
            name: "GET /api/orders/{id}".to_owned(),
            ..Span::default()
        }
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn benches(criterion: &mut Criterion) {
    for spans in [1, 512, 4096] {
        let plain = body(spans);
        let mut group = criterion.benchmark_group(format!("inflate/{spans}_spans"));
        group.throughput(Throughput::Bytes(plain.len() as u64));
        let inputs = [
            ("gzip", Coding::Gzip, gzip(&plain)),
            ("zstd_size_stated", Coding::Zstd, zstd::bulk::compress(&plain, 3).unwrap()),
            ("zstd_streamed", Coding::Zstd, zstd::stream::encode_all(&plain[..], 3).unwrap()),
        ];
        for (name, coding, input) in inputs {
            let name = format!("{name}/{}_bytes", input.len());
            group.bench_function(name, |bencher| {
                bencher.iter(|| inflate(coding, black_box(&input), CAP, |_| true).unwrap());
            });
        }
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
