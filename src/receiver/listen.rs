//! Sockets and connections: binding, accepting, limits, and the two steps of a stop.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::either::Either;

use super::auth::Auth;
use super::connection::{Connection, End, Exchange, UNREAD_TIME_MAX};
use super::export::Exports;
use super::gate::Gate;
use super::reply::Answer;
use super::router::{Offer, Router, SCRAPES_MAX};
use super::slots::{Slot, Slots};
use super::tls::{self, Tls};
use super::wire::Wire;
use super::{Intake, ReceiverSettings, Scrape, health, queue};
use crate::telemetry::log::Throttle;
use crate::telemetry::{Health, Metrics};

/// What a connection holds that idles after a request, as measured; a silent one 3 KiB. It is not in the budget, because
/// probes and scrapes must get through when that is used up.
const CONNECTION_BYTES: usize = 32 << 10;

/// Connections at once, on all addresses, by memory: as many as hold three eighths of `memory.limit`, which by default
/// is what the container has beside it. 4,300 in 512 MiB: a few thousand processes that keep one each.
const CONNECTIONS_PART: (usize, usize) = (3, 8);

/// So many however small the memory is, as most of them are silent; no more however large it is: the usual limit of open
/// files is near.
const CONNECTIONS_RANGE: RangeInclusive<usize> = 2_048..=16_384;

/// The same for the address of `telemetry.listen`: probes and scrapes, which senders must not crowd out.
const TELEMETRY_CONNECTIONS_MAX: usize = 256;

/// How long a connection may exist without a byte, and again behind TLS. Clients speak first in both protocols; load balancers that open
/// connections ahead of time are given time.
pub(super) const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(60);

/// What is read of an HTTP/1 connection ahead of what is used, and the largest head of a request.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 << 10;

/// An HTTP/2 peer that says nothing is asked this often whether it still lives, and given as long to answer: a
/// half-open connection is gone after a minute.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Requests at once on one HTTP/2 connection: Cloud Run's largest concurrency for an instance, as its front end may
/// send all of them through one connection.
const HTTP2_STREAMS_MAX: u32 = 1000;

/// What a peer may send on a stream ahead of what was read: most requests go through without a pause, and
/// at 1 ms of round trip it allows 1 GB/s. Measured, 256 KiB costs half as much CPU again, and 4 MiB gains nothing.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same for a connection.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// What connection windows share. These bytes lie before the memory budget, so that the more connections there are,
/// the smaller is the window of the next.
const HTTP2_WINDOWS_BYTES: u32 = 64 << 20;

/// No window can be smaller (RFC 9113, 6.9.2).
const HTTP2_WINDOW_BYTES_MIN: u32 = 65_535;

/// Streams that a peer reset before they were looked at (rapid reset, CVE-2023-44487), then the connection is closed: as
/// many as the library's default.
const HTTP2_RESETS_PENDING_MAX: usize = 20;

/// Streams of one connection that had to be reset for errors of its peer (CVE-2025-8671 and the like), then it is
/// closed: as many as the library's default.
const HTTP2_ERRORS_MAX: usize = 1024;

/// What of one answer waits in the connection; only pages are larger than some hundred bytes.
const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;

/// The largest HTTP/2 frame taken. Measured on batches of 512 spans (290 KB): half the CPU of the default 16 KiB,
/// and no more than frames of 1 MiB, whose read buffers idle connections would keep.
const HTTP2_FRAME_BYTES_MAX: u32 = 64 << 10;

/// Headers of one request; OTLP needs some hundred bytes, Cloud Run adds tokens and trace headers.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// A pause after an accept has failed for want of file descriptors or memory: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Clients can bring about either line as often as they like.
static ACCEPT_LINES: Throttle = Throttle::new(1, Duration::from_secs(10));
static FAILED_LINES: Throttle = Throttle::new(1, Duration::from_secs(10));

/// An address that cannot be served.
#[derive(Debug, Error)]
#[error("cannot listen on {address} ({key}): {source}{hint}")]
pub struct BindError {
    /// Which setting has it.
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
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: take a higher one",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address: 0.0.0.0 takes all",
            io::ErrorKind::InvalidInput => "; write host:port, such as 0.0.0.0:4317",
            _ => "",
        };
        BindError { key, address: address.to_owned(), hint, source }
    }
}

/// Addresses that are bound; clients can connect, but are not served yet.
#[derive(Debug)]
pub struct Bound {
    otlp: Vec<Listener>,
    telemetry: Option<Listener>,
    connections_max: usize,
    tls: Option<Tls>,
    auth: Option<Auth>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    local: SocketAddr,
}

