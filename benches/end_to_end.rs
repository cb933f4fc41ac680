//! The cost of a request from its bytes to batches of kept spans, in this process: scan, table, verdict, encoder,
//! batch. The daemon's other costs are in the kernel, the runtime and HTTP.
#![allow(missing_docs, clippy::expect_used)]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use spansieve::otlp::json::to_protobuf;

mod support;

use support::{pipeline, report, template, workload};

use pipeline::Pipeline;
use template::{Encoding, templates};

/// The same allocator as in the daemon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WAIT_MS: u64 = 2_000;
/// Milliseconds between requests, which makes about 500,000 spans a second.
const PACE_MS: u64 = 1;

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("end to end");
    let cases = [
        ("protobuf, 7 % kept", Encoding::Protobuf, pipeline::THREE_POLICIES),
        ("JSON, 7 % kept", Encoding::Json, pipeline::THREE_POLICIES),
        ("protobuf, 100 % kept", Encoding::Protobuf, pipeline::KEEP_ALL),
    ];
    for (name, encoding, policies) in cases {
        let pipeline = Pipeline::new(pipeline::settings(WAIT_MS, policies));
        let mut work = pipeline.workspace();
        let templates = templates(&workload::Shape::default(), encoding);
        let mut next = 0;
        let request = || {
            let mut body = Vec::new();
            templates[next % templates.len()].stamp(workload::mix((next / templates.len()) as u64), &mut body);
            next += 1;
            (body, next as u64 * PACE_MS)
        };
        report::per_span_of(&mut group, name, workload::SPAN_COUNT, request, |(body, now_ms)| {
            let body = match encoding {
                Encoding::Protobuf => body,
                Encoding::Json => to_protobuf(&body).expect("a request"),
            };
            pipeline.accept(Bytes::from(body), now_ms, &mut work);
            pipeline.decide(pipeline.shards(), now_ms, &mut work);
            work.export()
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
