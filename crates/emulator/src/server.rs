//! The embedded Cloud Trace on a port: gRPC (h2c) for exporters, HTTP for browsers and scripts.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic_health::pb::health_server::HealthServer;
use tower::ServiceExt;

use super::health::{self, EmulatorHealth};
use super::host::Hosts;
use super::origin::DaemonQueries;
use super::page::{self, Site};
use super::rest;
use super::service::EmulatorService;
use super::store::TraceStore;
use crate::proto::google::devtools::cloudtrace::v2::trace_service_server::TraceServiceServer;

/// Maximum open connections; further ones wait in the kernel's queue. One daemon and some browsers need far fewer.
const CONNECTIONS_MAX: usize = 1_024;
/// Maximum concurrent gRPC calls; further ones wait. Each may buffer [`super::service::CALL_BYTES_MAX`].
const CALLS_MAX: usize = 16;
/// The deadline of a call, the same as that of the real service.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// Maximum time for a client to send the head of an HTTP/1.1 request, be it the first on its connection or a later one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between the pings that check an HTTP/2 connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Maximum time that [`Emulator::shutdown`] waits for calls in progress.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// Pause after a failed `accept`. Without file descriptors, the next `accept` would fail at once, too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running embedded Cloud Trace. It stops when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    local_addr: SocketAddr,
    store: Arc<TraceStore>,
    origin: Arc<OnceLock<Arc<dyn DaemonQueries>>>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Emulator {
    /// Starts serving on `listen` (`host:port`; port 0 selects a free port) with a store of at most `max_bytes` bytes.
    ///
    /// # Errors
    /// The server cannot listen on `listen`; the error names it.
    pub async fn start(listen: &str, max_bytes: usize) -> io::Result<Self> {
        Self::start_as(listen, max_bytes, &[]).await
    }

    /// Starts like [`Emulator::start`], and also answers clients that call it by one of `allowed_hosts`
    /// (see `emulator/host.rs`).
    ///
    /// # Errors
    /// The server cannot listen on `listen`; the error names it.
    pub async fn start_as(listen: &str, max_bytes: usize, allowed_hosts: &[String]) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {listen}: {e}"));
        let listener = TcpListener::bind(listen).await.map_err(named)?;
        let local_addr = listener.local_addr().map_err(named)?;
        let store = Arc::new(TraceStore::new(max_bytes));
        let origin = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let hosts = Hosts::new(listen, allowed_hosts);
        let handler = Handler::new(Arc::clone(&store), Arc::clone(&origin), hosts);
        let serving = tokio::spawn(serve(listener, handler, stopped));
        Ok(Emulator { local_addr, store, origin, stop, serving })
    }

    /// Sets the daemon that the page asks about traces that are not stored. Only the first call has an effect.
    pub fn written_by(&self, origin: Arc<dyn DaemonQueries>) {
        let _ = self.origin.set(origin);
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the URL for clients on this machine. It is the URL of the page, and a value for `export.endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        if self.local_addr.ip().is_unspecified() {
            return format!("http://localhost:{}", self.local_addr.port());
        }
        format!("http://{}", self.local_addr)
    }

    /// Returns the store with the written spans.
    #[must_use]
    pub fn store(&self) -> &Arc<TraceStore> {
        &self.store
    }

    /// Stops accepting connections, and gives calls in progress a short time to finish.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(e) = self.serving.await {
            tracing::error!(error = %e, "The embedded Cloud Trace did not stop cleanly.");
        }
    }
}

/// Accepts connections until `stopped` receives a message or its sender is dropped.
async fn serve(listener: TcpListener, handler: Handler, stopped: oneshot::Receiver<()>) {
    let mut stopped = pin!(stopped);
    let builder = connection_builder();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(&builder, stream, &handler, &graceful));
                }
                Err(e) => {
                    tracing::warn!(error = %e, "The embedded Cloud Trace could not accept a connection.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // Connections that are still open after the grace period are closed when the set is dropped.
    let _ = timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE_INTERVAL);
    builder
}

fn connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    handler: &Handler,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let handler = handler.clone();
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.handle(request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "A connection to the embedded Cloud Trace broke.");
        }
    }
}

/// The part of the server that sends each request to gRPC, to the JSON API or to the pages.
#[derive(Clone, Debug)]
struct Handler {
    store: Arc<TraceStore>,
    origin: Arc<OnceLock<Arc<dyn DaemonQueries>>>,
    hosts: Hosts,
    service: EmulatorService,
    grpc: TraceServiceServer<EmulatorService>,
    health: HealthServer<EmulatorHealth>,
    calls: Arc<Semaphore>,
}

impl Handler {
    fn new(store: Arc<TraceStore>, origin: Arc<OnceLock<Arc<dyn DaemonQueries>>>, hosts: Hosts) -> Self {
        let service = EmulatorService::new(Arc::clone(&store));
        let (grpc, health) = (service.clone().server(), EmulatorHealth::server());
        Handler { store, origin, hosts, service, grpc, health, calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    async fn handle(self, request: Request<Incoming>) -> Response<Body> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        // No browser speaks HTTP/2 without TLS. An exporter may use any name that its network gives this server.
        let is_writer = is_grpc && request.version() == Version::HTTP_2;
        if !is_writer && let Err(message) = self.hosts.check(request.uri(), request.headers()) {
            return page::refuse_host(&message).map(|body| Body::new(Full::new(body)));
        }
        let path = request.uri().path();
        if is_grpc {
            let deadline = timeout(CALL_DEADLINE, self.call(request)).await;
            deadline.unwrap_or_else(|_| {
                Status::deadline_exceeded(format!("the call took longer than {CALL_DEADLINE:?}")).into_http()
            })
        } else if path.starts_with(rest::PREFIX) {
            let deadline = timeout(CALL_DEADLINE, self.rest(request)).await;
            deadline.unwrap_or_else(|_| rest::too_slow(CALL_DEADLINE)).map(|body| Body::new(Full::new(body)))
        } else {
            let site = Site { store: &self.store, origin: self.origin.get().map(|origin| &**origin) };
            page::respond(site, request.method(), request.uri()).map(|body| Body::new(Full::new(body)))
        }
    }

    async fn call(self, request: Request<Incoming>) -> Response<Body> {
        // Health calls do not count towards `CALLS_MAX`: they must be answered while all permits are taken.
        let answer = if request.uri().path().starts_with(health::PREFIX) {
            self.health.oneshot(request).await
        } else {
            let Ok(_turn) = self.calls.acquire().await else { return Status::unavailable("stopping").into_http() };
            self.grpc.oneshot(request).await
        };
        match answer {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn rest(self, request: Request<Incoming>) -> Response<Bytes> {
        let _turn = self.calls.acquire().await;
        let (head, body) = request.into_parts();
        rest::respond(&self.service, &head.method, head.uri.path(), &head.headers, body).await
    }
}