impl Listener {
    async fn bind(key: &'static str, address: &str) -> Result<Self, BindError> {
        let error = |source| BindError::new(key, address, source);
        let socket = TcpListener::bind(address).await.map_err(error)?;
        let local = socket.local_addr().map_err(error)?;
        Ok(Listener { socket, local })
    }
}

/// Connections that memory beside a budget of `limit_bytes` has room for.
fn connections_max(limit_bytes: usize) -> usize {
    let (part, whole) = CONNECTIONS_PART;
    (limit_bytes / whole * part / CONNECTION_BYTES).clamp(*CONNECTIONS_RANGE.start(), *CONNECTIONS_RANGE.end())
}

impl Bound {
    pub(super) async fn bind(addresses: &[String]) -> Result<Self, BindError> {
        let mut otlp = Vec::with_capacity(addresses.len());
        for address in addresses {
            otlp.push(Listener::bind("otlp.listen", address).await?);
        }
        Ok(Bound { otlp, telemetry: None, connections_max: *CONNECTIONS_RANGE.start(), tls: None, auth: None })
    }

    /// Takes as many connections as a budget of `limit_bytes` leaves memory for.
    #[must_use]
    pub fn sized_for(mut self, limit_bytes: usize) -> Self {
        self.connections_max = connections_max(limit_bytes);
        self
    }

    /// Moves `/metrics` to an address of its own, which has the probes as well, and no TLS.
    ///
    /// # Errors
    /// It cannot be bound.
    pub async fn telemetry_on(mut self, address: Option<&str>) -> Result<Self, BindError> {
        if let Some(address) = address {
            self.telemetry = Some(Listener::bind("telemetry.listen", address).await?);
        }
        Ok(self)
    }

    /// Puts TLS in front of the OTLP addresses.
    #[must_use]
    pub fn behind(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Asks senders of spans who they are.
    #[must_use]
    pub fn guarded_by(mut self, auth: Option<Auth>) -> Self {
        self.auth = auth;
        self
    }

    /// The OTLP addresses in the order of the configuration, with the ports that the system chose for port 0.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.otlp.iter().map(|listener| listener.local).collect()
    }

    /// The address that `/metrics` has of its own.
    #[must_use]
    pub fn telemetry_addr(&self) -> Option<SocketAddr> {
        self.telemetry.as_ref().map(|listener| listener.local)
    }

    /// Serves all addresses until [`Receiver::close`]. `scrape` makes the text of `/metrics`. Call it inside a tokio
    /// runtime.
    #[must_use]
    pub fn serve<I: Intake>(
        self,
        settings: ReceiverSettings,
        intake: Arc<I>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        scrape: Scrape,
    ) -> Receiver {
        let gate = Arc::new(Gate::new());
        let tls = self.tls.as_ref().map(Tls::state);
        let mut followers = JoinSet::new();
        if let Some(tls) = self.tls {
            followers.spawn(tls.renew(Arc::clone(&metrics)));
        }
        let mut exports = Exports::new(intake, Arc::clone(&metrics), Arc::clone(&gate), settings.max_request_bytes);
        if let Some(auth) = self.auth {
            exports.guard = Some(auth.guard());
            followers.spawn(auth.renew(metrics));
        }
        let router = Arc::new(Router {
            exports,
            grpc_health: health::server(Arc::clone(&health)),
            health: Arc::clone(&health),
            scrape,
            scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)),
        });
        tokio::spawn(queue::keep_short(Arc::downgrade(router.exports.queue())));
        tokio::spawn(queue::keep_probing(Arc::downgrade(router.exports.queue())));
        let phase = watch::Sender::new(Phase::Serving);
        let mut acceptors = JoinSet::new();
        let mut accept = |listener: Listener, offer, slots: &Arc<Slots>, tls: &Option<Arc<tls::State>>| {
            let acceptor = Acceptor {
                listener: listener.socket,
                offer,
                router: Arc::clone(&router),
                slots: Arc::clone(slots),
                tls: tls.clone(),
                phase: phase.subscribe(),
            };
            acceptors.spawn(acceptor.run());
        };
        let otlp = Offer { spans: true, metrics: self.telemetry.is_none() };
        let slots = Slots::new(self.connections_max);
        self.otlp.into_iter().for_each(|listener| accept(listener, otlp, &slots, &tls));
        let slots = Slots::new(TELEMETRY_CONNECTIONS_MAX);
        self.telemetry.into_iter().for_each(|listener| accept(listener, Offer::TELEMETRY, &slots, &None));
        Receiver { health, gate, phase, acceptors, _followers: followers }
    }
}

/// What connections are told.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Serving,
    /// End with the requests in flight. New connections are still taken, for the last scrape.
    Stopping,
    /// As before, within this time, and no new connections.
    Closing(Duration),
}

