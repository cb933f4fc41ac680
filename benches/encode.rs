//! The cost of encoding a kept span, from OTLP bytes to Cloud Trace bytes and to the bytes of the OTLP sink. For
//! comparison, the same with prost: decode, map and encode.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spansieve::cloud_trace::encode::testing::reference;
use spansieve::cloud_trace::encode::{Encoder, EncoderSettings, VERSION};
use spansieve::forward::encode as forward;
use spansieve::proto::google::devtools::cloudtrace::v2;
use spansieve::resource::Rewriter;
use spansieve::resource::settings::AllowedProjects;
use spansieve::sampling::{Keep, Threshold};
use spansieve::tail::request::{ScopeId, SpanBytes};

mod support;

use support::{report, workload};

/// The scope id of all spans.
const SCOPE_ID: Option<ScopeId> = Some(ScopeId { request: 0, scope: 0 });

/// The spans of one request, each encoded separately, with their shared resource and scope.
struct Spans {
    resource: Vec<u8>,
    scope: Vec<u8>,
    spans: Vec<Vec<u8>>,
}

impl Spans {
    /// Encodes the spans of a request. `edit` changes each span before it is encoded.
    fn new(edit: impl Fn(&mut Span)) -> Self {
        let mut request = workload::request();
        let resource_spans = &mut request.resource_spans[0];
        let scope_spans = &mut resource_spans.scope_spans[0];
        scope_spans.spans.iter_mut().for_each(edit);
        Spans {
            resource: resource_spans.resource.as_ref().expect("a resource").encode_to_vec(),
            scope: scope_spans.scope.as_ref().expect("a scope").encode_to_vec(),
            spans: scope_spans.spans.iter().map(Message::encode_to_vec).collect(),
        }
    }
}

fn cloud_trace(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, input: &Spans) {
    let settings = EncoderSettings {
        default_project: "local-project".into(),
        allowed_projects: AllowedProjects::Any,
        annotate: true,
        policy_names: ["errors".to_string()].into(),
        ..EncoderSettings::default()
    };
    let mut encoder = Encoder::new(settings, Rewriter::default());
    let keep = Keep::new(0, Threshold::ALWAYS);
    let Spans { resource, scope, spans } = input;
    let mut out = Vec::new();
    report::per_span(group, name, spans.len(), || {
        out.clear();
        for span in spans {
            let span = SpanBytes { scope_id: SCOPE_ID, resource, scope, span, ..SpanBytes::default() };
            let origin = encoder.origin(black_box(span));
            encoder.span(&origin, span.span, keep, &mut out).unwrap();
        }
        out.len()
    });
}

fn otlp(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, input: &Spans, threshold: Threshold) {
    let settings = forward::OtlpEncoderSettings {
        default_project: Some("local-project".into()),
        annotate: true,
        policy_names: ["errors".to_string()].into(),
        ..Default::default()
    };
    let mut encoder = forward::OtlpEncoder::new(settings, Rewriter::default());
    let keep = Keep::new(0, threshold);
    let Spans { resource, scope, spans } = input;
    let mut out = Vec::new();
    report::per_span(group, name, spans.len(), || {
        out.clear();
        for span in spans {
            let span = SpanBytes { scope_id: SCOPE_ID, resource, scope, span, ..SpanBytes::default() };
            let origin = encoder.origin(black_box(span));
            encoder.span(&origin, span.span, keep, &mut out).unwrap();
        }
        out.len()
    });
}

fn prost(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, input: &Spans) {
    let mut out = Vec::new();
    report::per_span(group, name, input.spans.len(), || {
        out.clear();
        let resource = Resource::decode(&input.resource[..]).unwrap();
        let scope = InstrumentationScope::decode(&input.scope[..]).unwrap();
        for span in &input.spans {
            let one = v2::AttributeValue { value: Some(v2::attribute_value::Value::IntValue(1)) };
            let context = reference::Context {
                default_project: "local-project",
                version: VERSION,
                annotation: Some(("errors", one)),
            };
            let span = Span::decode(&black_box(span)[..]).unwrap();
            let span = reference::encode(&context, &resource, &scope, &span);
            prost::encoding::message::encode(2, &span, &mut out);
        }
        out.len()
    });
}

fn benches(criterion: &mut Criterion) {
    let spans = Spans::new(|_| {});
    let overriding = Spans::new(|span| span.attributes[2].key = "service.version".into());
    let mut group = criterion.benchmark_group("encode");
    cloud_trace(&mut group, "span", &spans);
    cloud_trace(&mut group, "span overriding its resource", &overriding);
    otlp(&mut group, "span as OTLP", &spans, Threshold::ALWAYS);
    otlp(&mut group, "span as OTLP, by ratio", &spans, Threshold::from_percent(5.0));
    prost(&mut group, "span by prost", &spans);
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
