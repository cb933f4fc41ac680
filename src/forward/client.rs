//! The client for OTLP over gRPC. It sends batches that are already encoded.

mod answer;

pub(crate) use answer::partial_success;

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::time::Instant;
use tonic::Code;

use super::advice;
use super::encode::{EncodedOrigin, NO_PROJECT, OtlpEncodeError, OtlpEncoder};
use crate::export::batch::{Batch, Form, Place};
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::failure::{Cause, Failure};
use crate::export::ledger::DropReason;
use crate::export::retry::{self, Action};
use crate::export::sink::{EncodeSpans, Sink, Written, cut};
use crate::google::advice::GoogleApi;
use crate::google::quota_of;
use crate::otlp::altered::AlteredSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;
use crate::telemetry::log::Throttle;

/// The deadline of a call. It is the time that Cloud Trace itself allows for a call. OTLP does not define one, and the
/// ten seconds of the SDKs are meant for small batches.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// The method that takes spans.
pub(crate) const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// The shortest time between two logged warnings of a server, because a server may send one with each call.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The kind of the server at the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Google's Telemetry API.
    Telemetry,
    /// Any other server that accepts OTLP, such as Tempo, Jaeger, a Collector or another Spansieve.
    Other,
}

impl Server {
    /// Returns the name of the protocol for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Server::Telemetry => "Telemetry API",
            Server::Other => "OTLP over gRPC",
        }
    }
}

/// A sink that writes batches to the `TraceService` of OTLP.
///
/// A span that comes twice may be stored twice: OTLP prefers that to a loss
/// (<https://opentelemetry.io/docs/specs/otlp/#duplicate-data>). It depends on the server whether it recognises the ids.
#[derive(Debug)]
pub struct OtlpSink {
    channel: Channel,
    server: Server,
    /// True if a call uses the quota of the project that it writes to.
    destination_quota: bool,
    warnings: Throttle,
}

impl OtlpSink {
    /// Opens a client for the endpoint in `settings`, at which there is a server of this kind. If `destination_quota` is
    /// set, a call uses the quota of the project that it writes to. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn open(settings: ChannelSettings, server: Server, destination_quota: bool) -> Result<Self, ChannelError> {
        let warnings = Throttle::new(1, WARNING_INTERVAL);
        Ok(OtlpSink { channel: Channel::open(settings)?, server, destination_quota, warnings })
    }

    /// Logs a warning that a server sent although it accepted all spans, at most once per [`WARNING_INTERVAL`].
    fn warn(&self, message: &str) {
        if self.warnings.pass(Instant::now()).is_some() {
            tracing::warn!("The sink accepted all spans of a call but sent this warning: {}", cut(message));
        }
    }
}

impl Sink for OtlpSink {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        let quota = self.destination_quota.then(|| quota_of(batch.project())).flatten();
        let answer = self.channel.unary(EXPORT, quota.into_iter().collect(), batch.message().clone()).await?;
        let written = partial_success(&answer);
        if written.rejected_spans == 0 && !written.message.is_empty() {
            self.warn(&written.message);
        }
        Ok(written)
    }

    /// Differs from the usual in OUT_OF_RANGE, which is retryable in OTLP
    /// (<https://opentelemetry.io/docs/specs/otlp/#failures>).
    fn action(&self, code: Code) -> Action {
        if code == Code::OutOfRange { Action::Retry } else { retry::usual(code) }
    }

    fn advice(&self, cause: Cause, project: Option<&str>) -> Option<String> {
        let (api, caller) = (GoogleApi::Telemetry, self.channel.caller());
        match (self.server, cause) {
            (Server::Other, cause) => advice::advice(cause, &caller),
            (Server::Telemetry, Cause::Answer(code)) => api.answer(code, project, &caller),
            (Server::Telemetry, Cause::TooLarge) => Some(api.too_large()),
            (Server::Telemetry, Cause::NoToken(code)) => caller.no_token(code),
            (Server::Telemetry, Cause::Late) => Some(api.late()),
            (Server::Telemetry, Cause::Unreachable) => Some(api.unreachable()),
        }
    }

    /// There is no quota of calls: that of the Telemetry API counts bytes (<https://cloud.google.com/trace/docs/quotas>),
    /// and other servers have none.
    fn calls_per_minute(&self) -> Option<u32> {
        None
    }

    fn shown_project(project: &str) -> Option<&str> {
        Some(project).filter(|project| *project != NO_PROJECT)
    }
}

impl EncodeSpans for OtlpEncoder {
    const FORM: Form = Form::Otlp;
    type Origin = Arc<EncodedOrigin>;
    type Error = OtlpEncodeError;

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
            OtlpEncodeError::Project(_) => DropReason::Project,
            OtlpEncodeError::Wire(_) => DropReason::Encode,
        }
    }
}

#[cfg(test)]
mod tests;
