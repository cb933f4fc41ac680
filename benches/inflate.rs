//! The cost of inflating request bodies: of one span, of 512 spans (a usual batch) and of 4,096 spans.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;
use spansieve::receiver::inflate::{Coding, inflate};
use workload::Shape;

mod support;

use support::{report, workload};

const CAP: usize = 16 << 20;

fn body(spans: usize) -> Vec<u8> {
    let traces = spans.div_ceil(Shape::default().spans_per_trace);
    let shape = Shape { services: 1, traces, spans_per_request: spans, ..Shape::default() };
    workload::requests(&shape)[0].encode_to_vec()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn lz4(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn benches(criterion: &mut Criterion) {
    for spans in [1, 512, 4096] {
        let plain = body(spans);
        let mut group = criterion.benchmark_group(format!("inflate/{spans}_spans"));
        let inputs = [
            ("gzip", Coding::Gzip, gzip(&plain)),
            ("zstd_size_stated", Coding::Zstd, zstd::bulk::compress(&plain, 3).unwrap()),
            ("zstd_streamed", Coding::Zstd, zstd::stream::encode_all(&plain[..], 3).unwrap()),
            ("snappy", Coding::Snappy, snap::raw::Encoder::new().compress_vec(&plain).unwrap()),
            ("lz4", Coding::Lz4, lz4(&plain)),
        ];
        for (name, coding, input) in inputs {
            let name = format!("{name}, {} bytes of {}", input.len(), plain.len());
            report::per_span(&mut group, &name, spans, || {
                inflate(coding, black_box(&input), CAP, |_| true, |_| true).unwrap()
            });
        }
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
