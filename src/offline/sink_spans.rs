//! Kept spans as they are written to the sink, made by the encoder that the daemon uses for that sink.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;

use super::TextValue;
use crate::cloud_trace::encode::{Encoder, EncoderSettings, KeyNames};
use crate::config::Settings;
use crate::export::settings::ExportApi;
use crate::export::sink::EncodeSpans;
use crate::forward::encode::{OtlpEncoder, OtlpEncoderSettings};
use crate::otlp::fields::{resource_spans, scope_spans, span as span_fields};
use crate::otlp::view::{self, Attributes, submessages};
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::span::Attributes as CloudTraceAttributes;
use crate::proto::google::devtools::cloudtrace::v2::{AttributeValue, BatchWriteSpansRequest};
use crate::resource::Rewriter;
use crate::resource::settings::Detector;
use crate::sampling::{Keep, Policies};
use crate::tail::kept::KeptSpans;
use crate::tail::request::{ResourceId, SpanBytes};

/// The project of spans that name none, if the configuration does not have it and the daemon would ask the platform.
pub const UNKNOWN_PROJECT: &str = "your-project";
/// The region that stands for the one that the daemon would ask the platform for.
pub const UNKNOWN_REGION: &str = "your-region";

/// The bytes of the resources that an encoder remembers, about.
const RESOURCES_BYTES_MAX: usize = 16 << 20;

/// Attributes that spans share.
pub type SharedAttributes = Arc<[(String, TextValue)]>;

/// A span as it is written to the sink.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkSpan {
    /// The span id.
    pub span_id: u64,
    /// The name.
    pub name: String,
    /// The attributes, with the keys of the sink. Cloud Trace has the resource's attributes among them.
    pub attributes: Vec<(String, TextValue)>,
    /// The attributes of the resource after it is rewritten. Spans with the same one have the same list.
    pub resource: SharedAttributes,
    /// The bytes of the span in a call to the sink.
    pub bytes: usize,
}

/// The encoder of the configured sink.
#[derive(Debug)]
pub struct SinkEncoder {
    sink: Sink,
    rewriter: Rewriter,
    buffer: Vec<u8>,
    /// The resources of the last spans, and the bytes of their attributes.
    resources: HashMap<ResourceId, SharedAttributes>,
    resource_bytes: usize,
}

#[derive(Debug)]
enum Sink {
    CloudTrace(Box<Encoder>),
    Otlp(Box<OtlpEncoder>),
}

impl SinkEncoder {
    /// Makes the encoder for the sink of `settings`. Asks no platform: [`UNKNOWN_PROJECT`] and [`UNKNOWN_REGION`] stand
    /// for what it would say.
    #[must_use]
    pub fn new(settings: &Settings, policies: &Policies) -> Self {
        let export = &settings.export;
        let project: Arc<str> = export.project.as_deref().unwrap_or(UNKNOWN_PROJECT).into();
        let detected = match settings.resource.detect {
            None => Vec::new(),
            Some(Detector::Gcp) => vec![
                ("cloud.provider", "gcp".to_owned()),
                ("cloud.account.id", project.to_string()),
                ("cloud.region", UNKNOWN_REGION.to_owned()),
            ],
        };
        let rewriter = Rewriter::new(&settings.resource, &detected);
        let annotate = settings.tail_sampling.annotate;
        let (allowed_projects, policy_names) = (export.allowed_projects.clone(), policies.names().into());
        let sink = if export.api == ExportApi::CloudTrace {
            let settings = EncoderSettings {
                default_project: project,
                allowed_projects,
                annotate,
                names: KeyNames::new(&export.attribute_mapping, settings.resource.normalize),
                cloud_run_revision: export.cloud_run_revision,
                policy_names,
            };
            Sink::CloudTrace(Box::new(Encoder::new(settings, rewriter.clone())))
        } else {
            let has_project = export.api == ExportApi::Telemetry || export.project.is_some();
            let default_project = has_project.then_some(project);
            let settings = OtlpEncoderSettings { default_project, allowed_projects, annotate, policy_names };
            Sink::Otlp(Box::new(OtlpEncoder::new(settings, rewriter.clone())))
        };
        SinkEncoder { sink, rewriter, buffer: Vec::new(), resources: HashMap::new(), resource_bytes: 0 }
    }

    /// Encodes `kept` at a time in nanoseconds since 1970. Calls `each` with the id of each span and its bytes in a call
    /// to the sink, or with the reason why the daemon could not write it.
    pub fn encode(&mut self, kept: &KeptSpans, unix_nano: u64, each: impl FnMut(u64, Result<&[u8], String>)) {
        match &mut self.sink {
            Sink::CloudTrace(encoder) => encode(encoder.as_mut(), kept, unix_nano, &mut self.buffer, each),
            Sink::Otlp(encoder) => encode(encoder.as_mut(), kept, unix_nano, &mut self.buffer, each),
        }
    }

