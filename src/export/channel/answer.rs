//! The answer to a unary call, read from HTTP/2 (gRPC `doc/PROTOCOL-HTTP2.md`, Responses).
//!
//! tonic's own client is not used to read it: it reads the page of a proxy as a gRPC message, panics at status details
//! that are not standard base64, and reports errors of its own as a status of the server.
//!
//! Invariants
//! - With any answer, the call ends with a message or with a [`Failure`] that has its origin.
//! - An answer takes at most [`MESSAGE_BYTES_MAX`] of memory. A longer message is read to its end and discarded,
//!   because the status comes after it. An answer of more than [`ANSWER_BYTES_MAX`] is assumed to have no end.

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

/// Bytes of an answer's message. The message of Cloud Trace is empty. The message of OTLP has a number and a text.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a whole answer. Reading more would only waste processor time.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes before each message: one for the compression, four for the length.
const PREFIX_BYTES: usize = 5;

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";

/// The base64 of gRPC, in which padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the first bytes of the answer's message. They are empty if the message cannot be read: the sink has accepted
/// the spans in any case.
///
/// # Errors
/// The status of the sink, the HTTP status of a server that does not speak gRPC, or an error of the connection.
pub(super) async fn read(response: Response<Body>) -> Result<Bytes, Failure> {
    let (head, body) = response.into_parts();
    let said_first = said(head.status, &head.headers);
    if head.status != StatusCode::OK && !is_grpc(&head.headers) && said_first.is_none() {
        return Err(Failure::http(head.status, &head.headers));
    }
    // A status in the head counts only if no status comes after it.
    let (message, trailers) = collect(body).await?;
    match said(head.status, &trailers).or(said_first) {
        Some(said) => said.map(|()| message),
        None if head.status == StatusCode::OK && is_grpc(&head.headers) => {
            Err(Failure::connection(Status::unknown("the answer ended before its status")))
        }
        None => Err(Failure::http(head.status, &head.headers)),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

/// Returns the gRPC status in `headers`, which may be trailers. A status that confirms the spans counts only together
/// with the HTTP status 200.
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

/// Returns the first status details that can be read. gRPC allows several values, in several headers or joined by
/// commas.
fn details(headers: &HeaderMap) -> Bytes {
    let values = headers.get_all(DETAILS).into_iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    values.filter_map(|value| BASE64.decode(value.trim_ascii()).ok()).next().unwrap_or_default().into()
}

/// Decodes a `grpc-message`. Parts that are not valid percent-encoding stay unchanged.
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

/// Returns the first message of a body, and the trailers.
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
                    return Err(Failure::connection(Status::unknown("the answer is longer than 64 MiB")));
                }
                let room = (PREFIX_BYTES + MESSAGE_BYTES_MAX).saturating_sub(kept.len());
                kept.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((message(&kept.freeze()), trailers))
}

/// Returns the message after its prefix, as far as it was received. A compressed message cannot be read; the call does
/// not accept compression.
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
