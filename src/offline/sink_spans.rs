//! Kept spans as they are written to the sink, made by the encoder that the daemon uses for that sink.

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
use crate::sampling::Policies;
use crate::tail::kept::KeptSpans;

/// The project of spans that name none, if the configuration does not have it and the daemon would ask the platform.
pub const UNKNOWN_PROJECT: &str = "your-project";
/// The region that stands for the one that the daemon would ask the platform for.
pub const UNKNOWN_REGION: &str = "your-region";

/// A span as it is written to the sink.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkSpan {
    /// The span id.
    pub span_id: u64,
    /// The name.
    pub name: String,
    /// The attributes, with the keys of the sink. Cloud Trace has the resource's attributes among them.
    pub attributes: Vec<(String, TextValue)>,
    /// The attributes of the resource after it is rewritten.
    pub resource: Vec<(String, TextValue)>,
    /// The bytes of the span in a call to the sink.
    pub bytes: usize,
}

/// The encoder of the configured sink.
#[derive(Debug)]
pub struct SinkEncoder {
    sink: Sink,
    rewriter: Rewriter,
    buffer: Vec<u8>,
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
        SinkEncoder { sink, rewriter, buffer: Vec::new() }
    }

    /// Encodes `kept` at a time in nanoseconds since 1970. Calls `each` with the id of each span and its bytes in a call
    /// to the sink, or with the reason why the daemon could not write it.
    pub fn encode(&mut self, kept: &KeptSpans, unix_nano: u64, each: impl FnMut(u64, Result<&[u8], String>)) {
        match &mut self.sink {
            Sink::CloudTrace(encoder) => encode(encoder.as_mut(), kept, unix_nano, &mut self.buffer, each),
            Sink::Otlp(encoder) => encode(encoder.as_mut(), kept, unix_nano, &mut self.buffer, each),
        }
    }

    /// Returns the spans of `kept` as they are written, or the reason why the daemon could not write one.
    pub fn written(&mut self, kept: &KeptSpans, unix_nano: u64) -> Vec<Result<SinkSpan, String>> {
        let mut spans = Vec::new();
        let is_cloud_trace = matches!(self.sink, Sink::CloudTrace(_));
        self.encode(kept, unix_nano, |span_id, encoded| {
            spans.push(encoded.map(|bytes| {
                let span = if is_cloud_trace { of_cloud_trace(bytes) } else { of_otlp(bytes) };
                SinkSpan { span_id, bytes: bytes.len(), ..span }
            }));
        });
        let open = kept.fragment.open();
        for (written, sent) in spans.iter_mut().zip(open.spans()) {
            if let Ok(span) = written {
                span.resource = match &mut self.sink {
                    Sink::CloudTrace(_) => texts(self.rewriter.rewrite(sent.resource).iter()),
                    Sink::Otlp(encoder) => {
                        let origin = encoder.origin(sent);
                        let resource = submessages(origin.resource(), resource_spans::RESOURCE).last();
                        texts(Attributes::of_resource(resource.unwrap_or_default()).iter())
                    }
                };
            }
        }
        spans
    }
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
        let (id, _) = view::ids(span.span);
        let origin = encoder.origin(span);
        buffer.clear();
        match encoder.span(&origin, span, kept.keep, buffer) {
            Ok(()) => each(id, Ok(buffer)),
            Err(error) => each(id, Err(error.to_string())),
        }
    }
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
    let text =
        |(key, value): (&[u8], _)| Some((String::from_utf8_lossy(key).into_owned(), TextValue::of_any_value(value)?));
    attributes.filter_map(text).collect()
}
