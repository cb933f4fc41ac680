//! The spans of a scenario, encoded as a sender encodes them.

use bytes::Bytes;
use prost::Message;

use super::scenario::{Kind, Scenario, SpanSpec};
use crate::otlp::reference::{AnyValue, KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span, Status, Value};

impl Scenario {
    /// Returns a request with one `ResourceSpans` for each service. The name of a span consists of its kind and its
    /// number.
    pub(super) fn body(&self, request: usize, spans: &[SpanSpec]) -> Bytes {
        let yes = |key: &str| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(Value::String(b"yes".to_vec())) }),
            ..KeyValue::default()
        };
        let encode = |(at, spec): (usize, &SpanSpec)| {
            let (id, explicit) = self.traces[spec.trace];
            let (start_time_unix_nano, end_time_unix_nano) = spec.kind.times();
            let number = (request * 1_000 + at + 1) as u64;
            Span {
                trace_id: id.to_vec(),
                span_id: if spec.kind == Kind::Bad { vec![0; 8] } else { number.to_be_bytes().to_vec() },
                trace_state: explicit.map(|rv| format!("ot=rv:{rv:014x}").into_bytes()).unwrap_or_default(),
                parent_span_id: if spec.kind == Kind::Root { Vec::new() } else { vec![1; 8] },
                name: format!("{:?} {number}", spec.kind).into_bytes(),
                start_time_unix_nano,
                end_time_unix_nano,
                attributes: match spec.kind {
                    Kind::Paid => vec![yes("paid")],
                    Kind::Probe => vec![yes("probe")],
                    _ => Vec::new(),
                },
                status: (spec.kind == Kind::Error).then(|| Status { code: 2, ..Status::default() }),
                ..Span::default()
            }
        };
        let of = |service: u8| {
            let spans = spans.iter().enumerate().filter(|(_, span)| span.service == service).map(encode);
            let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
            let resource = Resource { attributes: vec![yes(&format!("service-{service}"))], ..Resource::default() };
            ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }
        };
        Request { resource_spans: (0..3).map(of).collect() }.encode_to_vec().into()
    }
}
