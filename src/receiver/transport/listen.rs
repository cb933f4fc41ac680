//! Sockets and connections: binding, accepting, limits, and the two steps of a stop.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::either::Either;

use super::connection::{Connection, End, UNREAD_TIME_MAX};
use super::slots::ConnectionSlots;
use super::tls::{self, Tls};
use super::wire::Wire;
use super::{files, limits};
use crate::host::host_of;
use crate::receiver::admission::auth::Auth;
use crate::receiver::admission::gate::IntakeGate;
use crate::receiver::admission::heads::Heads;
use crate::receiver::admission::places::Places;
use crate::receiver::admission::queue;
use crate::receiver::body::export::Exports;
use crate::receiver::protocol::api::{Api, ApiRoutes};
use crate::receiver::protocol::cors::Cors;
use crate::receiver::protocol::health;
use crate::receiver::protocol::reflection::Reflection;
use crate::receiver::protocol::reply::Answer;
use crate::receiver::protocol::router::{Endpoints, Router, SCRAPES_MAX};
use crate::receiver::settings;
use crate::receiver::{Intake, ReceiverSettings, Scrape};
use crate::telemetry::log::Throttle;
use crate::telemetry::{Health, Metrics};

/// Largest number of connections to `telemetry.listen` and to an address of the API's own, together. It is separate, so
/// that senders cannot crowd out probes and scrapes.
const TELEMETRY_CONNECTIONS_MAX: usize = 64;

/// Time that a new connection may exist without a byte. It has the same time again after a TLS handshake. Clients speak
/// first in both protocols. Load balancers that open connections ahead of time get enough time.
pub(super) const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(60);

/// Time that a connection may take to end once another one has its place. It is enough for GOAWAY, and for a request
/// that began at the same moment.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(1);

/// Pause after an `accept` that failed because file descriptors or memory ran out. Without the pause the loop would
/// spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Throttles for two log lines that clients can cause as often as they like.
static ACCEPT_LINES: Throttle = Throttle::new(1, Duration::from_secs(10));
static FAILED_LINES: Throttle = Throttle::new(1, Duration::from_secs(10));

/// Error for an address that cannot be served.
#[derive(Debug, Error)]
#[error("cannot listen on {address} ({key}): {source}{hint}")]
pub struct BindError {
    /// The setting that has the address.
    pub key: &'static str,
    /// The address as configured.
    pub address: String,
    hint: &'static str,
    source: io::Error,
}

impl BindError {
    fn new(key: &'static str, address: &str, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => "; another process has this port, or it is listed twice",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: use a higher one",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address: 0.0.0.0 means all addresses",
            io::ErrorKind::InvalidInput => "; write host:port, such as 0.0.0.0:4317",
            _ => "",
        };
        BindError { key, address: address.to_owned(), hint, source }
    }
}

/// Bound addresses. Clients can connect, but are not served yet.
#[derive(Debug)]
pub struct BoundAddresses {
    otlp: Vec<Listener>,
    telemetry: Option<Listener>,
    /// The address of the API, unless it shares one of the others.
    api: Option<Listener>,
    tls: Option<Tls>,
    auth: Option<Auth>,
    cors: Option<settings::CorsSettings>,
    service: Option<ApiService>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    local: SocketAddr,
    /// The address as configured.
    configured: String,
    /// True if it serves the API.
    has_api: bool,
}

impl Listener {
    /// Returns the host names besides `localhost` that clients may call; `None` if others than clients on this machine can
    /// connect, which may have any name for it.
    fn own_hosts(&self) -> Option<Vec<String>> {
        self.local.ip().is_loopback().then(|| vec![host_of(&self.configured).to_owned()])
    }

    async fn bind(key: &'static str, address: &str) -> Result<Self, BindError> {
        let error = |source| BindError::new(key, address, source);
        let socket = TcpListener::bind(address).await.map_err(error)?;
        let local = socket.local_addr().map_err(error)?;
        Ok(Listener { socket, local, configured: address.to_owned(), has_api: false })
    }
}

