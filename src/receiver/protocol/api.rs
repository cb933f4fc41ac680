//! The paths of the daemon's API: authentication, methods, and the form of answers. The daemon gives the answers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body;

use super::http as otlp_http;
use super::reply::{PlacedStream, ReplyBody, placed};
use crate::host::{host_of, is_allowed};
use crate::receiver::admission::auth::Guard;
use crate::receiver::admission::places::Places;
use crate::receiver::admission::refusal::{Refusal, check_method, quote};
use crate::receiver::transport::connection::{Connection, UNREAD_TIME_MAX};
use crate::telemetry::Metrics;

/// Media type of recordings.
pub const RECORDING: &str = "application/vnd.spansieve.recording";

/// Beginning of all paths of the API.
pub const API_PREFIX: &str = "/api/";

/// Largest number of documents that are made or sent at the same time. The configuration can take a few megabytes, and a
/// peer may leave it unread for a while.
const DOCUMENTS_MAX: usize = 8;

/// Largest number of streams: more than the people who watch a daemon, and few enough for a small container.
pub const API_STREAMS_MAX: usize = 16;

/// The time after which a stream must have sent something. A peer that takes nothing for `UNREAD_TIME_MAX` is cut off.
pub const API_STREAM_SILENCE_MAX: Duration = Duration::from_secs(15);

const _: () = assert!(2 * API_STREAM_SILENCE_MAX.as_secs() <= UNREAD_TIME_MAX.as_secs());

/// Delay that a refusal asks for, in seconds. Places for streams are taken for long.
const RETRY_AFTER_SECONDS: &str = "10";

/// Header in which a browser names the relation between the asking page's site and this one
/// (<https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>), and its values for pages of other sites. A page can
/// neither set it nor leave it out.
const FETCH_SITE: &str = "sec-fetch-site";
const FOREIGN_SITES: [&str; 2] = ["cross-site", "same-site"];

/// Source of the API's answers. Its methods run on an I/O worker and must not block for long.
pub trait Api: Send + Sync + 'static {
    /// Answers a GET request for `path`, which begins with [`API_PREFIX`], with its query if it has one.
    fn answer(&self, path: &str, query: Option<&str>) -> ApiAnswer;
}

/// Answer to a question.
#[derive(Debug)]
pub enum ApiAnswer {
    /// A JSON document with its HTTP status. The bytes may own the memory that is charged for them.
    Document(StatusCode, Bytes),
    /// A stream of JSON documents, one a line. It goes on until the client or the process ends it.
    Stream(ApiStream),
    /// A recording, which is not text. It goes on like a stream.
    Recording(ApiStream),
}

/// Body of a stream. It must not hold more than a bounded number of bytes for a client that does not read, and it must
/// send something at least every [`API_STREAM_SILENCE_MAX`].
pub trait ApiStreamBody: Body<Data = Bytes, Error = tonic::Status> + Send + std::fmt::Debug {}

impl<B: Body<Data = Bytes, Error = tonic::Status> + Send + std::fmt::Debug> ApiStreamBody for B {}

/// Body of a stream, on the heap.
pub type ApiStream = Pin<Box<dyn ApiStreamBody>>;

/// The API with the authentication of its clients.
pub(in crate::receiver) struct ApiRoutes {
    api: Arc<dyn Api>,
    /// Authentication of clients. `None` if any client may ask.
    guard: Option<Arc<Guard>>,
    /// The hosts that clients may call besides `localhost` and IP addresses; `None` if they may call any.
    hosts: Option<Vec<String>>,
    documents: Arc<Places>,
    streams: Arc<Places>,
}

impl std::fmt::Debug for ApiRoutes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiRoutes").finish_non_exhaustive()
    }
}

impl ApiRoutes {
    /// Creates the routes to `api`. Without a `guard`, any client may ask that is not a page of another site in a browser.
    /// If only clients on this machine can connect, they call one of the `hosts`, `localhost` or an IP address.
    pub(in crate::receiver) fn new(api: Arc<dyn Api>, guard: Option<Arc<Guard>>, hosts: Option<Vec<String>>) -> Self {
        ApiRoutes { api, guard, hosts, documents: Places::new(DOCUMENTS_MAX), streams: Places::new(API_STREAMS_MAX) }
    }

    /// Answers a request of `connection`. Its body is not read.
    pub(super) async fn answer(
        &self,
        parts: &Parts,
        connection: &Arc<Connection>,
        metrics: &Metrics,
    ) -> Response<ReplyBody> {
        let checked = match &self.guard {
            Some(guard) => guard.check(&parts.headers, metrics).await.map_err(Refusal::from),
            None => self.check_page(parts),
        };
        let checked = checked.and_then(|()| check_method(&parts.method, &[Method::GET], "GET"));
        let answer = checked.and_then(|()| self.answer_admitted(parts, connection));
        let mut response = answer.unwrap_or_else(|refusal| failure(&refusal));
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }

    /// Refuses pages of other sites: a request that the browser marks as one of theirs, and one for a host that may be a
    /// page's own name.
    fn check_page(&self, parts: &Parts) -> Result<(), Refusal> {
        let site = parts.headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        if FOREIGN_SITES.iter().any(|foreign| site == Some(foreign.as_bytes())) {
            return Err(Refusal::ForeignPage);
        }
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let named = parts.headers.get_all(HOST).iter().map(|value| value.to_str().unwrap_or("?"));
        let mut asked = parts.uri.authority().map(Authority::as_str).into_iter().chain(named).map(host_of);
        match asked.find(|host| !is_allowed(host, hosts)) {
            Some(host) => Err(Refusal::Host(quote(host.as_bytes()))),
            None => Ok(()),
        }
    }

    /// Answers a client that may ask. A document holds one of the [`DOCUMENTS_MAX`] places until it has been sent, and a
    /// stream one of the [`API_STREAMS_MAX`].
    fn answer_admitted(&self, parts: &Parts, connection: &Arc<Connection>) -> Result<Response<ReplyBody>, Refusal> {
        let place = self.documents.take(connection).ok_or(Refusal::Overloaded)?;
        match self.api.answer(parts.uri.path(), parts.uri.query()) {
            ApiAnswer::Document(status, document) => {
                let body = ReplyBody::Full(placed(document, place, connection));
                let mut response = with_type(Response::new(body), "application/json");
                *response.status_mut() = status;
                Ok(response)
            }
            ApiAnswer::Stream(stream) => self.stream(stream, "application/x-ndjson", connection),
            ApiAnswer::Recording(stream) => self.stream(stream, RECORDING, connection),
        }
    }

    fn stream(
        &self,
        stream: ApiStream,
        content_type: &'static str,
        connection: &Arc<Connection>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let place = self.streams.take(connection).ok_or(Refusal::Streams)?;
        let body = ReplyBody::Stream(PlacedStream::new(stream, place, connection));
        Ok(with_type(Response::new(body), content_type))
    }
}

/// Returns the response that refuses a request: the message of the refusal in JSON.
fn failure(refusal: &Refusal) -> Response<ReplyBody> {
    let document = serde_json::json!({ "error": refusal.to_string() });
    let response = otlp_http::failure(None, refusal).map(|_| ReplyBody::Full(format!("{document}\n").into()));
    with_type(response, "application/json")
}

fn with_type(mut response: Response<ReplyBody>, content_type: &'static str) -> Response<ReplyBody> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
