//! OTLP/gRPC without a codec: one length-prefixed message in, one length-prefixed message out
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Body;
use tonic::Status;

use super::reply::ReplyBody;
use super::signals::Signal;
use crate::otlp::reply::{self, Encoding};
use crate::receiver::admission::in_flight::InFlightRequest;
use crate::receiver::admission::refusal::{Refusal, quote};
use crate::receiver::body::chunks::Chunks;
use crate::receiver::body::export::{Exports, Payload};
use crate::receiver::body::inflate::Coding;
use crate::receiver::{Accepted, Intake, RequestMemory};
use crate::telemetry::metrics::Protocol;

/// The only gRPC method that is served apart from the health service and reflection.
pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Bytes of the message prefix: Compressed-Flag (1 byte) and Message-Length (4 bytes, big endian).
const PREFIX_BYTES: usize = 5;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Returns true if a content type that begins with `application/grpc` means protobuf. Protobuf is also the format if
/// the content type names none.
pub(super) fn is_protobuf(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Serves [`EXPORT`].
pub(in crate::receiver) async fn export<I, B>(
    exports: &Exports<I>,
    in_flight: &Arc<InFlightRequest<I>>,
    headers: &HeaderMap,
    chunks: &mut Chunks<B>,
) -> Response<ReplyBody>
where
    I: Intake,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let message = read_message(headers, chunks, exports.max_request_bytes, &**in_flight);
    match exports.export(Protocol::Grpc, headers, in_flight, message).await {
        Ok(accepted) => success(&accepted),
        Err(refusal) => failure(&refusal),
    }
}

/// Reads the only message of a unary call.
async fn read_message<B>(
    headers: &HeaderMap,
    chunks: &mut Chunks<B>,
    limit: usize,
    intake: &impl RequestMemory,
) -> Result<Payload, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let [flag, len @ ..] = chunks.prefix::<PREFIX_BYTES>().await?.ok_or(Refusal::Cardinality)?;
    let coding = match flag {
        0 => None,
        1 => Some(message_coding(headers)?),
        other => return Err(Refusal::Flag(other)),
    };
    let held = chunks.exactly(u32::from_be_bytes(len) as usize, true, limit, intake).await?;
    Ok(Payload { held, coding, encoding: Encoding::Protobuf })
}

/// Returns the compression of a message whose Compressed-Flag is set (gRPC `doc/compression.md`, test cases 4 and 6).
fn message_coding(headers: &HeaderMap) -> Result<Coding, Refusal> {
    match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Err(Refusal::FlagWithoutCoding),
        Some(name) => Coding::from_grpc_name(name).ok_or_else(|| Refusal::Coding(quote(name), Coding::GRPC_NAMES)),
    }
}

fn success(accepted: &Accepted) -> Response<ReplyBody> {
    message(&reply::success(Encoding::Protobuf, &accepted.rejected))
}

/// Returns the response of a call that succeeds with `message`.
pub(in crate::receiver) fn message(message: &[u8]) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Message(frame(message)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(Coding::GRPC_NAMES));
    response
}

/// Returns `message` with its prefix.
fn frame(message: &[u8]) -> Bytes {
    if message.is_empty() {
        return Bytes::from_static(&[0; PREFIX_BYTES]);
    }
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// Returns a trailers-only response.
pub(in crate::receiver) fn failure(refusal: &Refusal) -> Response<ReplyBody> {
    let (code, message, retry_after) = (refusal.code(), refusal.to_string(), refusal.retry_after());
    let details = match retry_after {
        Some(_) => reply::status_details(code, &message, retry_after),
        None => Bytes::new(),
    };
    let mut response = Status::with_details(code, message, details).into_http::<ReplyBody>();
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(Coding::GRPC_NAMES));
    response
}

/// Returns the refusal for an unknown method at `path`.
pub(super) fn unknown_method(path: &str) -> Refusal {
    match Signal::of_method(path) {
        Some(signal) => Refusal::Signal(signal),
        None => Refusal::Procedure(quote(path.as_bytes())),
    }
}

#[cfg(test)]
mod tests;
