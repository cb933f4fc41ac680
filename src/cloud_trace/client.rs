//! The Cloud Trace v2 client: batches whose bytes exist already, over gRPC.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use thiserror::Error;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::encode::{EncodeError, EncodedResource, Encoder as SpanEncoder};
use crate::export::batch::{Batch, Form, Place};
use crate::export::sink::{EncodeSpans, Sink, Written};
use crate::google::causes;
use crate::google::credentials::{Credentials, CredentialsError};
use crate::sampling::Keep;
use crate::tail::request::SpanBytes;

/// The service's own deadline for the method; Google's generated clients wait longer, in vain.
pub const CALL_DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings while calls are under way, so that a connection whose other end is gone is noticed before the deadline
/// of its calls. Servers answer pings that come too often with GOAWAY; two a call are tolerated by gRPC's defaults.
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("spansieve/", env!("CARGO_PKG_VERSION"));
const METHOD: PathAndQuery = PathAndQuery::from_static("/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans");
/// Tells Google's front end where to route a call (<https://google.aip.dev/client-libraries/4222>).
const ROUTING_HEADER: &str = "x-goog-request-params";

/// Why there is no client. Retrying cannot help.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address, or what TLS needs.
    #[error("cloud trace endpoint {uri:?} cannot be used: {cause}")]
    Endpoint {
        /// The address.
        uri: String,
        /// The reason, with its causes.
        cause: String,
    },
    /// The credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Writes batches to the `TraceService` of an endpoint. Connects at the first call, and again when it has to.
#[derive(Debug)]
pub struct CloudTrace {
    channel: Channel,
    credentials: Option<Credentials>,
}

impl CloudTrace {
    /// A client of `http://host:port`: plaintext, no credentials.
    ///
    /// # Errors
    /// `uri` is not an address.
    pub fn plaintext(uri: &str) -> Result<Self, ClientError> {
        Ok(CloudTrace { channel: endpoint(uri)?.connect_lazy(), credentials: None })
    }

    /// A client of `https://host[:port]`: TLS by the machine's root certificates, calls signed by `credentials`.
    ///
    /// # Errors
    /// `uri` is not an address, or the machine has no root certificates.
    pub fn google(uri: &str, credentials: Credentials) -> Result<Self, ClientError> {
        let endpoint = endpoint(uri)?
            .tls_config(ClientTlsConfig::new().with_native_roots())
            .map_err(|error| endpoint_error(uri, &error))?;
        Ok(CloudTrace { channel: endpoint.connect_lazy(), credentials: Some(credentials) })
    }

    async fn call(&self, batch: &Batch) -> Result<(), Status> {
        let request = self.request(batch).await?;
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        client.unary(request, METHOD, BatchCodec).await?;
        Ok(())
    }

    async fn request(&self, batch: &Batch) -> Result<Request<Batch>, Status> {
        let mut request = Request::new(batch.clone());
        if let Some(credentials) = &self.credentials {
            *request.metadata_mut() = MetadataMap::from_headers(credentials.headers().await?);
        }
        request.metadata_mut().insert(ROUTING_HEADER, routing(batch.project())?);
        request.set_timeout(CALL_DEADLINE);
        Ok(request)
    }
}

impl Sink for CloudTrace {
    async fn write(&self, batch: &Batch) -> Result<Written, Status> {
        let result = tokio::time::timeout(CALL_DEADLINE, self.call(batch)).await;
        let result = result.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer within the call's deadline")));
        if let (Err(status), Some(credentials)) = (&result, &self.credentials)
            && status.code() == Code::Unauthenticated
        {
            credentials.renew();
        }
        result.map(|()| Written::default())
    }
}

/// The windows of HTTP/2 that bound large messages are the server's; a client's bound what comes back, which is empty.
fn endpoint(uri: &str) -> Result<Endpoint, ClientError> {
    let endpoint = Endpoint::from_shared(uri.to_owned()).and_then(|endpoint| endpoint.user_agent(USER_AGENT));
    let endpoint = endpoint.map_err(|error| endpoint_error(uri, &error))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT))
}

fn endpoint_error(uri: &str, error: &(dyn std::error::Error + 'static)) -> ClientError {
    ClientError::Endpoint { uri: uri.to_owned(), cause: causes(error) }
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
}

#[cfg(test)]
mod tests;
