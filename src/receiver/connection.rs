//! What the requests of one connection share: its part of what others need as well.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How fast what a connection has taken is forgotten: about as long as a full memory takes to have room again.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// One connection, as admission sees it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Export requests that were let in.
    pub(super) in_flight: AtomicUsize,
    /// Bytes admitted for requests that are not in the trace table yet.
    pub(super) reading_bytes: AtomicUsize,
    /// The turn of the runtime's queue in which it last had a request served; at first none.
    pub(super) last_turn: AtomicU64,
    recent: Mutex<Recent>,
}

/// Bytes, halved every [`HALF_LIFE`].
#[derive(Debug)]
struct Recent {
    bytes: f64,
    at: Instant,
}

impl Connection {
    pub(super) fn new() -> Self {
        Connection {
            in_flight: AtomicUsize::new(0),
            reading_bytes: AtomicUsize::new(0),
            last_turn: AtomicU64::new(u64::MAX),
            recent: Mutex::new(Recent { bytes: 0.0, at: Instant::now() }),
        }
    }

    /// Adds `bytes` to what was admitted lately, if the sum is no more than `bytes_max`.
    pub(super) fn take(&self, bytes: usize, bytes_max: usize) -> bool {
        let now = Instant::now();
        let mut recent = self.recent.lock();
        let half_lives = (now - recent.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        let sum = recent.bytes * (-half_lives).exp2() + bytes as f64;
        let fits = sum <= bytes_max as f64;
        if fits {
            *recent = Recent { bytes: sum, at: now };
        }
        fits
    }
}
