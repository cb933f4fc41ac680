//! The Cloud Trace v2 client: batches whose bytes exist already, over gRPC.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use super::encode::{EncodeError, EncodedResource, Encoder as SpanEncoder};
use crate::export::batch::{Batch, Form, Place};
use crate::export::channel::{Channel, ChannelError, ChannelSettings};
use crate::export::ledger::DropReason;
use crate::export::sink::{EncodeSpans, Sink, Written};
use crate::google::credentials::Credentials;
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
        Self::open(uri, None, None)
    }

    /// A client of `https://host[:port]`: TLS by `ca_pem` ([`ChannelSettings::ca_pem`]), calls signed by `credentials`.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// `uri` is not an address, the machine has no root certificates, or the proxy that the environment names is none.
    pub fn google(uri: &str, ca_pem: Option<String>, credentials: Credentials) -> Result<Self, ChannelError> {
        Self::open(uri, ca_pem, Some(credentials))
    }

    fn open(uri: &str, ca_pem: Option<String>, credentials: Option<Credentials>) -> Result<Self, ChannelError> {
        let settings = ChannelSettings { uri: uri.to_owned(), ca_pem, credentials, call_deadline: CALL_DEADLINE };
        Ok(CloudTrace { channel: Channel::open(settings)? })
    }

    /// The account that calls are made as, if it is known: the one to grant a role to.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        self.channel.identity()
    }
}

impl Sink for CloudTrace {
    async fn write(&self, batch: &Batch) -> Result<Written, Status> {
        let mut request = Request::new(batch.clone());
        request.metadata_mut().insert(ROUTING_HEADER, routing(batch.project())?);
        self.channel.unary(METHOD, BatchCodec, request).await?;
        Ok(Written::default())
    }
}

fn routing(project: &str) -> Result<MetadataValue<Ascii>, Status> {
    // Project ids need no escaping: letters, digits, hyphens (and, in old ones, a domain with dots and a colon).
    MetadataValue::try_from(format!("name=projects%2F{project}").replace(':', "%3A"))
        .map_err(|_| Status::invalid_argument("the project id cannot stand in a header"))
}

/// Batches out, `google.protobuf.Empty` in.
#[derive(Clone, Copy, Debug, Default)]
struct BatchCodec;

impl Codec for BatchCodec {
    type Encode = Batch;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BatchCodec {
    type Item = Batch;
    type Error = Status;

    fn encode(&mut self, batch: Batch, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(batch.encoded_len());
        out.put_slice(batch.message());
        Ok(())
    }
}

impl Decoder for BatchCodec {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        message.advance(message.remaining());
        Ok(Some(()))
    }
}

impl EncodeSpans for SpanEncoder {
    const FORM: Form = Form::CloudTrace;
    type Origin = Arc<EncodedResource>;
    type Error = EncodeError;

    fn set_now(&mut self, unix_nano: u64) {
        self.set_now(unix_nano);
    }

    fn origin(&mut self, span: SpanBytes<'_>) -> Self::Origin {
        self.resource(span.resource)
    }

    fn place(resource: &Self::Origin) -> Place<'_> {
        Place { project: resource.project(), resource: &[], head: resource.request_name() }
    }

    fn span(
        &mut self,
        resource: &Self::Origin,
        span: SpanBytes<'_>,
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), Self::Error> {
        self.span(resource, span.scope, span.span, keep, out)
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
