//! The cost of rewriting a resource, and its cost for a kept span, whose resource has usually been rewritten before.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;
use spansieve::cloud_trace::encode::{Encoder, EncoderSettings};
use spansieve::config;
use spansieve::resource::Rewriter;

mod support;

use support::{report, workload};

/// Resources of one pass; each belongs to another service.
const SERVICES: usize = 1_000;

const THREE_ACTIONS: &str = "
resource:
  attributes:
    - {key: deployment.environment.name, value: production, action: upsert}
    - {key: cloud.region, value: europe-west1, action: upsert}
    - {key: host.name, action: delete}
export: {endpoint: embedded}
";

fn resources() -> Vec<Vec<u8>> {
    let shape = workload::Shape { services: SERVICES, traces: SERVICES, spans_per_trace: 1, ..Default::default() };
    let requests = workload::requests(&shape);
    requests
        .iter()
        .map(|request| request.resource_spans[0].resource.as_ref().expect("a resource").encode_to_vec())
        .collect()
}

fn benches(criterion: &mut Criterion) {
    let settings = config::load(THREE_ACTIONS, &|_| None).expect("a configuration").settings;
    let resources = resources();
    let mut group = criterion.benchmark_group("rewrite");
    for (name, rewriter) in [
        ("resource, no action", Rewriter::default()),
        ("resource, three actions", Rewriter::new(&settings.resource, &[])),
    ] {
        report::per_span(&mut group, name, resources.len(), || {
            for resource in &resources {
                black_box(rewriter.rewrite(black_box(resource)));
            }
        });
    }
    let encoder_settings = EncoderSettings { default_project: "local-project".into(), ..EncoderSettings::default() };
    let mut encoder = Encoder::new(encoder_settings, Rewriter::new(&settings.resource, &[]));
    report::per_span(&mut group, "span of a known resource, of 1,000", resources.len(), || {
        for resource in &resources {
            black_box(encoder.resource(black_box(resource)));
        }
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
