//! The gRPC channel to a sink: endpoint, TLS, proxy, keep-alive, and signed calls with a deadline.
//!
//! Invariants
//! - Every call and every attempt to connect has a time limit.
//! - A connection whose other end is gone is noticed: by HTTP/2 pings during calls, and by TCP's own probes between
//!   calls. Its calls fail with a retryable status, and the next call connects again.
//! - The name of the endpoint is resolved for every new connection, and no new call uses a connection that is older
//!   than ten minutes.

mod answer;
mod proxy;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::tokio_stream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Status, transport};
use tower::timeout::Timeout;
use tower::{Service, ServiceExt};

pub use self::proxy::ProxyError;
use super::failure::Failure;
use crate::google::advice::Caller;
use crate::google::credentials::Credentials;
use crate::google::{Variables, causes, environment};

/// The time limit for name resolution, TCP and the proxy together. TLS has the same time again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval of HTTP/2 pings during calls. A connection whose other end is gone is noticed before the deadline of
/// its calls. Servers answer pings that come too often, or without a call, with GOAWAY (gRPC's A8 and
/// `doc/keepalive.md`). By default, gRPC servers tolerate two pings during a call.
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The time without traffic after which TCP probes an idle connection. Servers tolerate these probes. The connection is
/// closed after a minute and a half of silence.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// The age from which on new calls use a new connection; running calls finish on the old one. The addresses of a name
/// change (those of Google's services are valid for five minutes), and not every server sends GOAWAY when clients
/// should leave it.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// The largest head, and the largest trailers, of an answer. A status with details has a few KiB. A larger head fails
/// the call.
const ANSWER_HEAD_BYTES_MAX: u32 = 64 << 10;
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const USER_AGENT: &str = concat!("spansieve/", env!("CARGO_PKG_VERSION"));

/// The settings of a channel.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// The endpoint: `http://host:port` for plaintext, or `https://host[:port]` for TLS, through the proxy of the
    /// environment if there is one (`HTTPS_PROXY`, `NO_PROXY`).
    pub uri: String,
    /// The certificates (PEM) of the authorities that may have signed the server's certificate; `None` for those of
    /// this machine.
    pub ca_pem: Option<String>,
    /// The credentials that sign the calls; `None` for calls without a signature.
    pub credentials: Option<Credentials>,
    /// Headers of every call. Their values may be secrets.
    pub headers: HeaderMap,
    /// The longest duration of a call, including the connection.
    pub call_deadline: Duration,
}

impl ChannelSettings {
    /// Returns settings with an address and a deadline, and nothing else.
    #[must_use]
    pub fn plain(uri: &str, call_deadline: Duration) -> Self {
        let headers = HeaderMap::new();
        ChannelSettings { uri: uri.to_owned(), ca_pem: None, credentials: None, headers, call_deadline }
    }
}

/// The reason why a channel cannot be opened. A retry cannot help.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The address or the TLS settings are invalid.
    #[error("the endpoint {uri:?} cannot be used: {cause}")]
    Endpoint {
        /// The address of the endpoint.
        uri: String,
        /// The error message, with its causes.
        cause: String,
    },
    /// The proxy of the environment cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// A gRPC channel. It connects at the first call, and again when necessary.
#[derive(Debug)]
pub struct Channel {
    dialer: Dialer,
    /// The connection for new calls, and the time of its creation.
    current: Mutex<(transport::Channel, Instant)>,
    credentials: Option<Credentials>,
    headers: HeaderMap,
    call_deadline: Duration,
}

impl Channel {
    /// Opens a channel to `settings.uri`. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`ChannelError`]. A missing server is noticed only at the first call.
    pub fn open(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::open_in(settings, &environment)
    }

    fn open_in(settings: ChannelSettings, variables: Variables<'_>) -> Result<Self, ChannelError> {
        let endpoint = endpoint(&settings).map_err(|error| {
            let (uri, cause) = (settings.uri.clone(), causes(&error));
            ChannelError::Endpoint { uri, cause }
        })?;
        let proxy = proxy::of(endpoint.uri(), variables)?;
        if let Some(proxy) = &proxy {
            tracing::info!("The sink {} is reached through the proxy {}.", settings.uri, proxy.uri());
        }
        let dialer = Dialer { endpoint, proxy };
        let current = Mutex::new((dialer.connection(), Instant::now()));
        let ChannelSettings { credentials, headers, call_deadline, .. } = settings;
        Ok(Channel { dialer, current, credentials, headers, call_deadline })
    }