impl BoundAddresses {
    pub(super) async fn bind(addresses: &[String]) -> Result<Self, BindError> {
        let mut otlp = Vec::with_capacity(addresses.len());
        for address in addresses {
            otlp.push(Listener::bind("otlp.listen", address).await?);
        }
        Ok(BoundAddresses { otlp, telemetry: None, api: None, tls: None, auth: None, cors: None, service: None })
    }

    /// Moves `/metrics` to an address of its own, which also serves the probes and has no TLS.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn telemetry_on(mut self, address: Option<&str>) -> Result<Self, BindError> {
        if let Some(address) = address {
            self.telemetry = Some(Listener::bind("telemetry.listen", address).await?);
        }
        Ok(self)
    }

    /// Serves the API on `address`: one of the other addresses if it is written in the same way, or else an address of
    /// its own, which has no TLS.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn api_on(mut self, address: Option<&str>) -> Result<Self, BindError> {
        let Some(address) = address else { return Ok(self) };
        // Port 0 becomes another port for each address.
        let is_it = |listener: &&mut Listener| listener.configured == address && !address.ends_with(":0");
        match self.otlp.iter_mut().chain(&mut self.telemetry).find(is_it) {
            Some(shared) => shared.has_api = true,
            None => self.api = Some(Listener { has_api: true, ..Listener::bind("api.listen", address).await? }),
        }
        Ok(self)
    }

    /// Puts TLS in front of the OTLP addresses.
    #[must_use]
    pub fn behind(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Requires authentication from senders of spans.
    #[must_use]
    pub fn guarded_by(mut self, auth: Option<Auth>) -> Self {
        self.auth = auth;
        self
    }

    /// Lets scripts in browsers send spans.
    #[must_use]
    pub fn open_to(mut self, cors: Option<settings::CorsSettings>) -> Self {
        self.cors = cors;
        self
    }

    /// Answers the requests to the API.
    #[must_use]
    pub fn answered_by(mut self, service: Option<ApiService>) -> Self {
        self.service = service;
        self
    }

    /// Returns the OTLP addresses in the order of the configuration. A port 0 is replaced by the port that the system
    /// chose.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.otlp.iter().map(|listener| listener.local).collect()
    }

    /// Returns the separate address of `/metrics`, if there is one.
    #[must_use]
    pub fn telemetry_addr(&self) -> Option<SocketAddr> {
        self.telemetry.as_ref().map(|listener| listener.local)
    }

    /// Returns the address of the API, if there is one.
    #[must_use]
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api_listener().map(|listener| listener.local)
    }

    fn api_listener(&self) -> Option<&Listener> {
        let mut all = self.otlp.iter().chain(&self.telemetry).chain(&self.api);
        all.find(|listener| listener.has_api)
    }

    /// Returns true if the address of the API has TLS.
    #[must_use]
    pub fn api_has_tls(&self) -> bool {
        self.tls.is_some() && self.otlp.iter().any(|listener| listener.has_api)
    }

    /// Serves all addresses until [`Receiver::close`]. `scrape` renders the text of `/metrics`. Must be called inside a
    /// tokio runtime.
    #[must_use]
    pub fn serve<I: Intake>(
        self,
        settings: ReceiverSettings,
        intake: Arc<I>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        scrape: Scrape,
    ) -> Receiver {
        let gate = Arc::new(IntakeGate::new());
        let limit_bytes = intake.budget().limit_bytes();
        let tls = self.tls.as_ref().map(Tls::state);
        let api_hosts = self.api_listener().and_then(Listener::own_hosts);
        let mut followers = JoinSet::new();
        if let Some(tls) = self.tls {
            followers.spawn(tls.renew(Arc::clone(&metrics)));
        }
        let mut exports = Exports::new(intake, Arc::clone(&metrics), Arc::clone(&gate), settings.max_request_bytes);
        if let Some(auth) = self.auth {
            exports.guard = Some(auth.guard());
            followers.spawn(auth.renew(Arc::clone(&metrics)));
        }
        let api = self.service.map(|ApiService { api, auth }| {
            // Without tokens of its own, the API takes those of senders.
            let guard = auth.as_ref().map(Auth::guard).or_else(|| exports.guard.clone());
            auth.map(|auth| followers.spawn(auth.renew(metrics)));
            ApiRoutes::new(api, guard, api_hosts)
        });
        let heads = Heads::new(limit_bytes);
        let router = Arc::new(Router {
            exports,
            heads: Arc::clone(&heads),
            cors: self.cors.as_ref().map(Cors::new),
            grpc_health: health::server(Arc::clone(&health)),
            reflection: settings.reflection.then(reflection).flatten(),
            health: Arc::clone(&health),
            api,
            scrape,
            scrapes: Places::new(SCRAPES_MAX),
            scrape_turn: Arc::new(Semaphore::new(1)),
        });
        tokio::spawn(queue::keep_short(Arc::downgrade(router.exports.queue())));
        tokio::spawn(queue::keep_probing(Arc::downgrade(router.exports.queue())));
        let phase = watch::Sender::new(Phase::Serving);
        let mut acceptors = JoinSet::new();
        let mut accept =
            |listener: Listener, mut endpoints: Endpoints, slots: &Arc<ConnectionSlots>, tls: &Option<_>| {
                endpoints.api = listener.has_api;
                let acceptor = Acceptor {
                    listener: listener.socket,
                    endpoints,
                    router: Arc::clone(&router),
                    slots: Arc::clone(slots),
                    tls: tls.clone(),
                    phase: phase.subscribe(),
                };
                acceptors.spawn(acceptor.run());
            };
        let otlp = Endpoints { spans: true, metrics: self.telemetry.is_none(), api: false };
        let connections_max = limits::connections_max(limit_bytes, tls.is_some());
        let connections_max = files::connections_within(files::raise_limit(), connections_max);
        let slots = ConnectionSlots::new(connections_max, limits::memory(limit_bytes, tls.is_some()));
        self.otlp.into_iter().for_each(|listener| accept(listener, otlp, &slots, &tls));
        let memory = limits::telemetry_memory(TELEMETRY_CONNECTIONS_MAX);
        let slots = ConnectionSlots::new(TELEMETRY_CONNECTIONS_MAX, memory);
        let telemetry = Endpoints { spans: false, metrics: true, api: false };
        self.telemetry.into_iter().for_each(|listener| accept(listener, telemetry, &slots, &None));
        let api = Endpoints { spans: false, metrics: false, api: true };
        self.api.into_iter().for_each(|listener| accept(listener, api, &slots, &None));
        Receiver { health, gate, heads, phase, acceptors, _followers: followers }
    }
}

