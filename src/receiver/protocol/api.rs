//! The paths of the daemon's API: authentication, methods, and the form of answers. The daemon gives the answers.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: StatusCode,
    /// Body, a JSON document.
    pub json: String,
}

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
                let answer = self.api.answer(parts.uri.path(), parts.uri.query());
                let mut response = Response::new(ReplyBody::Full(answer.json.into()));
                *response.status_mut() = answer.status;
                json(response)
            }
            Err(refusal) => failure(&refusal),
        }
    }
}

/// Returns the response that refuses a request: the message of the refusal in JSON.
fn failure(refusal: &Refusal) -> Response<ReplyBody> {
    let document = serde_json::json!({ "error": refusal.to_string() });
    json(otlp_http::failure(None, refusal).map(|_| ReplyBody::Full(format!("{document}\n").into())))
}

fn json(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
