//! The encoder of the OTLP sink turns every accepted request into one that any proto3 reader accepts, with every span
//! exactly once. Each half of a split batch is such a request, too.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spansieve::budget::Budget;
use spansieve::export::batch::{Batch, Batcher, Form};
use spansieve::export::settings;
use spansieve::export::sink::EncodeSpans;
use spansieve::forward::encode::{OtlpEncoder, OtlpEncoderSettings};
use spansieve::otlp::scan::{NoProbe, Scan, scan};
use spansieve::resource::Rewriter;
use spansieve::sampling::{Keep, Threshold};
use spansieve::tail::request::SpanBytes;

fuzz_target!(|input: &[u8]| {
    let mut found = Scan::default();
    let Ok(body) = scan(Bytes::copy_from_slice(input), &NoProbe, &mut found) else { return };
    let settings = OtlpEncoderSettings { annotate: true, ..OtlpEncoderSettings::default() };
    let mut encoder = OtlpEncoder::new(settings, Rewriter::default());
    let keep = Keep::new(0, Threshold::from_percent(5.0));
    let limits = settings::BatchSettings { max_spans: usize::MAX, max_bytes: usize::MAX, max_delay: Duration::ZERO };
    let mut batcher = Batcher::new(Form::Otlp, limits, Budget::new(0));
    for fact in &found.facts {
        let scope = found.scopes[fact.scope as usize];
        let span = SpanBytes {
            resource: scope.resource.of(&body),
            resource_schema_url: scope.resource_schema_url.of(&body),
            scope: scope.scope.of(&body),
            scope_schema_url: scope.scope_schema_url.of(&body),
            span: fact.span.of(&body),
            ..SpanBytes::default()
        };
        let origin = EncodeSpans::origin(&mut encoder, span);
        let place = <OtlpEncoder as EncodeSpans>::place(&origin);
        batcher.push(place, Instant::now(), |out| encoder.span(&origin, span.span, keep, out)).expect("a scanned span");
    }
    batcher.flush();
    let Some(batch) = batcher.take_closed().next() else { return };
    assert_eq!(batch.span_count() as usize, found.facts.len());
    let whole = ids(&batch);
    // The spans go to two parts in turn, and one part may be empty. Together they have each span once.
    let mut both = batch.parts(|span| span % 2).iter().flat_map(ids).collect::<Vec<_>>();
    both.sort_unstable();
    assert_eq!(both, whole);
});

/// Returns the ids of the spans, sorted.
fn ids(batch: &Batch) -> Vec<(Vec<u8>, Vec<u8>)> {
    let request = ExportTraceServiceRequest::decode(batch.message().clone()).expect("a request that can be read");
    let spans = request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
    let mut ids = spans.map(|Span { trace_id, span_id, .. }| (trace_id, span_id)).collect::<Vec<_>>();
    assert_eq!(ids.len(), batch.span_count() as usize);
    ids.sort_unstable();
    ids
}
