//! The cost of a kept span: from OTLP bytes to Cloud Trace bytes, beside decoding, mapping and encoding with prost; and
//! to the bytes that go on as OTLP.
//!
//! Spans are like the load generator's: 12 attributes, 8 of the resource, a scope; every sixteenth has an event.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span::Event};
use prost::Message;
use spansieve::cloud_trace::encode::{Encoder, EncoderSettings, VERSION};
use spansieve::config::settings::AllowedProjects;
use spansieve::forward::encode as forward;
use spansieve::proto::google::devtools::cloudtrace::v2;
use spansieve::proto::google::rpc::Status;
use spansieve::resource::Rewriter;
use spansieve::sampling::{Keep, Threshold};
use spansieve::tail::request::SpanBytes;

#[path = "../src/cloud_trace/encode/tests/reference.rs"]
mod reference;

const SPANS: usize = 64;

fn string(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn resource() -> Resource {
    let attributes = vec![
        string("service.name", "storefront"),
        string("service.namespace", "shop"),
        string("service.version", "2026.11.3"),
        string("service.instance.id", "storefront-7c9f8d6b54-0a3f1"),
        string("deployment.environment.name", "staging"),
        string("host.name", "storefront-7c9f8d6b54"),
        string("telemetry.sdk.name", "opentelemetry"),
        string("telemetry.sdk.language", "java"),
    ];
    Resource { attributes, ..Default::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "io.opentelemetry.tomcat-10.0".into(),
        version: "2.21.0-alpha".into(),
        ..Default::default()
    }
}

fn span(i: usize) -> Span {
    let id = i as u64 * 7_919;
    let start = 1_790_000_000_000_000_000 + id * 1_000;
    let attributes = vec![
        string("http.request.method", "GET"),
        string("url.path", &format!("/orders/{id}")),
        string("url.scheme", "https"),
        pair("http.response.status_code", Value::IntValue(200)),
        string("server.address", "gateway.shop.svc.cluster.local"),
        pair("server.port", Value::IntValue(8_443)),
        string("network.protocol.version", "1.1"),
        string("network.peer.address", &format!("10.{}.{}.{}", id % 4, id % 251, id % 241)),
        string("http.route", "/orders/{id}"),
        string(
            "user_agent.original",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        pair("thread.id", Value::IntValue((id % 64) as i64)),
        string("thread.name", &format!("http-nio-8443-exec-{}", id % 64)),
    ];
    let event = || Event {
        time_unix_nano: start + 5,
        name: "cache.miss".into(),
        attributes: vec![string("cache.key", &format!("orders:{id}"))],
        dropped_attributes_count: 0,
    };
    Span {
        trace_id: u128::from(id + 1).to_le_bytes().to_vec(),
        span_id: (id + 1).to_le_bytes().to_vec(),
        parent_span_id: (id + 2).to_le_bytes().to_vec(),
        name: "GET /orders/{id}".into(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 25_000_000,
        attributes,
        events: if i % 16 == 15 { vec![event()] } else { vec![] },
        flags: 0x101,
        ..Default::default()
    }
}

fn encode(c: &mut Criterion) {
    let (resource, scope) = (resource().encode_to_vec(), scope().encode_to_vec());
    let spans: Vec<Vec<u8>> = (0..SPANS).map(|i| span(i).encode_to_vec()).collect();
    let overriding: Vec<Vec<u8>> = (0..SPANS)
        .map(|i| {
            let mut span = span(i);
            span.attributes[2] = string("service.version", "mine");
            span.encode_to_vec()
        })
        .collect();
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(SPANS as u64));
    let mut out = Vec::new();
    for (name, spans) in [("span", &spans), ("span overriding its resource", &overriding)] {
        let policy_names = ["errors".to_string()].into();
        let settings = EncoderSettings {
            default_project: "local-project".into(),
            allowed_projects: AllowedProjects::Any,
            annotate: true,
            policy_names,
            ..EncoderSettings::default()
        };
        let mut encoder = Encoder::new(settings, Rewriter::default());
        let keep = Keep::new(0, Threshold::ALWAYS);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for span in spans {
                    let resource = encoder.resource(black_box(&resource));
                    encoder.span(&resource, &scope, span, keep, &mut out).unwrap();
                }
                out.len()
            });
        });
    }
    for (name, threshold) in
        [("span as OTLP", Threshold::ALWAYS), ("span as OTLP, by ratio", Threshold::from_percent(5.0))]
    {
        let policy_names = ["errors".to_string()].into();
        let settings = forward::EncoderSettings {
            default_project: Some("local-project".into()),
            annotate: true,
            policy_names,
            ..Default::default()
        };
        let mut encoder = forward::Encoder::new(settings, Rewriter::default());
        let keep = Keep::new(0, threshold);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for span in &spans {
                    let (resource_schema_url, scope_schema_url) = (&[][..], &[][..]);
                    let span =
                        SpanBytes { resource: &resource, resource_schema_url, scope: &scope, scope_schema_url, span };
                    let origin = encoder.origin(black_box(span));
                    encoder.span(&origin, span.span, keep, &mut out).unwrap();
                }
                out.len()
            });
        });
    }
    group.bench_function("span by prost", |b| {
        b.iter(|| {
            out.clear();
            let (resource, scope) =
                (Resource::decode(&resource[..]).unwrap(), InstrumentationScope::decode(&scope[..]).unwrap());
            for span in &spans {
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
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(40).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = encode
}
criterion_main!(benches);