/// The daemon's API, and the authentication of its clients. Without one of its own, clients need the tokens of senders, if
/// senders need any.
pub struct ApiService {
    /// Source of the answers.
    pub api: Arc<dyn Api>,
    /// Authentication of clients.
    pub auth: Option<Auth>,
}

impl std::fmt::Debug for ApiService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiService").field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// Makes the reflection services. Returns `None` if the descriptors in the program are not valid, which is a mistake in
/// the build. The daemon then accepts spans as usual.
fn reflection() -> Option<Reflection> {
    Reflection::new().inspect_err(|error| tracing::error!(%error, "gRPC server reflection is not served.")).ok()
}

/// State of the receiver, which all connections follow.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Serving,
    /// Connections end after their requests in flight. New connections are still accepted, for the last scrape.
    Stopping,
    /// Connections end within this time. No new connections are accepted.
    Closing(Duration),
}

/// A receiver that serves. If it is dropped, everything closes at once.
#[derive(Debug)]
pub struct Receiver {
    health: Arc<Health>,
    gate: Arc<IntakeGate>,
    heads: Arc<Heads>,
    phase: watch::Sender<Phase>,
    acceptors: JoinSet<()>,
    /// Tasks that take renewed certificates, tokens and keys. They end with the receiver.
    _followers: JoinSet<()>,
}

