//! The answer to a unary call, read from HTTP/2 (gRPC `doc/PROTOCOL-HTTP2.md`, Responses).
//!
//! tonic's own client is not used for it: it reads the page of a proxy as a gRPC message, panics at status details that are
//! not standard base64, and says in the server's place what it could not read.
//!
//! Invariants
//! - Whatever a peer answers, the call ends with a message or with a [`Failure`] that says where it comes from.
//! - An answer takes at most [`MESSAGE_BYTES_MAX`] of memory; what is longer is read to its end and thrown away, as the
//!   status stands behind it. One of more than [`ANSWER_BYTES_MAX`] is taken to have no end.

use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};

use super::explained;
use crate::export::failure::{Failure, wait_of};

/// Of an answer's message. Cloud Trace's is empty, and that of OTLP has a number and a text.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Of a whole answer: to read more of it would only take time of the processor.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";

/// gRPC's base64 has padding or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The message of the answer, as far as it is kept. It is empty if it cannot be read: the sink has the spans all the same.
///
/// # Errors
/// The sink's status, or the HTTP status of a server that does not speak gRPC, or what became of the connection.
pub(super) async fn read(response: Response<Body>) -> Result<Bytes, Failure> {
    let (head, body) = response.into_parts();
    let said_first = said(head.status, &head.headers);
    if head.status != StatusCode::OK && !is_grpc(&head.headers) && said_first.is_none() {
        return Err(Failure::http(head.status, &head.headers));
    }
    // A status in the head is that of the call only if nothing follows it.
    let (message, trailers) = collect(body).await?;
    match said(head.status, &trailers).or(said_first) {
        Some(said) => said.map(|()| message),
        None if head.status == StatusCode::OK && is_grpc(&head.headers) => {
            Err(Failure::connection(Status::unknown("the answer broke off before its status")))
        }
        None => Err(Failure::http(head.status, &head.headers)),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

/// The status of gRPC that stands in `headers` or trailers, if one does. One that says that the spans are there is not one
/// below another status of HTTP.
fn said(http: StatusCode, headers: &HeaderMap) -> Option<Result<(), Failure>> {
    let code = Code::from_bytes(headers.get(STATUS)?.as_bytes().trim_ascii());
    if matches!(code, Code::Ok | Code::AlreadyExists) && http != StatusCode::OK {
        return None;
    }
    if code == Code::Ok {
        return Some(Ok(()));
    }
    let message = headers.get(MESSAGE).map_or_else(String::new, |message| percent_decoded(message.as_bytes()));
    let status = Status::with_details_and_metadata(code, message, details(headers), wait_of(headers));
    Some(Err(Failure::sink(status)))
}

/// The first details that can be read: gRPC allows several values, each in a header of its own or joined by commas.
fn details(headers: &HeaderMap) -> Bytes {
    let values = headers.get_all(DETAILS).into_iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    values.filter_map(|value| BASE64.decode(value.trim_ascii()).ok()).next().unwrap_or_default().into()
}

/// The text of a `grpc-message`. What is not percent-encoded as it should be stays as it is.
fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first message of a body, and the trailers.
async fn collect(mut body: Body) -> Result<(Bytes, HeaderMap), Failure> {
    let mut kept = BytesMut::new();
    let mut trailers = HeaderMap::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| Failure::connection(explained(status)))?;
        match frame.into_data() {
            Ok(data) => {
                bytes += data.len();
                if bytes > ANSWER_BYTES_MAX {
                    return Err(Failure::connection(Status::unknown("the answer has no end")));
                }
                let room = (PREFIX_BYTES + MESSAGE_BYTES_MAX).saturating_sub(kept.len());
                kept.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((message(&kept.freeze()), trailers))
}

/// The message behind its prefix, as far as it is there. A compressed one cannot be read: the call did not offer to.
fn message(body: &Bytes) -> Bytes {
    match body.split_first_chunk::<PREFIX_BYTES>() {
        Some(([0, length @ ..], rest)) => {
            let end = rest.len().min(u32::from_be_bytes(*length) as usize);
            body.slice(PREFIX_BYTES..PREFIX_BYTES + end)
        }
        _ => Bytes::new(),
    }
}

#[cfg(test)]
mod tests;
