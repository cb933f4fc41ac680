//! One connection: what its requests share, and whether it is worth its place.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::tail::budget::Claim;

/// How often a connection is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// For the head of a request, or the beginning of HTTP/2, from its first byte: some round trips.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// For a peer to take what is written to it: as long as a body may take to come.
pub(super) const UNREAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Without a request. Google's load balancers keep connections for 600 s and ask backends to keep them longer, lest a
/// request meets a closing connection (<https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries>).
const IDLE_TIME_MAX: Duration = Duration::from_secs(620);

/// Why a connection is cut, as a metric label: its heads hold more than there is room for.
pub(super) const LARGE_HEAD: &str = "large_head";

/// Instead of a time: not so at present.
const NEVER: u64 = u64::MAX;

/// One connection, as admission and its watch see it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Export requests that were let in.
    pub(super) in_flight: AtomicUsize,
    /// Bytes admitted for requests that are not in the trace table yet.
    pub(super) reading_bytes: AtomicUsize,
    /// The turn of the runtime's queue in which it last had a request served; at first none.
    pub(super) last_turn: AtomicU64,
    /// What its requests hold of the reserve for heads.
    pub(super) head_bytes: AtomicUsize,
    /// What its requests hold of the memory budget's reserve.
    pub(super) claim: Arc<Claim>,

    epoch: Instant,
    is_http2: AtomicBool,
    cut: OnceLock<&'static str>,
    /// Requests whose answer has not been taken.
    open: AtomicUsize,
    /// When a request last began or ended.
    active_ms: AtomicU64,
    /// Since when a head is under way that has not come whole.
    head_ms: AtomicU64,
    /// Since when the peer takes nothing.
    blocked_ms: AtomicU64,
    /// Shared by all answers that were given since the watch last looked for old ones.
    answers: Mutex<Arc<()>>,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has had no request for a long time.
    Idle,
    /// It only costs; why, as a metric label.
    Cut(&'static str),
}

impl Connection {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Connection {
            in_flight: AtomicUsize::new(0),
            reading_bytes: AtomicUsize::new(0),
            last_turn: AtomicU64::new(u64::MAX),
            head_bytes: AtomicUsize::new(0),
            claim: Arc::default(),
            epoch: now,
            is_http2: AtomicBool::new(false),
            cut: OnceLock::new(),
            open: AtomicUsize::new(0),
            active_ms: AtomicU64::new(0),
            head_ms: AtomicU64::new(NEVER),
            blocked_ms: AtomicU64::new(NEVER),
            answers: Mutex::default(),
        }
    }

    /// So many bytes came over HTTP/1. They begin a head unless a request is under way.
    pub(super) fn read_http1(&self, bytes: usize) {
        self.is_http2.store(false, Relaxed);
        if self.open.load(Relaxed) == 0 && bytes > 0 {
            self.head_begins();
        }
    }

    /// Bytes came over HTTP/2, after which a head is under way or not.
    pub(super) fn read_http2(&self, is_in_head: bool) {
        self.is_http2.store(true, Relaxed);
        if is_in_head { self.head_begins() } else { self.head_ms.store(NEVER, Relaxed) }
    }

    fn head_begins(&self) {
        if self.head_ms.load(Relaxed) == NEVER {
            self.head_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// A request of HTTP/1 began or ended: what comes next is another head.
    fn head_ends(&self) {
        if !self.is_http2.load(Relaxed) {
            self.head_ms.store(NEVER, Relaxed);
        }
    }

    /// The connection ends because of its peer.
    pub(super) fn cut(&self, reason: &'static str) {
        let _ = self.cut.set(reason);
    }

    /// Why the connection ended, if [`Connection::cut`] ended it.
    pub(super) fn cut_reason(&self) -> Option<&'static str> {
        self.cut.get().copied()
    }

    /// The peer takes what is written, or not.
    pub(super) fn wrote(&self, is_blocked: bool) {
        let since_ms = self.blocked_ms.load(Relaxed);
        if is_blocked != (since_ms != NEVER) {
            self.blocked_ms.store(if is_blocked { self.now_ms() } else { NEVER }, Relaxed);
        }
    }

    /// Watches the connection until it has to end.
    pub(super) async fn watch(&self) -> End {
        let mut old_answers = Arc::new(());
        let mut looked_at = self.epoch;
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            if let Some(end) = self.end() {
                return end;
            }
            if looked_at.elapsed() >= UNREAD_TIME_MAX {
                if Arc::strong_count(&old_answers) > 1 {
                    return End::Cut("unread");
                }
                old_answers = std::mem::take(&mut *self.answers.lock());
                looked_at = Instant::now();
            }
        }
    }

    /// Why the connection has to end now, but for answers that are not taken.
    fn end(&self) -> Option<End> {
        let now_ms = self.now_ms();
        let since = |since: &AtomicU64, limit: Duration| {
            let since_ms = since.load(Relaxed);
            since_ms != NEVER && u128::from(now_ms.saturating_sub(since_ms)) > limit.as_millis()
        };
        let is_open = self.open.load(Relaxed) > 0;
        if since(&self.blocked_ms, UNREAD_TIME_MAX) {
            Some(End::Cut("unread"))
        } else if since(&self.head_ms, HEAD_TIME_MAX) {
            Some(End::Cut("slow_head"))
        } else {
            (!is_open && since(&self.active_ms, IDLE_TIME_MAX)).then_some(End::Idle)
        }
    }

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}

/// A request from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Arc<Connection>,
    /// There was no other one when it began.
    pub(super) is_alone: bool,
    /// Of an answer that has to be taken soon.
    unread: Option<Arc<()>>,
}

impl Exchange {
    /// A request of `connection` begins.
    pub(super) fn begin(connection: &Arc<Connection>) -> Self {
        let is_alone = connection.open.fetch_add(1, Relaxed) == 0;
        connection.head_ends();
        connection.active_ms.store(connection.now_ms(), Relaxed);
        Exchange { connection: Arc::clone(connection), is_alone, unread: None }
    }

    /// It is answered; the peer has [`UNREAD_TIME_MAX`] to take that.
    pub(super) fn answered(&mut self) {
        self.unread = Some(Arc::clone(&self.connection.answers.lock()));
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
