//! The paths of the daemon's API: authentication, methods, and the form of answers. The daemon gives the answers.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body;

use super::http as otlp_http;
use super::reply::ReplyBody;
use crate::receiver::admission::auth::Guard;
use crate::receiver::admission::refusal::{Refusal, check_method};
use crate::telemetry::Metrics;

/// Beginning of all paths of the API.
pub const API_PREFIX: &str = "/api/";

/// Source of the API's answers. Its methods run on an I/O worker and must not block for long.
pub trait Api: Send + Sync + 'static {
    /// Answers a GET request for `path`, which begins with [`API_PREFIX`], with its query if it has one.
    fn answer(&self, path: &str, query: Option<&str>) -> ApiAnswer;
}

/// Answer to a question.
#[derive(Debug)]
pub enum ApiAnswer {
    /// A JSON document with its HTTP status.
    Document(StatusCode, String),
    /// A stream of JSON documents, one a line. It goes on until the client or the process ends it.
    Stream(ApiStream),
}

/// Body of a stream. It must not hold more than a bounded number of bytes for a client that does not read.
pub trait ApiStreamBody: Body<Data = Bytes, Error = tonic::Status> + Send + std::fmt::Debug {}

impl<B: Body<Data = Bytes, Error = tonic::Status> + Send + std::fmt::Debug> ApiStreamBody for B {}

/// Body of a stream, on the heap.
pub type ApiStream = Pin<Box<dyn ApiStreamBody>>;

/// The API with the authentication of its clients.
pub(in crate::receiver) struct ApiRoutes {
    pub(in crate::receiver) api: Arc<dyn Api>,
    /// Authentication of clients. `None` if any client may ask.
    pub(in crate::receiver) guard: Option<Arc<Guard>>,
}

impl std::fmt::Debug for ApiRoutes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiRoutes").finish_non_exhaustive()
    }
}

impl ApiRoutes {
    /// Answers a request. Its body is not read.
    pub(super) async fn answer(&self, parts: &Parts, metrics: &Metrics) -> Response<ReplyBody> {
        let checked = match &self.guard {
            Some(guard) => guard.check(&parts.headers, metrics).await.map_err(Refusal::from),
            None => Ok(()),
        };
        match checked.and_then(|()| check_method(&parts.method, &[Method::GET], "GET")) {
            Ok(()) => {
                let mut response = match self.api.answer(parts.uri.path(), parts.uri.query()) {
                    ApiAnswer::Document(status, document) => {
                        let mut response = json(Response::new(ReplyBody::Full(document.into())), "application/json");
                        *response.status_mut() = status;
                        response
                    }
                    ApiAnswer::Stream(stream) => json(Response::new(ReplyBody::Stream(stream)), "application/x-ndjson"),
                };
                if response.status() == StatusCode::TOO_MANY_REQUESTS {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
                }
                response
            }
            Err(refusal) => failure(&refusal),
        }
    }
}

/// Returns the response that refuses a request: the message of the refusal in JSON.
fn failure(refusal: &Refusal) -> Response<ReplyBody> {
    let document = serde_json::json!({ "error": refusal.to_string() });
    let response = otlp_http::failure(None, refusal).map(|_| ReplyBody::Full(format!("{document}\n").into()));
    json(response, "application/json")
}

fn json(mut response: Response<ReplyBody>, content_type: &'static str) -> Response<ReplyBody> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
