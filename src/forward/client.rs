//! The client for OTLP over gRPC. It sends batches that are already encoded.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::encode::{EncodeError, Encoder, Origin};
use crate::export::advice;
use crate::export::batch::{Batch, Form, Place};
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::failure::Failure;
use crate::export::ledger::DropReason;
use crate::export::sink::{EncodeSpans, Sink, Written, cut};
use crate::google::advice::Api;
use crate::google::quota_of;
use crate::otlp::altered::AlteredSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// The deadline of a call. It is the time that Cloud Trace itself allows for a call. OTLP does not define one, and the
/// ten seconds of the SDKs are meant for small batches.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);
const METHOD: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// The shortest time between two logged warnings of a server, because a server may send one with each call.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// A sink that writes batches to the `TraceService` of OTLP.
#[derive(Debug)]
pub struct OtlpSink {
    channel: Channel,
    /// The Google API that receives the spans; `None` for any other endpoint.
    google: Option<Api>,
    /// True if a call uses the quota of the project that it writes to.
    destination_quota: bool,
    warned: Mutex<Option<Instant>>,
}

impl OtlpSink {
    /// Opens a client for the endpoint in `settings`. `google` is the Google API at that endpoint; `None` for any other
    /// endpoint. If `destination_quota` is set, a call uses the quota of the project that it writes to. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn open(settings: ChannelSettings, google: Option<Api>, destination_quota: bool) -> Result<Self, ChannelError> {
        Ok(OtlpSink { channel: Channel::open(settings)?, google, destination_quota, warned: Mutex::default() })
    }

    /// Logs a warning that a server sent although it accepted all spans, at most once per [`WARNING_INTERVAL`].
    fn warn(&self, message: &str) {
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.is_none_or(|warned| now - warned >= WARNING_INTERVAL) {
            *warned = Some(now);
            tracing::warn!("The sink accepted all spans of a call but sent this warning: {}", cut(message));
        }
    }
}

impl Sink for OtlpSink {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        let quota = self.destination_quota.then(|| quota_of(batch.project())).flatten();
        let answer = self.channel.unary(METHOD, quota.into_iter().collect(), batch.message().clone()).await?;
        let written = answer::partial_success(&answer);
        if written.rejected_spans == 0 && !written.message.is_empty() {
            self.warn(&written.message);
        }
        Ok(written)
    }

    fn advice(&self, failure: &Failure, project: &str) -> Option<String> {
        advice::general(failure).or_else(|| match self.google {
            Some(api) => api.advice(failure.code(), project, self.channel.identity().as_deref()),
            None => advice::any_server(failure.code()),
        })
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
