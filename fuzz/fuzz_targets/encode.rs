//! The encoder turns every accepted request into spans that Cloud Trace accepts: valid, within its limits, and as short
//! as prost encodes them. If prost can read the input, too, the simple reference encoder must give the same spans.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spansieve::cloud_trace::encode::testing::reference;
use spansieve::cloud_trace::encode::{
    ATTRIBUTES_MAX, EVENTS_MAX, Encoder, EncoderSettings, KEY_BYTES_MAX, LINKS_MAX, NAME_BYTES_MAX, SPAN_BYTES_MAX,
    VALUE_BYTES_MAX, VERSION,
};
use spansieve::otlp::scan::{NoProbe, Scan, scan};
use spansieve::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use spansieve::proto::google::devtools::cloudtrace::v2::span::time_event;
use spansieve::proto::google::devtools::cloudtrace::v2::{self, BatchWriteSpansRequest};
use spansieve::resource::Rewriter;
use spansieve::resource::settings::AllowedProjects;
use spansieve::sampling::{Keep, Threshold};
use spansieve::tail::request::SpanBytes;

fuzz_target!(|input: &[u8]| {
    let mut found = Scan::default();
    let Ok(body) = scan(Bytes::copy_from_slice(input), &NoProbe, &mut found) else { return };
    let policy_names = ["errors".to_string()].into();
    let settings = EncoderSettings {
        default_project: "p".into(),
        allowed_projects: AllowedProjects::Any,
        annotate: true,
        policy_names,
        ..EncoderSettings::default()
    };
    let mut encoder = Encoder::new(settings, Rewriter::default());
    let keep = Keep::new(0, Threshold::ALWAYS);
    for fact in &found.facts {
        let scope = found.scopes[fact.scope as usize];
        let (resource, scope, span) = (scope.resource.of(&body), scope.scope.of(&body), fact.span.of(&body));
        let mut out = Vec::new();
        let origin = encoder.origin(SpanBytes { resource, scope, span, ..SpanBytes::default() });
        encoder.span(&origin, span, keep, &mut out).expect("a scanned span");
        assert!(out.len() <= SPAN_BYTES_MAX + 8);
        let request = BatchWriteSpansRequest::decode(&out[..]).expect("a valid message");
        assert_eq!(request.encoded_len(), out.len());
        assert_eq!(request.spans.len(), 1);
        check_limits(&request.spans[0]);
        if let Some(expected) = plain(resource, scope, span) {
            assert_eq!(request.spans[0], expected);
        }
    }
});

/// Returns the reference encoder's span, if all texts are valid UTF-8.
fn plain(resource: &[u8], scope: &[u8], span: &[u8]) -> Option<v2::Span> {
    let one = v2::AttributeValue { value: Some(Value::IntValue(1)) };
    let context = reference::Context { default_project: "p", version: VERSION, annotation: Some(("errors", one)) };
    let resource = Resource::decode(resource).ok()?;
    let scope = InstrumentationScope::decode(scope).ok()?;
    Some(reference::encode(&context, &resource, &scope, &Span::decode(span).ok()?))
}

fn check_limits(span: &v2::Span) {
    assert!(span.display_name.as_ref().is_some_and(|name| (1..=NAME_BYTES_MAX).contains(&name.value.len())));
    let time = |time: Option<prost_types::Timestamp>| time.map(|t| (t.seconds, t.nanos)).expect("a time");
    assert!(time(span.start_time) <= time(span.end_time));
    check_attributes(span.attributes.as_ref());
    if let Some(events) = &span.time_events {
        assert!(events.time_event.len() <= EVENTS_MAX);
        for event in &events.time_event {
            let Some(time_event::Value::Annotation(annotation)) = &event.value else { panic!("no annotation") };
            assert!(annotation.description.as_ref().is_some_and(|text| text.value.len() <= NAME_BYTES_MAX));
            check_attributes(annotation.attributes.as_ref());
        }
    }
    if let Some(links) = &span.links {
        assert!(links.link.len() <= LINKS_MAX);
        links.link.iter().for_each(|link| check_attributes(link.attributes.as_ref()));
    }
}

fn check_attributes(attributes: Option<&v2::span::Attributes>) {
    let Some(attributes) = attributes else { return };
    assert!(attributes.attribute_map.len() <= ATTRIBUTES_MAX);
    for (key, value) in &attributes.attribute_map {
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()));
        if let Some(Value::StringValue(text)) = &value.value {
            assert!(text.value.len() <= VALUE_BYTES_MAX);
        }
    }
}
