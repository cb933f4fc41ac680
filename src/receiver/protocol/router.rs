//! Routes requests: gRPC by the content type, everything else by the path.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::ServiceExt;

use super::api::{API_PREFIX, ApiRoutes};
use super::cors::Cors;
use super::reflection::Reflection;
use super::reply::{Begun, ReplyBody};
use super::scrape::{Held, ScrapeForm};
use super::signals::Signal;
use super::{grpc, health, http as otlp_http};
use crate::receiver::admission::heads::Heads;
use crate::receiver::admission::places::Places;
use crate::receiver::admission::refusal::{Refusal, check_method, quote};
use crate::receiver::body::chunks::Chunks;
use crate::receiver::body::export::Exports;
use crate::receiver::transport::connection::{Connection, Exchange};
use crate::receiver::{Intake, Scrape};
use crate::telemetry::Health;
use crate::telemetry::metrics::Protocol;

/// Text of the page `/`, in parts. The parts that an address does not offer are left out.
const ABOUT: &str = concat!("spansieve ", env!("CARGO_PKG_VERSION"), ": tail sampling for Google Cloud Trace\n\n");
const ABOUT_SPANS: &str = "\
    POST /v1/traces  OTLP/HTTP: application/x-protobuf or application/json;\n                     gzip, zstd, deflate, zlib, snappy, x-snappy-framed or lz4\n\
    gRPC             OTLP/gRPC: opentelemetry.proto.collector.trace.v1.TraceService\n";
const ABOUT_METRICS: &str = "GET  /metrics    Prometheus metrics\n";
const ABOUT_API: &str = "GET  /api/       answers in JSON; see docs/daemon-api.md\n";
const ABOUT_HEALTH: &str = "\
    GET  /livez      the process is alive\n\
    GET  /readyz     spans are accepted and can be written\n\
    gRPC             grpc.health.v1.Health\n";

/// Paths of the pages.
const PAGES: [&str; 4] = ["/", "/metrics", "/livez", "/readyz"];

const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// Status of a probe that fails.
const UNREADY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Largest number of concurrent scrapes, until they are sent. Each takes about 100 KiB, more with the metrics of spans. A
/// peer may leave it unread for a while. They are made one after the other.
pub(in crate::receiver) const SCRAPES_MAX: usize = 8;

/// Services of an address. Every address also serves the probes.
#[derive(Clone, Copy, Debug)]
pub(in crate::receiver) struct Endpoints {
    pub(in crate::receiver) spans: bool,
    pub(in crate::receiver) metrics: bool,
    pub(in crate::receiver) api: bool,
}

