//! State of one connection: the data that its requests share, and the checks that end it when it is idle or too costly.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::budget::Claim;
use crate::telemetry::metrics::CutReason;

/// Time between two checks of a connection.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Time for a request head, or for the HTTP/2 preface, from its first byte: enough for a few round trips.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// Time for a peer to read the bytes that are written to it: as long as a body may take to arrive.
pub(in crate::receiver) const UNREAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Time for a peer to read a scrape, or a document of the API: Prometheus gives up after 10 s by default. These are the
/// largest answers, and have one of few places.
const SCRAPE_TIME_MAX: Duration = Duration::from_secs(10);

/// Time that a connection may have no request. Google's load balancers keep connections for 600 s and ask backends to
/// keep them longer, so that no request meets a closing connection
/// (<https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries>).
const IDLE_TIME_MAX: Duration = Duration::from_secs(620);

/// Sentinel instead of a time: the condition does not hold.
const NEVER: u64 = u64::MAX;

/// State of one connection that admission and the watch use.
#[derive(Debug)]
pub(in crate::receiver) struct Connection {
    /// Export requests that hold a place in the queue.
    pub(in crate::receiver) in_flight: AtomicUsize,
    /// Bytes admitted for requests that are not in the trace table yet.
    pub(in crate::receiver) reading_bytes: AtomicUsize,
    /// The last turn of the runtime's queue in which a request of this connection was served. `u64::MAX` before the
    /// first.
    pub(in crate::receiver) last_turn: AtomicU64,
    /// Bytes that its requests hold in the reserve for heads.
    pub(in crate::receiver) head_bytes: AtomicUsize,
    /// Claim of its requests on the reserve of the memory budget.
    pub(in crate::receiver) claim: Arc<Claim>,

    /// Address of the peer, or the network that counts as one peer.
    pub(in crate::receiver) peer: IpAddr,

    epoch: Instant,
    /// Notified when the connection must make room for another one.
    dismissed: Notify,
    is_http2: AtomicBool,
    cut: OnceLock<CutReason>,
    /// Requests whose answer the peer has not taken yet.
    open: AtomicUsize,
    /// Time when a request last began or ended.
    active_ms: AtomicU64,
    /// Time since which a request head is incomplete, or [`NEVER`].
    head_ms: AtomicU64,
    /// Time since which the peer has not read anything, or [`NEVER`].
    blocked_ms: AtomicU64,
    answers: Unread,
    scrapes: Unread,
}

/// Answers that the peer has not taken yet.
#[derive(Debug, Default)]
struct Unread {
    /// Marker that all answers since the last check for old answers share.
    marker: Mutex<Arc<()>>,
}

/// Check for answers that are not taken in time.
#[derive(Debug)]
struct UnreadCheck<'c> {
    answers: &'c Unread,
    time_max: Duration,
    /// Marker of the answers from before the last check.
    old: Arc<()>,
    looked_at: Instant,
}

impl<'c> UnreadCheck<'c> {
    fn new(answers: &'c Unread, time_max: Duration, now: Instant) -> Self {
        UnreadCheck { answers, time_max, old: Arc::default(), looked_at: now }
    }

    /// Returns true if an answer has waited for the peer for `time_max` at least. It notices this after twice
    /// `time_max` and the time between two checks at the latest.
    fn is_late(&mut self) -> bool {
        if self.looked_at.elapsed() < self.time_max {
            return false;
        }
        let is_late = Arc::strong_count(&self.old) > 1;
        self.old = std::mem::take(&mut *self.answers.marker.lock());
        self.looked_at = Instant::now();
        is_late
    }
}

/// Reason why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The connection has had no request for [`IDLE_TIME_MAX`].
    Idle,
    /// Another connection needs the place of this one, which has no request.
    Crowded,
    /// The connection costs resources without progress. The value is the metric label of the reason.
    Cut(CutReason),
}

impl Connection {
    /// Returns a connection from an address that does not matter.
    #[cfg(test)]
    pub(in crate::receiver) fn new() -> Self {
        Self::of(IpAddr::from([0; 4]))
    }

    /// Returns a new connection of `peer`.
    pub(in crate::receiver) fn of(peer: IpAddr) -> Self {
        let now = Instant::now();
        Connection {
            in_flight: AtomicUsize::new(0),
            reading_bytes: AtomicUsize::new(0),
            last_turn: AtomicU64::new(u64::MAX),
            head_bytes: AtomicUsize::new(0),
            claim: Arc::default(),
            peer,
            epoch: now,
            dismissed: Notify::new(),
            is_http2: AtomicBool::new(false),
            cut: OnceLock::new(),
            open: AtomicUsize::new(0),
            active_ms: AtomicU64::new(0),
            head_ms: AtomicU64::new(NEVER),
            blocked_ms: AtomicU64::new(NEVER),
            answers: Unread::default(),
            scrapes: Unread::default(),
        }
    }

    /// Notes that `bytes` bytes arrived over HTTP/1. They begin a head unless a request is in progress.
    pub(super) fn read_http1(&self, bytes: usize) {
        self.is_http2.store(false, Relaxed);
        if self.open.load(Relaxed) == 0 && bytes > 0 {
            self.head_begins();
        }
    }

