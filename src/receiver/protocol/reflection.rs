//! gRPC server reflection (<https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>) for `otlp.reflection`:
//! Clients such as grpcurl use it to list the services and their messages. Versions v1 and v1alpha are served, because
//! most clients still ask for v1alpha first.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};
use tonic_reflection::server::Builder;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::router::ANSWER_TIME_MAX;
use crate::proto::OTLP_DESCRIPTORS;
use crate::receiver::admission::places::{Place, Places};
use crate::receiver::admission::refusal::Refusal;
use crate::receiver::transport::connection::Connection;

/// Prefix of the paths of version v1.
const V1_PREFIX: &str = "/grpc.reflection.v1.ServerReflection/";

/// Prefix of the paths of version v1alpha.
const V1ALPHA_PREFIX: &str = "/grpc.reflection.v1alpha.ServerReflection/";

/// Largest size of a request, in bytes. A request names a host and a file or symbol, and is far smaller.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// Largest number of concurrent calls. Each call costs a task and one answer of a few KiB.
const CALLS_MAX: usize = 64;

/// tonic's service, boxed because its type cannot be named.
type Service = BoxCloneSyncService<Request<Questions>, Response<tonic::body::Body>, Infallible>;

/// The reflection services as tonic serves them.
pub(in crate::receiver) struct Reflection {
    v1: Service,
    v1alpha: Service,
    calls: Arc<Places>,
}

impl Reflection {
    /// Makes the services, which describe OTLP's trace service, grpc.health.v1 and themselves.
    ///
    /// # Errors
    /// The descriptors cannot be read. They are made when the daemon is built, and a test reads them.
    pub(in crate::receiver) fn new() -> Result<Self, tonic_reflection::server::Error> {
        let builder = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(OTLP_DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        Ok(Reflection {
            v1: Service::new(builder().build_v1()?.max_decoding_message_size(REQUEST_BYTES_MAX)),
            v1alpha: Service::new(builder().build_v1alpha()?.max_decoding_message_size(REQUEST_BYTES_MAX)),
            calls: Places::new(CALLS_MAX),
        })
    }

    /// Returns true if `path` is a method of reflection.
    pub(super) fn is_at(path: &str) -> bool {
        path.starts_with(V1_PREFIX) || path.starts_with(V1ALPHA_PREFIX)
    }

    /// Answers a call on `connection`. A call may ask several questions, one after the other, within [`ANSWER_TIME_MAX`].
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if the connection has its part of the [`CALLS_MAX`] calls in progress.
    pub(in crate::receiver) async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> Result<Response<tonic::body::Body>, Refusal> {
        let call = self.calls.take(connection).ok_or(Refusal::Overloaded)?;
        let is_v1 = request.uri().path().starts_with(V1_PREFIX);
        let request = request.map(|body| Questions { body, ends: Box::pin(sleep(ANSWER_TIME_MAX)), _call: call });
        let service = if is_v1 { &self.v1 } else { &self.v1alpha };
        let answer = service.clone().oneshot(request).await;
        Ok(answer.unwrap_or_else(|never| match never {}))
    }
}

/// The body of a call. It ends after [`ANSWER_TIME_MAX`], even if the client has not ended it. The service reads it in
/// a task of its own, which would otherwise wait for the client without a limit.
struct Questions {
    body: Incoming,
    ends: Pin<Box<Sleep>>,
    _call: Place,
}

impl Body for Questions {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.ends.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