impl Endpoints {
    /// Refuses `path` if only another address serves it.
    fn refuse(self, path: &str) -> Result<(), Refusal> {
        match path {
            grpc::EXPORT | otlp_http::TRACES if !self.spans => Err(Refusal::Elsewhere("traces go to otlp.listen")),
            "/metrics" if !self.metrics && self.spans => Err(Refusal::Elsewhere("metrics are on telemetry.listen")),
            "/metrics" if !self.metrics => Err(Refusal::Elsewhere("metrics are on telemetry.listen or otlp.listen")),
            path if path.starts_with(API_PREFIX) && !self.api => {
                Err(Refusal::Elsewhere("the API is on api.listen, if the configuration has that"))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if scripts in browsers may request `path`: it is a path of OTLP/HTTP. Only applies if `otlp.cors`
    /// is set.
    fn is_for_browsers(self, path: &str) -> bool {
        self.spans && (path == otlp_http::TRACES || Signal::at(path).is_some())
    }

    fn about(self) -> String {
        let parts = [
            (ABOUT, true),
            (ABOUT_SPANS, self.spans),
            (ABOUT_METRICS, self.metrics),
            (ABOUT_API, self.api),
            (ABOUT_HEALTH, true),
        ];
        parts.into_iter().filter_map(|(text, is_there)| is_there.then_some(text)).collect()
    }
}

/// Open requests of an HTTP/2 connection from which on a refused head is answered without a body. A body waits for the
/// peer's window, and so a peer could make the daemon hold the stream, for which the reserve has no room. Two such
/// streams are part of what is counted for a connection. Exporters read only the status and `Retry-After`.
const REFUSED_BODIES_MAX: usize = 2;

/// Time from the head of a request to its answer, for requests without limits of their own: all requests except
/// exports.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Router of the requests of all connections.
pub(in crate::receiver) struct Router<I> {
    pub(in crate::receiver) exports: Exports<I>,
    pub(in crate::receiver) heads: Arc<Heads>,
    /// CORS rules, if scripts in browsers may send.
    pub(in crate::receiver) cors: Option<Cors>,
    pub(in crate::receiver) health: Arc<Health>,
    pub(in crate::receiver) grpc_health: health::GrpcHealthServer,
    /// The reflection services, if `otlp.reflection` is on.
    pub(in crate::receiver) reflection: Option<Reflection>,
    /// The API, if `api.listen` is set.
    pub(in crate::receiver) api: Option<ApiRoutes>,
    pub(in crate::receiver) scrape: Scrape,
    pub(in crate::receiver) scrapes: Arc<Places>,
    /// The turn to make the text of a scrape, for one at a time.
    pub(in crate::receiver) scrape_turn: Arc<Semaphore>,
}

impl<I: Intake> Router<I> {
    /// Admits a request of `connection`, to an address with these `endpoints`, if the reserve has room for its head.
    ///
    /// # Errors
    /// The response, if the request has one already: a refusal, or the answer to a preflight request.
    pub(in crate::receiver) fn begin<B>(
        &self,
        endpoints: Endpoints,
        request: Request<B>,
        connection: &Arc<Connection>,
    ) -> (Begun, Result<Request<B>, Response<ReplyBody>>) {
        let exchange = Exchange::begin(connection);
        let (mut parts, body) = request.into_parts();
        let cors = self.cors.as_ref().filter(|_| endpoints.is_for_browsers(parts.uri.path()));
        let grant = cors.map(|cors| cors.grant(&parts.headers));
        match self.heads.admit(connection, exchange.others == 0, &mut parts) {
            Ok(share) => match cors.and_then(|cors| cors.preflight(&parts)) {
                Some(answer) => (Begun { exchange, grant: None, _share: share }, Err(answer)),
                None => (Begun { exchange, grant, _share: share }, Ok(Request::from_parts(parts, body))),
            },
            Err(refusal) => {
                if let Some(protocol) = protocol(&parts) {
                    self.exports.metrics.request(protocol, refusal.outcome(), Duration::ZERO);
                }
                let mut response = match is_grpc(content_type(&parts)) {
                    true => grpc::failure(&refusal),
                    false => otlp_http::failure(otlp_http::encoding(&parts.headers), &refusal),
                };
                if parts.version == Version::HTTP_2 && exchange.others >= REFUSED_BODIES_MAX {
                    *response.body_mut() = ReplyBody::default();
                }
                (Begun { exchange, grant, _share: None }, Err(response))
            }
        }
    }

    /// Answers a request of `connection`, to an address with these `endpoints`.
    pub(in crate::receiver) async fn answer(
        &self,
        endpoints: Endpoints,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> Response<ReplyBody> {
        let (parts, body) = request.into_parts();
        let content_type = content_type(&parts);
        if is_grpc(content_type) {
            let checked = check_grpc(&parts, content_type);
            return match (checked, endpoints.refuse(parts.uri.path())) {
                (Ok(()), Ok(())) => self.answer_grpc(endpoints, parts, body, connection).await,
                (Ok(()), Err(refusal)) => grpc::failure(&refusal),
                (Err(refusal), _) => otlp_http::failure(None, &refusal),
            };
        }
        if let Some(api) = self.api.as_ref().filter(|_| endpoints.api && parts.uri.path().starts_with(API_PREFIX)) {
            let response = api.answer(&parts, connection, &self.exports.metrics).await;
            return finish_http1(&parts, &mut Chunks::new(body), response).await;
        }
        if parts.uri.path() != otlp_http::TRACES || !endpoints.spans {
            let response = self.answer_page(endpoints, &parts, connection).await;
            return finish_http1(&parts, &mut Chunks::new(body), response).await;
        }
        let in_flight = self.exports.begin(connection);
        let mut chunks = Chunks::new(in_flight.meter(body));
        let response = otlp_http::export(&self.exports, &in_flight, &parts, &mut chunks).await;
        // The request has been answered, so the rest of its body needs no place in the queue.
        drop(in_flight);
        finish_http1(&parts, &mut chunks, response).await
    }

    async fn answer_grpc(
        &self,
        endpoints: Endpoints,
        parts: Parts,
        body: Incoming,
        connection: &Arc<Connection>,
    ) -> Response<ReplyBody> {
        let reflection = self.reflection.as_ref().filter(|_| endpoints.spans && Reflection::is_at(parts.uri.path()));
        if let Some(reflection) = reflection {
            let answer = reflection.answer(Request::from_parts(parts, body), connection).await;
            return answer.map_or_else(|refusal| grpc::failure(&refusal), |answer| answer.map(ReplyBody::Health));
        }
        match parts.uri.path() {
            grpc::EXPORT => {
                let in_flight = self.exports.begin(connection);
                let mut chunks = Chunks::new(in_flight.meter(body));
                grpc::export(&self.exports, &in_flight, &parts.headers, &mut chunks).await
            }
            health::LIST => health::list(&self.health),
            path if path.starts_with(health::PREFIX) => {
                let is_watch = path == health::WATCH;
                let mut request = Request::from_parts(parts, body);
                request.extensions_mut().insert(Arc::clone(connection));
                let answer = self.grpc_health.clone().oneshot(request);
                match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
                    Ok(Ok(response)) if is_watch => response.map(ReplyBody::Watch),
                    Ok(Ok(response)) => response.map(ReplyBody::Health),
                    Ok(Err(never)) => match never {},
                    Err(_) => grpc::failure(&Refusal::Late),
                }
            }
            path => {
                let refusal = grpc::unknown_method(path);
                self.notice(&refusal, &parts.headers);
                grpc::failure(&refusal)
            }
        }
    }

    async fn answer_page(
        &self,
        endpoints: Endpoints,
        parts: &Parts,
        connection: &Arc<Connection>,
    ) -> Response<ReplyBody> {
        let path = parts.uri.path();
        let checked = endpoints.refuse(path).and_then(|()| match PAGES.contains(&path) {
            true => check_method(&parts.method, &[Method::GET, Method::HEAD], "GET, HEAD"),
            false => Err(unknown_path(path)),
        });
        let page = match checked {
            Ok(()) if path == "/metrics" => self.scraped(&parts.headers, connection).await,
            Ok(()) => Ok(self.page(endpoints, path)),
            Err(refusal) => Err(refusal),
        };
        let page = page.map(|(status, headers, body)| reply(status, headers, body, &parts.method));
        page.unwrap_or_else(|refusal| {
            self.notice(&refusal, &parts.headers);
            otlp_http::failure(otlp_http::encoding(&parts.headers), &refusal)
        })
    }

    /// Reports a sender of another signal to the operator.
    fn notice(&self, refusal: &Refusal, headers: &HeaderMap) {
        if let Refusal::Signal(signal) = refusal {
            signal.notice(headers, &self.exports.metrics);
        }
    }

    fn page(&self, endpoints: Endpoints, path: &str) -> (StatusCode, HeaderMap, Bytes) {
        let (status, body): (_, Bytes) = match path {
            "/livez" => {
                let (status, text) = liveness(&self.health, Instant::now());
                (status, text.into())
            }
            "/readyz" => {
                let (status, text) = readiness(&self.health, endpoints.metrics);
                (status, text.into())
            }
            _ => (StatusCode::OK, endpoints.about().into()),
        };
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(TEXT_TYPE))]);
        (status, headers, body)
    }

