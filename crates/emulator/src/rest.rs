//! The API over HTTP and JSON, as Google's own clients call it
//! (<https://cloud.google.com/trace/docs/reference/v2/rest>). Answers and errors have the same form as Google's.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::service::EmulatorService;
use crate::proto::google::devtools::cloudtrace::v2::BatchWriteSpansRequest;

mod messages;

/// The beginning of the API's paths.
pub(super) const PREFIX: &str = "/v2/";

/// Maximum bytes of a body. It is smaller than for gRPC, because JSON takes several times its size while it is read.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

/// A method of the API with the resource name from its path.
#[derive(Debug, PartialEq, Eq)]
enum ApiMethod<'a> {
    /// `/v2/{name=projects/*}/traces:batchWrite`.
    BatchWrite { name: &'a str },
    /// `/v2/{name=projects/*/traces/*/spans/*}`.
    CreateSpan { name: &'a str },
}

impl<'a> ApiMethod<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let name = path.strip_prefix(PREFIX)?;
        if let Some(name) = name.strip_suffix("/traces:batchWrite") {
            return matches!(parts(name)[..], ["projects", _]).then_some(ApiMethod::BatchWrite { name });
        }
        matches!(parts(name)[..], ["projects", _, "traces", _, "spans", _]).then_some(ApiMethod::CreateSpan { name })
    }
}

/// Splits a resource name at its slashes. Returns an empty list if a part is empty.
fn parts(name: &str) -> Vec<&str> {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) { Vec::new() } else { parts }
}

/// An error in the form of Google's APIs (<https://cloud.google.com/apis/design/errors>).
#[derive(Debug)]
struct RestError {
    http: StatusCode,
    status: &'static str,
    message: String,
}

impl RestError {
    fn invalid(message: impl Into<String>) -> Self {
        RestError { http: StatusCode::BAD_REQUEST, status: "INVALID_ARGUMENT", message: message.into() }
    }

    fn not_found(path: &str) -> Self {
        let message = format!(
            "{path:?} is not a method: POST /v2/projects/PROJECT/traces:batchWrite, or /v2/projects/PROJECT/traces/TRACE/spans/SPAN"
        );
        RestError { http: StatusCode::NOT_FOUND, status: "NOT_FOUND", message }
    }
}

/// Returns the answer to a call that took longer than `deadline`.
pub(super) fn too_slow(deadline: Duration) -> Response<Bytes> {
    let message = format!("the call took longer than {deadline:?}");
    answer(Err(RestError { http: StatusCode::GATEWAY_TIMEOUT, status: "DEADLINE_EXCEEDED", message }))
}

/// Answers a call to `path`, which begins with [`PREFIX`].
pub(super) async fn respond<B>(
    service: &EmulatorService,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: B,
) -> Response<Bytes>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    answer(call(service, method, path, headers, body).await)
}

fn answer(result: Result<Json, RestError>) -> Response<Bytes> {
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(RestError { http, status, message }) => {
            (http, json!({"error": {"code": http.as_u16(), "message": message, "status": status}}))
        }
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}

async fn call<B>(
    service: &EmulatorService,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: B,
) -> Result<Json, RestError>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let call = ApiMethod::of(path).filter(|_| method == Method::POST).ok_or_else(|| RestError::not_found(path))?;
    // A web page can send a body of some other types to any server without asking that server first (CORS).
    if !is_json(headers) {
        let message = "the body must be JSON: content-type application/json".into();
        return Err(RestError { http: StatusCode::UNSUPPORTED_MEDIA_TYPE, status: "INVALID_ARGUMENT", message });
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| RestError::invalid(format!("cannot read the body: {error}")))?.to_bytes();
    match call {
        ApiMethod::BatchWrite { name } => {
            let spans = parse::<messages::BatchWriteRequest>(&body)?.into_spans().map_err(RestError::invalid)?;
            let request = BatchWriteSpansRequest { name: name.to_owned(), spans };
            service.batch_write(request).map_err(|violation| RestError::invalid(violation.to_string()))?;
            Ok(json!({}))
        }
        ApiMethod::CreateSpan { name } => {
            let mut span = parse::<messages::Span>(&body)?.into_proto().map_err(RestError::invalid)?;
            name.clone_into(&mut span.name);
            service.create(span).map_err(|violation| RestError::invalid(violation.to_string()))?;
            // The real API answers with the span as the client sent it.
            let mut sent: Json = parse(&body)?;
            if let Some(fields) = sent.as_object_mut() {
                fields.insert("name".to_owned(), Json::from(name));
            }
            Ok(sent)
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
    content_type.as_deref() == Some("application/json")
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RestError> {
    serde_json::from_slice(body).map_err(|error| RestError::invalid(format!("Invalid JSON payload received: {error}")))
}

#[cfg(test)]
mod tests;
