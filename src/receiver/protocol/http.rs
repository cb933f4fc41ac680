//! Negotiation and answers of OTLP/HTTP (OTLP specification, OTLP/HTTP).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use tonic::Code;

use super::reply::ReplyBody;
use crate::otlp::reply::{self, Encoding};
use crate::receiver::admission::in_flight::InFlightRequest;
use crate::receiver::admission::refusal::{Refusal, check_method, quote};
use crate::receiver::body::chunks::Chunks;
use crate::receiver::body::export::{Exports, Payload};
use crate::receiver::body::inflate::Coding;
use crate::receiver::{Accepted, Intake, RequestMemory};
use crate::telemetry::metrics::Protocol;

/// Path that senders post traces to (OTLP specification, OTLP/HTTP Request).
pub(super) const TRACES: &str = "/v1/traces";

/// Serves [`TRACES`].
pub(in crate::receiver) async fn export<I, B>(
    exports: &Exports<I>,
    in_flight: &Arc<InFlightRequest<I>>,
    parts: &Parts,
    chunks: &mut Chunks<B>,
) -> Response<ReplyBody>
where
    I: Intake,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let encoding = encoding(&parts.headers);
    if let Err(refusal) = check_method(&parts.method, &[Method::POST], "POST") {
        return failure(encoding, &refusal);
    }
    let protocol = protocol(encoding);
    let body = read_body(encoding, &parts.headers, chunks, exports.max_request_bytes, &**in_flight);
    match (exports.export(protocol, &parts.headers, in_flight, body).await, encoding) {
        (Ok(accepted), Some(encoding)) => success(encoding, &accepted),
        (Ok(accepted), None) => success(Encoding::Protobuf, &accepted),
        (Err(refusal), _) => failure(encoding, &refusal),
    }
}

async fn read_body<B>(
    encoding: Option<Encoding>,
    headers: &HeaderMap,
    chunks: &mut Chunks<B>,
    limit: usize,
    intake: &impl RequestMemory,
) -> Result<Payload, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Some(encoding) = encoding else {
        let name = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        return Err(Refusal::MediaType(quote(name)));
    };
    let coding = content_coding(headers)?;
    let held = chunks.whole(limit, intake).await?;
    Ok(Payload { held, coding, encoding })
}

/// Returns the protocol that a request of this encoding is counted as. An unknown encoding counts as protobuf, the
/// default of OTLP/HTTP exporters.
pub(in crate::receiver) fn protocol(encoding: Option<Encoding>) -> Protocol {
    if encoding == Some(Encoding::Json) { Protocol::HttpJson } else { Protocol::HttpProtobuf }
}

/// Returns the OTLP encoding that the request's content type names.
pub(in crate::receiver) fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    Encoding::from_content_type(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

/// Returns the compression of the body. More than one is refused, because OTLP senders use at most one.
fn content_coding(headers: &HeaderMap) -> Result<Option<Coding>, Refusal> {
    let mut names = headers.get_all(CONTENT_ENCODING).iter();
    match (names.next().map(HeaderValue::as_bytes), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) if name.is_empty() || name.eq_ignore_ascii_case(b"identity") => Ok(None),
        (Some(name), None) => {
            Coding::from_http_name(name).map(Some).ok_or_else(|| Refusal::Coding(quote(name), Coding::HTTP_NAMES))
        }
        (Some(_), Some(_)) => Err(Refusal::Coding("several".to_owned(), Coding::HTTP_NAMES)),
    }
}

fn success(encoding: Encoding, accepted: &Accepted) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Full(reply::success(encoding, &accepted.rejected)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    response
}

/// Returns the response that refuses the request: a `google.rpc.Status` in the encoding of the request, or text if the
/// request is not OTLP.
pub(in crate::receiver) fn failure(encoding: Option<Encoding>, refusal: &Refusal) -> Response<ReplyBody> {
    let (status, message, retry_after) = (refusal.http_status(), refusal.to_string(), refusal.retry_after());
    // The gRPC library's codes for broken framing say little over HTTP. All bad data has the same code.
    let code = if status == StatusCode::BAD_REQUEST { Code::InvalidArgument } else { refusal.code() };
    let mut response = match encoding {
        Some(encoding) => {
            let body = ReplyBody::Full(reply::failure(encoding, code, &message, retry_after));
            let mut response = Response::new(body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
            response
        }
        None => text(message + "\n"),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(delay) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs_f64().round() as u64));
    }
    match refusal {
        // RFC 9110, 15.5.16: the response names the codings that are accepted.
        Refusal::Coding(..) => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Coding::HTTP_NAMES)),
        Refusal::MediaType(_) => {
            headers.insert(ACCEPT, HeaderValue::from_static("application/x-protobuf, application/json"))
        }
        // RFC 9110, 15.5.2: the response names the authentication scheme.
        Refusal::Denied(denial) => denial.challenge().and_then(|challenge| headers.insert(WWW_AUTHENTICATE, challenge)),
        // RFC 9110, 15.5.6: the response lists the methods that are allowed.
        Refusal::Method { allow } => headers.insert(ALLOW, HeaderValue::from_static(allow)),
        _ => None,
    };
    response
}

/// Returns a response in plain text.
pub(in crate::receiver) fn text(body: impl Into<Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Full(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
