//! Bodies of answers: complete for HTTP, a message and trailers for gRPC, a stream for the health service.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};

use super::api::ApiStream;
use crate::receiver::admission::heads::HeadShare;
use crate::receiver::admission::places::Place;
use crate::receiver::transport::connection::{Connection, Exchange};

/// Body of an answer. It is not boxed, which saves one allocation for each request.
#[derive(Debug)]
pub(in crate::receiver) enum ReplyBody {
    /// Complete body. Empty once it has been sent.
    Full(Bytes),
    /// Framed gRPC message that is followed by the status OK.
    Message(Bytes),
    /// Trailers that end a gRPC answer with the status OK.
    Ok,
    /// Answer of one of tonic's services: a unary call of health, or a call of reflection, which ends soon.
    Health(tonic::body::Body),
    /// Stream of tonic's health service. It goes on until the caller or the process ends it.
    Watch(tonic::body::Body),
    /// Stream of the daemon's API. It goes on like a watch.
    Stream(PlacedStream),
}

impl Default for ReplyBody {
    fn default() -> Self {
        ReplyBody::Full(Bytes::new())
    }
}

/// Returns the bytes of `body`, which hold `place` until they have been sent or dropped. The peer of `connection` must
/// take them soon.
pub(super) fn placed(body: impl AsRef<[u8]> + Send + 'static, place: Place, connection: &Connection) -> Bytes {
    struct Placed<B>(B, #[expect(dead_code, reason = "given back with the bytes")] (Place, Arc<()>));
    impl<B: AsRef<[u8]>> AsRef<[u8]> for Placed<B> {
        fn as_ref(&self) -> &[u8] {
            self.0.as_ref()
        }
    }
    Bytes::from_owner(Placed(body, (place, connection.scrape())))
}

/// Stream of the API that holds a place. The peer must take each part soon.
#[derive(Debug)]
pub(in crate::receiver) struct PlacedStream {
    stream: ApiStream,
    connection: Arc<Connection>,
    /// Marker of the part that the peer must take.
    unread: Arc<()>,
    _place: Place,
}

impl PlacedStream {
    pub(in crate::receiver) fn new(stream: ApiStream, place: Place, connection: &Arc<Connection>) -> Self {
        PlacedStream { stream, connection: Arc::clone(connection), unread: connection.answer(), _place: place }
    }
}

impl Body for PlacedStream {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(self.stream.as_mut().poll_frame(cx));
        // The peer has room for this part, so it has taken the earlier ones.
        self.unread = self.connection.answer();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// Returns the trailers of a gRPC call that succeeded.
fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let (frame, next) = match &mut *self {
            ReplyBody::Full(data) if data.is_empty() => return Poll::Ready(None),
            ReplyBody::Full(data) => (Frame::data(std::mem::take(data)), ReplyBody::default()),
            ReplyBody::Message(data) => (Frame::data(std::mem::take(data)), ReplyBody::Ok),
            ReplyBody::Ok => (Frame::trailers(ok_trailers()), ReplyBody::default()),
            ReplyBody::Health(body) | ReplyBody::Watch(body) => return Pin::new(body).poll_frame(cx),
            ReplyBody::Stream(body) => return Pin::new(body).poll_frame(cx),
        };
        *self = next;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Full(data) => data.is_empty(),
            ReplyBody::Message(_) | ReplyBody::Ok => false,
            ReplyBody::Health(body) | ReplyBody::Watch(body) => body.is_end_stream(),
            ReplyBody::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Full(data) => SizeHint::with_exact(data.len() as u64),
            // With an exact size, hyper would write a Content-Length, which gRPC answers do not have.
            ReplyBody::Message(_) | ReplyBody::Ok => SizeHint::default(),
            ReplyBody::Health(body) | ReplyBody::Watch(body) => body.size_hint(),
            ReplyBody::Stream(body) => body.size_hint(),
        }
    }
}

/// A request that has begun, with its share of the reserve for heads.
#[derive(Debug)]
pub(in crate::receiver) struct Begun {
    pub(in crate::receiver) exchange: Exchange,
    /// CORS headers for the answer.
    pub(in crate::receiver) grant: Option<HeaderMap>,
    pub(super) _share: Option<HeadShare>,
}

/// Body of an answer that keeps its exchange open until it has been sent or dropped.
#[derive(Debug)]
pub(in crate::receiver) struct Answer {
    body: ReplyBody,
    _begun: Begun,
}

impl Answer {
    /// Turns `response` into the answer to the request that has `begun`. The peer must take it soon, unless it is a
    /// health watch or a stream.
    pub(in crate::receiver) fn to(mut begun: Begun, mut response: Response<ReplyBody>) -> Response<Self> {
        if !matches!(response.body(), ReplyBody::Watch(_) | ReplyBody::Stream(_)) {
            begun.exchange.answered();
        }
        response.headers_mut().extend(begun.grant.take().unwrap_or_default());
        response.map(|body| Answer { body, _begun: begun })
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
