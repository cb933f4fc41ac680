//! The Cloud Trace v2 client: batches whose bytes exist already, over gRPC.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use super::encode::{EncodeError, Encoder as SpanEncoder, Origin};
use crate::export::batch::{Batch, Form, Place};
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::codec::BatchCodec;
use crate::export::ledger::DropReason;
use crate::export::sink::{EncodeSpans, Sink, Written};
use crate::otlp::altered::AlteredSpans;
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// The service's own deadline for the method; Google's generated clients wait longer, in vain.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);
const METHOD: PathAndQuery = PathAndQuery::from_static("/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans");
/// Tells Google's front end where to route a call (<https://google.aip.dev/client-libraries/4222>).
const ROUTING_HEADER: &str = "x-goog-request-params";

/// Writes batches to the `TraceService` of an endpoint.
#[derive(Debug)]
pub struct CloudTrace {
    channel: Channel,
}

impl CloudTrace {
    /// A client of `http://host:port`: plaintext, no credentials. Needs a tokio runtime.
    ///
    /// # Errors
    /// `uri` is not an address.
    pub fn plaintext(uri: &str) -> Result<Self, ChannelError> {
        Self::open(ChannelSettings::plain(uri, CALL_DEADLINE))
    }

    /// A client of the endpoint that `settings` name. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn open(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Ok(CloudTrace { channel: Channel::open(settings)? })
    }
}

impl Sink for CloudTrace {
    async fn write(&self, batch: &Batch) -> Result<Written, Status> {
        let mut request = Request::new(batch.clone());
        request.metadata_mut().insert(ROUTING_HEADER, routing(batch.project())?);
        self.channel.unary(METHOD, BatchCodec::<()>::default(), request).await?;
        Ok(Written::default())
    }

    fn identity(&self) -> Option<String> {
        self.channel.identity()
    }
}

fn routing(project: &str) -> Result<MetadataValue<Ascii>, Status> {
    // Project ids need no escaping: letters, digits, hyphens (and, in old ones, a domain with dots and a colon).
    MetadataValue::try_from(format!("name=projects%2F{project}").replace(':', "%3A"))
        .map_err(|_| Status::invalid_argument("the project id cannot stand in a header"))
}

impl EncodeSpans for SpanEncoder {
    const FORM: Form = Form::CloudTrace;
    type Origin = Arc<Origin>;
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