    /// Calls `each` with each span of `kept` as it is written, or with the reason why the daemon could not write it.
    pub fn written(&mut self, kept: &KeptSpans, unix_nano: u64, mut each: impl FnMut(Result<SinkSpan, String>)) {
        match &mut self.sink {
            Sink::CloudTrace(encoder) => encoder.set_now(unix_nano),
            Sink::Otlp(encoder) => encoder.set_now(unix_nano),
        }
        let open = kept.fragment.open();
        for (sent, resource) in open.spans().zip(open.resources()) {
            let buffer = &mut self.buffer;
            let (encoded, read): (_, fn(&[u8]) -> SinkSpan) = match &mut self.sink {
                Sink::CloudTrace(encoder) => (encode_one(encoder.as_mut(), sent, kept.keep, buffer), of_cloud_trace),
                Sink::Otlp(encoder) => (encode_one(encoder.as_mut(), sent, kept.keep, buffer), of_otlp),
            };
            each(encoded.map(|()| SinkSpan {
                span_id: view::ids(sent.span).0,
                bytes: self.buffer.len(),
                resource: self.resource(resource, sent),
                ..read(&self.buffer)
            }));
        }
    }

    /// Returns the attributes of the rewritten resource of a span. They are decoded once for the spans that share it.
    fn resource(&mut self, id: ResourceId, span: SpanBytes<'_>) -> SharedAttributes {
        if let Some(known) = self.resources.get(&id) {
            return Arc::clone(known);
        }
        let attributes: SharedAttributes = match &mut self.sink {
            Sink::CloudTrace(_) => texts(self.rewriter.rewrite(span.resource).iter()),
            Sink::Otlp(encoder) => {
                let origin = encoder.origin(span);
                let resource = submessages(origin.resource(), resource_spans::RESOURCE).last();
                texts(Attributes::of_resource(resource.unwrap_or_default()).iter())
            }
        }
        .into();
        self.resource_bytes += heap_bytes(&attributes);
        if self.resource_bytes > RESOURCES_BYTES_MAX {
            self.resources.clear();
            self.resource_bytes = heap_bytes(&attributes);
        }
        self.resources.insert(id, Arc::clone(&attributes));
        attributes
    }
}

/// Returns about the bytes of memory that attributes take.
pub(super) fn heap_bytes(attributes: &[(String, TextValue)]) -> usize {
    let attribute =
        |(key, value): &(String, TextValue)| size_of::<(String, TextValue)>() + key.len() + value.heap_bytes();
    attributes.iter().map(attribute).sum()
}

fn encode<E: EncodeSpans>(
    encoder: &mut E,
    kept: &KeptSpans,
    unix_nano: u64,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(u64, Result<&[u8], String>),
) {
    encoder.set_now(unix_nano);
    for span in kept.fragment.open().spans() {
        let encoded = encode_one(encoder, span, kept.keep, buffer);
        each(view::ids(span.span).0, encoded.map(|()| buffer.as_slice()));
    }
}

/// Writes a span to the emptied `buffer`.
fn encode_one<E: EncodeSpans>(
    encoder: &mut E,
    span: SpanBytes<'_>,
    keep: Keep,
    buffer: &mut Vec<u8>,
) -> Result<(), String> {
    let origin = encoder.origin(span);
    buffer.clear();
    encoder.span(&origin, span, keep, buffer).map_err(|error| error.to_string())
}

/// Reads a record of a `BatchWriteSpansRequest`.
fn of_cloud_trace(record: &[u8]) -> SinkSpan {
    let span = BatchWriteSpansRequest::decode(record).ok().and_then(|request| request.spans.into_iter().next());
    let span = span.unwrap_or_default();
    let CloudTraceAttributes { attribute_map, .. } = span.attributes.unwrap_or_default();
    let mut attributes: Vec<_> =
        attribute_map.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect();
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    SinkSpan { name: span.display_name.unwrap_or_default().value, attributes, ..SinkSpan::default() }
}

fn text(value: AttributeValue) -> Option<TextValue> {
    Some(match value.value? {
        Value::StringValue(text) => TextValue::String(text.value),
        Value::IntValue(value) => TextValue::Int(value),
        Value::BoolValue(value) => TextValue::Bool(value),
    })
}

/// Reads a record of a `ScopeSpans`.
fn of_otlp(record: &[u8]) -> SinkSpan {
    let span = submessages(record, scope_spans::SPANS).last().unwrap_or_default();
    let name = submessages(span, span_fields::NAME).last().unwrap_or_default();
    let attributes = texts(Attributes::of_span(span).iter());
    SinkSpan { name: String::from_utf8_lossy(name).into_owned(), attributes, ..SinkSpan::default() }
}

fn texts<'a>(attributes: impl Iterator<Item = (&'a [u8], view::AnyValue<'a>)>) -> Vec<(String, TextValue)> {
    let text = |(key, value): (&[u8], _)| (String::from_utf8_lossy(key).into_owned(), TextValue::of_any_value(value));
    attributes.map(text).collect()
}