/// A receiver at work. If it is dropped, everything closes at once.
#[derive(Debug)]
pub struct Receiver {
    health: Arc<Health>,
    gate: Arc<Gate>,
    phase: watch::Sender<Phase>,
    acceptors: JoinSet<()>,
    /// They take what is renewed, for as long as there is a receiver.
    _followers: JoinSet<()>,
}

impl Receiver {
    /// Binds the addresses (`host:port`) of `otlp.listen`.
    ///
    /// # Errors
    /// [`BindError`] for the first one that cannot be bound; none is bound then.
    pub async fn bind(listen: &[String]) -> Result<Bound, BindError> {
        Bound::bind(listen).await
    }

    /// Resolves when an address is served no more though nobody asked for that, which only a panic brings about: the
    /// process must not go on as if it were.
    pub async fn failed(&mut self) -> String {
        match self.acceptors.join_next().await {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) => "without an error".to_owned(),
            None => std::future::pending().await,
        }
    }

    /// First step of a stop: from now on `/readyz` and grpc.health.v1 say no, new export requests are refused,
    /// retryably, and connections end after their requests in flight; `/metrics` and `/livez` are still answered, on
    /// new connections too. Returns when all requests in flight have been answered, at most after `grace`; those
    /// that have not by then are refused. [`Intake::accept`] is not called any more.
    pub async fn stop_accepting(&self, grace: Duration) {
        self.health.set_stopping();
        self.phase.send_replace(Phase::Stopping);
        self.gate.close(grace).await;
    }

    /// Second step: no new connections; those that are open end, at most after `grace`.
    pub async fn close(mut self, grace: Duration) {
        self.phase.send_replace(Phase::Closing(grace));
        while let Some(ended) = self.acceptors.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "A listener failed.");
            }
        }
    }
}

/// Limits of the `number`th connection, of whichever protocol.
fn connection_builder(number: usize) -> auto::Builder<TokioExecutor> {
    let share = HTTP2_WINDOWS_BYTES / u32::try_from(number.max(1)).unwrap_or(u32::MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(share.clamp(HTTP2_WINDOW_BYTES_MIN, HTTP2_CONNECTION_WINDOW_BYTES))
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_PENDING_MAX)
        .max_local_error_reset_streams(HTTP2_ERRORS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_INTERVAL);
    builder
}

/// Takes the connections of one address.
struct Acceptor<I> {
    listener: TcpListener,
    offer: Offer,
    router: Arc<Router<I>>,
    slots: Arc<Slots>,
    tls: Option<Arc<tls::State>>,
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
        let Some(slot) = self.slots.take(peer) else {
            self.router.exports.metrics.connection_refused();
            return;
        };
        let mut phase = self.phase.clone();
        phase.mark_unchanged();
        let (router, tls, offer) = (Arc::clone(&self.router), self.tls.clone(), self.offer);
        connections.spawn(async move { serve(stream, tls.as_deref(), router, offer, slot, phase).await });
    }
}

/// Serves the connection that has `slot` to its end.
async fn serve<I: Intake>(
    stream: TcpStream,
    tls: Option<&tls::State>,
    router: Arc<Router<I>>,
    offer: Offer,
    slot: Slot,
    mut phase: watch::Receiver<Phase>,
) {
    let spoke = tokio::select! {
        readable = tokio::time::timeout(FIRST_BYTE_TIME_MAX, stream.readable()) => matches!(readable, Ok(Ok(()))),
        _ = phase.changed() => false,
    };
    // Without it small answers would wait for the acknowledgement of earlier ones (Nagle).
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
        },
    };
    let connection = Arc::new(Connection::new());
    let wire = Wire { stream, connection: Arc::clone(&connection) };
    let service = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| {
            let (router, connection) = (Arc::clone(&router), Arc::clone(&connection));
            async move {
                let exchange = Exchange::begin(&connection);
                let response = router.answer(offer, request, &connection).await;
                Ok::<_, Infallible>(Answer::to(exchange, response))
            }
        })
    };
    let builder = connection_builder(slot.number);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(wire), service));
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
            End::Cut(reason) => {
                metrics.connection_cut(reason);
                Ok(())
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A connection broke off.");
    }
}

/// Waits for the order to close, and returns the time that is left for it.
async fn closing(phase: &mut watch::Receiver<Phase>) -> Duration {
    match phase.wait_for(|phase| matches!(phase, Phase::Closing(_))).await.as_deref() {
        Ok(&Phase::Closing(grace)) => grace,
        // The receiver was dropped.
        _ => Duration::ZERO,
    }
}

/// Waits out what makes every accept fail; what concerns one connection alone is over already.
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
        tracing::error!(%error, others, "A connection's task failed.");
    }
}

#[cfg(test)]
mod tests;