    /// Notes that bytes arrived over HTTP/2. `is_in_head` is true if they end within a head.
    pub(super) fn read_http2(&self, is_in_head: bool) {
        self.is_http2.store(true, Relaxed);
        if is_in_head { self.head_begins() } else { self.head_ms.store(NEVER, Relaxed) }
    }

    fn head_begins(&self) {
        if self.head_ms.load(Relaxed) == NEVER {
            self.head_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// Notes that an HTTP/1 request began or ended. The next bytes after its body begin another head.
    fn head_ends(&self) {
        if !self.is_http2.load(Relaxed) {
            self.head_ms.store(NEVER, Relaxed);
        }
    }

    /// Notes the reason why the connection is cut.
    pub(in crate::receiver) fn cut(&self, reason: CutReason) {
        let _ = self.cut.set(reason);
    }

    /// Returns the reason if [`Connection::cut`] was called.
    pub(super) fn cut_reason(&self) -> Option<CutReason> {
        self.cut.get().copied()
    }

    /// Returns the time since which the connection has had no request. `None` if it has one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_open = self.open.load(Relaxed) > 0;
        (!is_open).then(|| self.epoch + Duration::from_millis(self.active_ms.load(Relaxed)))
    }

    /// Ends the connection, because another one needs its place.
    pub(super) fn dismiss(&self) {
        self.cut(CutReason::Idle);
        self.dismissed.notify_one();
    }

    /// Resolves when the connection is dismissed.
    pub(super) async fn dismissed(&self) {
        self.dismissed.notified().await;
    }

    /// Returns a marker of a scrape or of a document, which the peer must take within [`SCRAPE_TIME_MAX`].
    pub(in crate::receiver) fn scrape(&self) -> Arc<()> {
        Arc::clone(&self.scrapes.marker.lock())
    }

    /// Returns a marker of an answer, or of a part of a stream, which the peer must take within [`UNREAD_TIME_MAX`].
    pub(in crate::receiver) fn answer(&self) -> Arc<()> {
        Arc::clone(&self.answers.marker.lock())
    }

    /// Notes if the last write was blocked because the peer does not read.
    pub(super) fn wrote(&self, is_blocked: bool) {
        let since_ms = self.blocked_ms.load(Relaxed);
        if is_blocked != (since_ms != NEVER) {
            self.blocked_ms.store(if is_blocked { self.now_ms() } else { NEVER }, Relaxed);
        }
    }

    /// Watches the connection. Returns when the connection must end.
    pub(super) async fn watch(&self) -> End {
        let now = Instant::now();
        let mut answers = UnreadCheck::new(&self.answers, UNREAD_TIME_MAX, now);
        let mut scrapes = UnreadCheck::new(&self.scrapes, SCRAPE_TIME_MAX, now);
        loop {
            tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
                () = self.dismissed() => return End::Crowded,
            }
            if let Some(end) = self.end() {
                return end;
            }
            // Both checks have to look.
            if answers.is_late() | scrapes.is_late() {
                return End::Cut(CutReason::Unread);
            }
        }
    }

    /// Returns the reason why the connection must end now. Does not check for answers that are not taken.
    fn end(&self) -> Option<End> {
        let now_ms = self.now_ms();
        let since = |since: &AtomicU64, limit: Duration| {
            let since_ms = since.load(Relaxed);
            since_ms != NEVER && u128::from(now_ms.saturating_sub(since_ms)) > limit.as_millis()
        };
        let is_open = self.open.load(Relaxed) > 0;
        if since(&self.blocked_ms, UNREAD_TIME_MAX) {
            Some(End::Cut(CutReason::Unread))
        } else if since(&self.head_ms, HEAD_TIME_MAX) {
            Some(End::Cut(CutReason::SlowHead))
        } else {
            (!is_open && since(&self.active_ms, IDLE_TIME_MAX)).then_some(End::Idle)
        }
    }

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}

/// One request, from its head to the end of its answer.
#[derive(Debug)]
pub(in crate::receiver) struct Exchange {
    connection: Arc<Connection>,
    /// The number of open requests of the connection when this one began.
    pub(in crate::receiver) others: usize,
    /// Marker of an answer that the peer must take soon.
    unread: Option<Arc<()>>,
}

impl Exchange {
    /// Begins a request of `connection`.
    pub(in crate::receiver) fn begin(connection: &Arc<Connection>) -> Self {
        let others = connection.open.fetch_add(1, Relaxed);
        connection.head_ends();
        connection.active_ms.store(connection.now_ms(), Relaxed);
        Exchange { connection: Arc::clone(connection), others, unread: None }
    }

    /// Notes that the request is answered. The peer has at least [`UNREAD_TIME_MAX`] to take the answer.
    pub(in crate::receiver) fn answered(&mut self) {
        self.unread = Some(self.connection.answer());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.head_ends();
        connection.active_ms.store(connection.now_ms(), Relaxed);
        connection.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