impl Receiver {
    /// Binds the addresses (`host:port`) of `otlp.listen`.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be bound. No address is bound then.
    pub async fn bind(listen: &[String]) -> Result<BoundAddresses, BindError> {
        BoundAddresses::bind(listen).await
    }

    /// Returns the bytes that requests hold in addition to their bodies, except requests that are alone on their
    /// connection.
    #[must_use]
    pub fn head_bytes(&self) -> usize {
        self.heads.used_bytes()
    }

    /// Resolves when a listener has ended before a stop, which only a panic can cause. Returns its error. The process
    /// must exit, because an address is no longer served.
    pub async fn failed(&mut self) -> String {
        match self.acceptors.join_next().await {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) => "without an error".to_owned(),
            None => std::future::pending().await,
        }
    }

    /// First step of a stop. From now on `/readyz` and grpc.health.v1 report that the process is not ready, and new
    /// export requests are refused as retryable. Connections end after their requests in flight. `/metrics` and
    /// `/livez` are still answered, also on new connections.
    ///
    /// Returns when all requests in flight have been answered, at most after `grace`. The requests that are left then
    /// are refused. After it returns, [`Intake::accept`] is not called.
    pub async fn stop_accepting(&self, grace: Duration) {
        self.health.set_stopping();
        self.phase.send_replace(Phase::Stopping);
        self.gate.close(grace).await;
    }

    /// Second step of a stop: accepts no new connections. The open ones end, at most after `grace`.
    pub async fn close(mut self, grace: Duration) {
        self.phase.send_replace(Phase::Closing(grace));
        while let Some(ended) = self.acceptors.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "A listener failed.");
            }
        }
    }
}

/// Accepts the connections of one address.
struct Acceptor<I> {
    listener: TcpListener,
    endpoints: Endpoints,
    router: Arc<Router<I>>,
    slots: Arc<ConnectionSlots>,
    tls: Option<Arc<tls::TlsState>>,
    phase: watch::Receiver<Phase>,
}

impl<I: Intake> Acceptor<I> {
    async fn run(mut self) {
        let mut connections = JoinSet::new();
        let grace = loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.connect(stream, peer.ip(), &mut connections),
                    Err(error) => pause_after(&error).await,
                },
                Some(ended) = connections.join_next() => report(ended),
                grace = closing(&mut self.phase) => break grace,
            }
        };
        drop(self.listener);
        let ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn connect(&self, stream: TcpStream, peer: IpAddr, connections: &mut JoinSet<()>) {
        // Probes have an address of their own so that they need nothing that senders could use up.
        let borrows = self.endpoints.spans;
        let intake = self.router.exports.intake();
        let admit = |bytes| {
            let budget = borrows.then(|| intake.budget())?;
            budget.reserve(bytes).or_else(|| intake.admit(bytes))
        };
        let Some(mut slot) = self.slots.acquire(peer, admit) else {
            self.router.exports.metrics.connection_refused();
            return;
        };
        let mut phase = self.phase.clone();
        phase.mark_unchanged();
        let (router, tls, endpoints) = (Arc::clone(&self.router), self.tls.clone(), self.endpoints);
        let connection = Arc::clone(&slot.connection);
        connections.spawn(async move {
            let (room_bytes, intake) = (slot.room_bytes, Arc::clone(router.exports.intake()));
            let metrics = Arc::clone(&router.exports.metrics);
            tokio::select! {
                () = serve(stream, tls.as_deref(), router, endpoints, &connection, room_bytes, phase) => {}
                never = slot.borrow(intake.budget()), if borrows => never,
            }
            if let Some(reason) = connection.cut_reason() {
                metrics.connection_cut(reason);
            }
        });
    }
}