    /// Returns the metrics. Holds one of the [`SCRAPES_MAX`] places until they have been sent. They are made on a thread
    /// that may be busy for some milliseconds.
    async fn scraped(
        &self,
        headers: &HeaderMap,
        connection: &Arc<Connection>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Refusal> {
        let place = self.scrapes.take(connection).ok_or(Refusal::Overloaded)?;
        let (form, scrape) = (ScrapeForm::asked(headers), Arc::clone(&self.scrape));
        let budget = self.exports.intake().budget().clone();
        // A copy of the metrics of spans, and the state of gzip, exist once. A client that has gone does not end this.
        let turn = Arc::clone(&self.scrape_turn).acquire_owned().await.map_err(|_| Refusal::Stopping)?;
        let make = move || {
            let _turn = turn;
            form.answer(&scrape, &budget)
        };
        let made = tokio::task::spawn_blocking(make).await.map_err(|_| Refusal::Stopping)?;
        let (bytes, share, headers) = made.ok_or(Refusal::NoRoom)?;
        let held = Held { bytes, _rest: (place, connection.scrape(), share) };
        Ok((StatusCode::OK, headers, held.into()))
    }
}

/// Returns a page, or only its headers for HEAD.
fn reply(status: StatusCode, headers: HeaderMap, body: Bytes, method: &Method) -> Response<ReplyBody> {
    let len = body.len();
    // For HEAD, hyper removes the body only in HTTP/1.
    let body = if method == Method::HEAD { Bytes::new() } else { body };
    let mut response = Response::new(ReplyBody::Full(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
    response
}

/// Returns the answer of `/livez`. If the whole runtime is stuck there is no answer, which also fails the probe.
fn liveness(health: &Health, now: Instant) -> (StatusCode, String) {
    match health.wedged(now) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some((worker, silence)) => {
            (UNREADY, format!("the {worker} has given no sign of life for {} s\n", silence.as_secs()))
        }
    }
}

/// Returns the answer of `/readyz`. The details may name paths and answers of token servers. So only callers that may
/// see the metrics get them.
fn readiness(health: &Health, shows_details: bool) -> (StatusCode, String) {
    if health.is_ready() {
        // The full reason may quote the file, and this page asks for no token.
        let rejected = health.rejected_config().filter(|_| shows_details);
        let details = rejected.map_or_else(String::new, |rejected| {
            format!("the configuration on disk is not in force: {}; the log says why\n", rejected.kind)
        });
        let fleet = health.fleet().filter(|_| shows_details).map(|state| state + "\n").unwrap_or_default();
        return (StatusCode::OK, "ready\n".to_owned() + &details + &fleet);
    }
    let why = match health.waits_for() {
        _ if health.is_stopping() => "stopping".to_owned(),
        Some(missing) if shows_details => format!("not ready: {missing}"),
        Some(_) => "not ready: the log says why, and /readyz of telemetry.listen".to_owned(),
        None => "starting".to_owned(),
    };
    (UNREADY, why + "\n")
}

fn content_type(parts: &Parts) -> &[u8] {
    parts.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes)
}

/// Returns true if this is the content type of a gRPC request.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

/// Returns the protocol of this request if it exports spans.
fn protocol(parts: &Parts) -> Option<Protocol> {
    match parts.uri.path() {
        grpc::EXPORT => Some(Protocol::Grpc),
        otlp_http::TRACES => Some(otlp_http::protocol(otlp_http::encoding(&parts.headers))),
        _ => None,
    }
}

/// Checks the requirements of a gRPC request apart from its content type (gRPC `doc/PROTOCOL-HTTP2.md`, Requests).
fn check_grpc(parts: &Parts, content_type: &[u8]) -> Result<(), Refusal> {
    // This check comes before the HTTP version, because gRPC-Web also runs over HTTP/1.1.
    if !grpc::is_protobuf(content_type) {
        return Err(Refusal::MessageFormat(quote(content_type)));
    }
    if parts.version != Version::HTTP_2 {
        return Err(Refusal::GrpcOverHttp1);
    }
    check_method(&parts.method, &[Method::POST], "POST")
}

/// Returns the refusal for an unknown `path`.
fn unknown_path(path: &str) -> Refusal {
    match Signal::at(path) {
        Some(signal) => Refusal::Signal(signal),
        None => Refusal::Path(quote(path.as_bytes())),
    }
}

/// Finishes a refused request on an HTTP/1 connection: closes the connection or drains the body as needed. HTTP/2
/// resets the stream instead.
async fn finish_http1<B>(
    parts: &Parts,
    chunks: &mut Chunks<B>,
    mut response: Response<ReplyBody>,
) -> Response<ReplyBody>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let status = response.status();
    if parts.version >= Version::HTTP_2 || status.is_success() {
        return response;
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // The next connection may reach an instance that accepts spans.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // A client that waits for "100 Continue" has sent nothing. A client that timed out sends too slowly.
    if !parts.headers.contains_key(EXPECT) && status != StatusCode::REQUEST_TIMEOUT {
        chunks.drain().await;
    }
    response
}

#[cfg(test)]
mod tests;