    /// Returns the identity of the calls to Google.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.credentials.as_ref().map_or(Caller::Unsigned, |credentials| Caller::Signed(credentials.identity()))
    }

    /// Calls `method` with one message and returns the message of the answer. The call is signed, and `headers`
    /// override all other headers.
    ///
    /// # Errors
    /// The failure, with the party that it comes from. A call without an answer fails at the deadline.
    pub async fn unary(&self, method: PathAndQuery, headers: HeaderMap, message: Bytes) -> Result<Bytes, Failure> {
        let call = self.call(method, headers, message);
        let late = || Failure::connection(Status::deadline_exceeded("no answer within the call's deadline"));
        tokio::time::timeout(self.call_deadline, call).await.unwrap_or_else(|_| Err(late()))
    }

    async fn call(&self, method: PathAndQuery, headers: HeaderMap, message: Bytes) -> Result<Bytes, Failure> {
        let mut all_headers = self.headers.clone();
        let mut sign_in = None;
        if let Some(credentials) = &self.credentials {
            let signature = credentials.signature().await.map_err(Failure::credentials)?;
            all_headers.extend(signature.headers);
            sign_in = Some((credentials, signature.sign_in));
        }
        all_headers.extend(headers);
        let result = self.exchange(request(method, all_headers, self.call_deadline, message)).await;
        if let (Err(failure), Some((credentials, sign_in))) = (&result, sign_in)
            && failure.code() == Code::Unauthenticated
        {
            credentials.renew(sign_in);
        }
        result
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Bytes, Failure> {
        let (mut connection, since) = self.connection();
        if let Err(error) = connection.ready().await {
            self.abandon(since);
            return Err(Failure::connection(explained(Status::from_error(error.into()))));
        }
        let response = connection.call(request).await;
        answer::read(response.map_err(|error| Failure::connection(explained(Status::from_error(error.into()))))?).await
    }

    /// Returns the connection for a call that starts now.
    fn connection(&self) -> (transport::Channel, Instant) {
        let mut current = self.current.lock();
        if current.1.elapsed() >= CONNECTION_AGE_MAX {
            *current = (self.dialer.connection(), Instant::now());
        }
        current.clone()
    }

    /// Replaces the connection that was created at `since`. Its task has ended, so it cannot be used any more.
    fn abandon(&self, since: Instant) {
        let mut current = self.current.lock();
        if current.1 == since {
            *current = (self.dialer.connection(), Instant::now());
        }
    }
}

/// Builds the request of a unary call (gRPC `doc/PROTOCOL-HTTP2.md`, Requests). The connection adds the address and the
/// user agent.
fn request(method: PathAndQuery, headers: HeaderMap, deadline: Duration, message: Bytes) -> Request<Body> {
    let mut prefix = [0; 5];
    prefix[1..].copy_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    let frames = [Bytes::copy_from_slice(&prefix), message].map(|bytes| Ok::<_, Status>(Frame::data(bytes)));
    let mut request = Request::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from(method);
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Ok(seconds) = HeaderValue::try_from(format!("{}S", deadline.as_secs())) {
        headers.insert(TIMEOUT, seconds);
    }
    request
}

/// Creates connections.
#[derive(Debug)]
struct Dialer {
    endpoint: Endpoint,
    proxy: Option<Intercept>,
}

impl Dialer {
    /// Returns a connection that is established at its first call, and again whenever it has ended.
    fn connection(&self) -> transport::Channel {
        let tcp = tcp();
        let Some(proxy) = &self.proxy else {
            return self.endpoint.connect_with_connector_lazy(Timeout::new(tcp, CONNECT_TIMEOUT));
        };
        let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        let tunnel = proxy.basic_auth().cloned().into_iter().fold(tunnel, Tunnel::with_auth);
        self.endpoint.connect_with_connector_lazy(Timeout::new(tunnel, CONNECT_TIMEOUT))
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(PROBE_AFTER));
    tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
    tcp.set_keepalive_retries(Some(PROBES));
    tcp
}

/// Returns the endpoint with its TLS settings. The HTTP/2 windows keep their defaults: large messages go to the server,
/// whose windows limit them, and answers are small.
fn endpoint(settings: &ChannelSettings) -> Result<Endpoint, transport::Error> {
    let endpoint = Endpoint::from_shared(settings.uri.clone())?
        .user_agent(USER_AGENT)?
        .http2_max_header_list_size(ANSWER_HEAD_BYTES_MAX)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    if endpoint.uri().scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Ok(endpoint);
    }
    let tls = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
    endpoint.tls_config(match &settings.ca_pem {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls.with_native_roots(),
    })
}

/// Returns the status of a failed connection with all causes in its message. The message of tonic has only the first
/// one.
fn explained(status: Status) -> Status {
    let Some(text) = status.source().map(causes) else { return status };
    let mut explained = Status::new(status.code(), text);
    explained.set_source(Arc::new(status));
    explained
}

#[cfg(test)]
mod tests;
