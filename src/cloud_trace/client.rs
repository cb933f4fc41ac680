//! The Cloud Trace v2 client. It sends batches that are already encoded, over gRPC.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use prost::Message;
use tonic::{Code, Status};

use super::encode::{EncodeError, Encoder as SpanEncoder, SpanOrigin};
use crate::clock;
use crate::emulator::check;
use crate::export::batch::{Batch, Form, Place};
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::failure::{Cause, Failure};
use crate::export::ledger::DropReason;
use crate::export::retry::{self, Action};
use crate::export::sink::{EncodeSpans, Sink, Written};
use crate::google::advice::GoogleApi;
use crate::google::quota_of;
use crate::otlp::altered::AlteredSpans;
use crate::proto::google::devtools::cloudtrace::v2::BatchWriteSpansRequest;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// The deadline of a call. Cloud Trace itself ends a call after this time, so it is useless to wait longer, as Google's
/// generated clients do.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);
const METHOD: PathAndQuery = PathAndQuery::from_static("/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans");
/// The header by which Google's front end routes a call (<https://google.aip.dev/client-libraries/4222>).
const ROUTING_HEADER: HeaderName = HeaderName::from_static("x-goog-request-params");
/// The number of write requests that Cloud Trace accepts from a project in a minute
/// (<https://cloud.google.com/trace/docs/quotas>, "Trace API v2").
pub const CALLS_PER_MINUTE: u32 = 4_800;

/// The name of the protocol for people.
pub const NAME: &str = "Cloud Trace v2";

/// A client that writes batches to the `TraceService` of an endpoint.
///
/// A span that comes twice is stored once: its name, of project, trace and span id, is its identity. Google's
/// maintainers call the method idempotent (<https://github.com/GoogleCloudPlatform/opentelemetry-operations-js/issues/523>).
#[derive(Debug)]
pub struct CloudTrace {
    channel: Channel,
    /// True if calls use the quota of the project that they write to.
    destination_quota: bool,
}

impl CloudTrace {
    /// Creates a client of `http://host:port`, in plaintext and without credentials. It needs a tokio runtime.
    ///
    /// # Errors
    /// `uri` is not a valid address.
    pub fn plaintext(uri: &str) -> Result<Self, ChannelError> {
        Self::open(ChannelSettings::plain(uri, CALL_DEADLINE), false)
    }

    /// Creates a client of the endpoint in `settings`. If `destination_quota` is set, calls use the quota of the
    /// project that they write to. It needs a tokio runtime.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn open(settings: ChannelSettings, destination_quota: bool) -> Result<Self, ChannelError> {
        Ok(CloudTrace { channel: Channel::open(settings)?, destination_quota })
    }
}

impl Sink for CloudTrace {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        let quota = self.destination_quota.then(|| quota_of(batch.project())).flatten();
        let headers = quota.into_iter().chain([(ROUTING_HEADER, routing(batch.project())?)]).collect();
        self.channel.unary(METHOD, headers, batch.message().clone()).await?;
        Ok(Written::default())
    }

    /// Differs from the usual in ALREADY_EXISTS: a repetition of a call whose answer was lost finds the names of its
    /// spans there. OUT_OF_RANGE is about a time too far away.
    ///
    /// Google's policy for the method retries UNAVAILABLE and DEADLINE_EXCEEDED and leaves the rest to the caller.
    fn action(&self, code: Code) -> Action {
        if code == Code::AlreadyExists { Action::Done } else { retry::usual(code) }
    }

    fn advice(&self, cause: Cause, project: Option<&str>) -> Option<String> {
        let (api, caller) = (GoogleApi::CloudTrace, self.channel.caller());
        match cause {
            Cause::Answer(code) => api.answer(code, project, &caller),
            Cause::TooLarge => Some(api.too_large()),
            Cause::NoToken(code) => caller.no_token(code),
            Cause::Late => Some(api.late()),
            Cause::Unreachable => Some(api.unreachable()),
        }
    }

    /// Returns the places of the spans that break a rule of the embedded Cloud Trace. The encoder follows the same
    /// rules, but spans that have waited for long may have become too old.
    fn rule_breakers(&self, batch: &Batch) -> Vec<usize> {
        let now_ns = clock::unix_nano().cast_signed();
        let breaks = |record: &[u8]| {
            let request = BatchWriteSpansRequest::decode(record).unwrap_or_default();
            request.spans.iter().any(|span| check::broken_rule(span, batch.project(), now_ns).is_some())
        };
        let records = batch.records().into_iter().enumerate();
        records.filter(|(_, record)| breaks(record)).map(|(place, _)| place).collect()
    }

    fn calls_per_minute(&self) -> Option<u32> {
        Some(CALLS_PER_MINUTE)
    }
}

fn routing(project: &str) -> Result<HeaderValue, Failure> {
    // A project id has letters, digits and hyphens, which need no escaping. An old one may have a domain with dots and
    // a colon, and the colon is escaped.
    HeaderValue::try_from(format!("name=projects%2F{project}").replace(':', "%3A"))
        .map_err(|_| Failure::connection(Status::internal("the project id is not a valid header value")))
}

impl EncodeSpans for SpanEncoder {
    const FORM: Form = Form::CloudTrace;
    type Origin = Arc<SpanOrigin>;
    type Error = EncodeError;

    fn set_now(&mut self, unix_nano: u64) {
        self.set_now(unix_nano);
    }

    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin {
        self.origin(span)
    }

    fn place(origin: &Self::Origin) -> Place<'_> {
        let resource = origin.resource();
        Place { project: resource.project(), resource: &[], head: resource.request_name(), number: None }
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
            EncodeError::Wire(_)
            | EncodeError::TraceId
            | EncodeError::SpanId
            | EncodeError::Past
            | EncodeError::Future => DropReason::Encode,
        }
    }
}

#[cfg(test)]
mod tests;
