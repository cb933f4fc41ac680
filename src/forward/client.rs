//! The client of OTLP over gRPC: batches whose bytes exist already.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use super::encode::{EncodeError, Encoder, Origin};
use crate::export::batch::{Batch, Form, Place};
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::codec::BatchCodec;
use crate::export::ledger::DropReason;
use crate::export::sink::{EncodeSpans, Sink, Written, cut};
use crate::otlp::altered::AlteredSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// As long as Cloud Trace itself takes for a call. OTLP names no time; the SDKs' ten seconds are for small batches.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);
const METHOD: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// A server's warnings are logged at most this often: it may have one for each call.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// What gRPC servers say of a message over their limit: grpc-go and gRPC core, grpc-java, .NET, Spansieve.
const SIZE_COMPLAINTS: [&str; 4] =
    ["larger than max", "exceeds maximum size", "maximum configured message size", "the request is larger than"];

/// Writes batches to the `TraceService` of OTLP.
#[derive(Debug)]
pub struct OtlpSink {
    channel: Channel,
    warned: Mutex<Option<Instant>>,
}

impl OtlpSink {
    /// A client of the endpoint that `settings` name. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn open(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Ok(OtlpSink { channel: Channel::open(settings)?, warned: Mutex::default() })
    }

    /// A server may have something to say though it rejects nothing.
    fn warn(&self, message: &str) {
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.is_none_or(|warned| now - warned >= WARNING_INTERVAL) {
            *warned = Some(now);
            tracing::warn!("the sink took all spans of a call, but warns: {}", cut(message));
        }
    }
}

impl Sink for OtlpSink {
    async fn write(&self, batch: &Batch) -> Result<Written, Status> {
        let codec = BatchCodec::<ExportTraceServiceResponse>::default();
        let answer = self.channel.unary(METHOD, codec, Request::new(batch.clone())).await.map_err(size_or_quota)?;
        let partial = answer.into_inner().partial_success.unwrap_or_default();
        let rejected_spans = u32::try_from(partial.rejected_spans.max(0)).unwrap_or(u32::MAX);
        if rejected_spans == 0 && !partial.error_message.is_empty() {
            self.warn(&partial.error_message);
        }
        Ok(Written { rejected_spans, message: partial.error_message })
    }

    fn identity(&self) -> Option<String> {
        self.channel.identity()
    }
}

/// RESOURCE_EXHAUSTED is a quota, which time mends, or a message over the server's limit, which only halves mend: then
/// it becomes OUT_OF_RANGE, tonic's own code for that. OTLP would have the client tell them apart by the `RetryInfo` of
/// a quota (<https://opentelemetry.io/docs/specs/otlp/#failures>), but not every server sends one.
fn size_or_quota(status: Status) -> Status {
    let is_size = |message: &str| SIZE_COMPLAINTS.iter().any(|complaint| message.contains(complaint));
    if status.code() == Code::ResourceExhausted && is_size(status.message()) {
        Status::out_of_range(status.message())
    } else {
        status
    }
}

impl EncodeSpans for Encoder {
    const FORM: Form = Form::Otlp;
    type Origin = Arc<Origin>;
    type Error = EncodeError;

    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin {
        self.origin(span)
    }

    fn place(origin: &Self::Origin) -> Place<'_> {
        Place {
            project: origin.project(),
            resource: origin.resource(),
            head: origin.scope(),
            number: Some(origin.number()),
        }
    }

    fn span(
        &mut self,
        origin: &Self::Origin,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error> {
        self.span(origin, span.span, keep, out)
    }

    fn take_altered(&mut self) -> AlteredSpans {
        self.take_altered()
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes()
    }

    fn drop_reason(error: &Self::Error) -> DropReason {
        match error {
            EncodeError::Project(_) => DropReason::Project,
            EncodeError::Wire(_) => DropReason::Encode,
        }
    }
}

#[cfg(test)]
mod tests;