/// Serves a connection with `room_bytes` until it ends.
async fn serve<I: Intake>(
    stream: TcpStream,
    tls: Option<&tls::TlsState>,
    router: Arc<Router<I>>,
    endpoints: Endpoints,
    connection: &Arc<Connection>,
    room_bytes: usize,
    mut phase: watch::Receiver<Phase>,
) {
    let spoke = tokio::select! {
        readable = tokio::time::timeout(FIRST_BYTE_TIME_MAX, stream.readable()) => matches!(readable, Ok(Ok(()))),
        _ = phase.changed() => false,
        () = connection.dismissed() => false,
    };
    // Without this option, small answers wait for the acknowledgement of earlier ones (Nagle's algorithm).
    if !spoke || stream.set_nodelay(true).is_err() {
        return;
    }
    let metrics = Arc::clone(&router.exports.metrics);
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => tokio::select! {
            accepted = tls.accept(stream, &metrics) => match accepted {
                Some(stream) => Either::Right(stream),
                None => return,
            },
            _ = phase.changed() => return,
            () = connection.dismissed() => return,
        },
    };
    let turn_bytes_max = limits::turn_bytes_max(room_bytes);
    let mut wire = Wire::new(stream, Arc::clone(connection), Arc::clone(&router.heads), turn_bytes_max);
    let service = {
        let connection = Arc::clone(connection);
        service_fn(move |request| {
            // Runs in the connection's own turn, so that a request is counted before it waits for a turn of its own.
            let (begun, request) = router.begin(endpoints, request, &connection);
            let (router, connection) = (Arc::clone(&router), Arc::clone(&connection));
            async move {
                let response = match request {
                    // Boxed, so that the task of a refused request is small.
                    Ok(request) => Box::pin(router.answer(endpoints, request, &connection)).await,
                    Err(refused) => refused,
                };
                Ok::<_, Infallible>(Answer::to(begun, response))
            }
        })
    };
    let greeted = tokio::select! {
        greeted = wire.greet() => greeted,
        _ = phase.changed() => return,
        end = connection.watch() => {
            if let End::Cut(reason) = end {
                connection.cut(reason);
            }
            Err(io::Error::from(io::ErrorKind::TimedOut))
        }
    };
    let wire = TokioIo::new(wire);
    let ended = match greeted {
        Ok(true) => {
            let serving = limits::http2_builder(room_bytes).serve_connection(wire, service);
            drive(serving, connection, &mut phase).await
        }
        Ok(false) => {
            let serving = limits::http1_builder(room_bytes).serve_connection(wire, service);
            drive(serving, connection, &mut phase).await
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = ended {
        tracing::debug!(error, "A connection ended with an error.");
    }
}

/// Serves a connection until it ends by itself, the receiver stops, or its watch ends it.
async fn drive<C: GracefulConnection<Error: std::fmt::Display>>(
    serving: C,
    connection: &Connection,
    phase: &mut watch::Receiver<Phase>,
) -> Result<(), String> {
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = phase.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        end = connection.watch() => match end {
            End::Idle => {
                serving.as_mut().graceful_shutdown();
                tokio::time::timeout(UNREAD_TIME_MAX, serving).await.unwrap_or(Ok(()))
            }
            End::Crowded => {
                serving.as_mut().graceful_shutdown();
                tokio::time::timeout(LEAVING_TIME_MAX, serving).await.unwrap_or(Ok(()))
            }
            End::Cut(reason) => {
                connection.cut(reason);
                Ok(())
            }
        },
    };
    ended.map_err(|error| error.to_string())
}

/// Waits for the order to close. Returns the time that connections have to end.
async fn closing(phase: &mut watch::Receiver<Phase>) -> Duration {
    match phase.wait_for(|phase| matches!(phase, Phase::Closing(_))).await.as_deref() {
        Ok(&Phase::Closing(grace)) => grace,
        // The receiver was dropped.
        _ => Duration::ZERO,
    }
}

/// Pauses after an error that would fail every `accept` (for example EMFILE). Errors of a single connection need no
/// pause.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    if let Some(others) = ACCEPT_LINES.pass(Instant::now()) {
        tracing::warn!(%error, others, "Cannot accept connections.");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Some(others) = FAILED_LINES.pass(Instant::now())
    {
        tracing::error!(%error, others, "The task of a connection failed.");
    }
}

#[cfg(test)]
mod tests;
