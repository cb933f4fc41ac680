//! Recordings of the requests that the daemon receives: the clients that record, and their queues.
//!
//! Invariants
//! - Without a client that records, a request costs one relaxed load of [`RecordingHub::is_recording`].
//! - Nothing waits for a client. Requests for which its queue has no room are left out and counted, and the recording says
//!   how many. The same holds while memory or the processor is short, before anything else gives way.
//! - The number of clients is limited, and the memory of each is reserved in the budget before it records.
//! - Attributes are left out and hashed before a byte leaves the daemon.

mod load;
mod queue;
mod records;
mod redaction;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use thiserror::Error;

use self::load::Load;
use self::queue::Queue;
pub use self::redaction::{QueryError, Redaction};
pub use self::stream::{REMARK_DELAY_MAX, RecordingStream};
use crate::budget::{Budget, ladder};
use crate::tail::table::Millis;

/// The most clients that record at once: one for each of two operators who look into the same incident.
pub const RECORDINGS_MAX: usize = 2;

/// The most bytes of requests that wait for a client: a few tenths of a second of 20,000 spans a second. A larger request
/// is never recorded.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// The bytes that are sent at once, if no single request is larger: enough for large writes, and little enough that a worker
/// is not kept from other connections for more than a fraction of a millisecond.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes that a client takes of the memory budget: its queue with the requests that were taken from it last, their records,
/// which may be as large as one request with its attributes changed, and what the connection still holds of earlier ones.
const CLIENT_BYTES: usize = 2 * QUEUE_BYTES_MAX + 2 * CHUNK_BYTES;

/// The time after which a client that takes nothing loses its place.
const STUCK_MS_MAX: Millis = 60_000;

/// The reason why a client cannot record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoRecording {
    /// There are as many clients as there may be.
    #[error("{RECORDINGS_MAX} clients record already, and there may be no more; retry later")]
    Places,
    /// The memory budget has no room for the queue.
    #[error("the memory budget has no room for a recording ({} KiB); retry later", CLIENT_BYTES >> 10)]
    Memory,
}

/// The start of a recording, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingStart {
    /// The time since 1970.
    pub since_1970: Duration,
    /// The same time of the table's clock.
    pub now_ms: Millis,
}

impl RecordingStart {
    /// Returns a time of the table's clock in nanoseconds since 1970.
    fn unix_nano(self, now_ms: Millis) -> u64 {
        let nanos = self.since_1970.as_nanos() as u64;
        nanos.saturating_add(now_ms.saturating_sub(self.now_ms).saturating_mul(1_000_000))
    }
}

/// The clients that record.
#[derive(Debug, Default)]
pub struct RecordingHub {
    count: AtomicUsize,
    clients: RwLock<Vec<Arc<Client>>>,
}

/// A client that records.
#[derive(Debug)]
struct Client {
    start: RecordingStart,
    load: Load,
    queue: Queue,
}

impl RecordingHub {
    /// Returns true if a client records.
    #[inline]
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Begins a recording. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`NoRecording`].
    pub fn record(
        self: &Arc<Self>,
        redaction: Redaction,
        start: RecordingStart,
        budget: &Budget,
    ) -> Result<RecordingStream, NoRecording> {
        let mut clients = self.clients.write();
        if clients.len() >= RECORDINGS_MAX {
            return Err(NoRecording::Places);
        }
        let share = budget.reserve(CLIENT_BYTES).ok_or(NoRecording::Memory)?;
        let client = Arc::new(Client { start, load: Load::new(), queue: Queue::new() });
        clients.push(Arc::clone(&client));
        self.count.store(clients.len(), Relaxed);
        Ok(RecordingStream::new(Arc::clone(self), client, redaction, share))
    }

    /// Passes a request on, which came into the table at `now_ms`.
    pub fn offer(&self, body: &Bytes, now_ms: Millis, budget: &Budget) {
        let is_memory_short = budget.over(ladder::EARLY) > 0;
        let mut is_any_stuck = false;
        for client in self.clients.read().iter() {
            let is_short = is_memory_short || client.load.is_busy();
            client.queue.push(client.start.unix_nano(now_ms), body, is_short, now_ms);
            is_any_stuck |= client.queue.is_stuck(now_ms);
        }
        if is_any_stuck {
            self.remove(|client| client.queue.is_stuck(now_ms));
        }
    }

    /// Ends all recordings, after what waits in them.
    pub fn close(&self) {
        self.remove(|_| true);
    }

    fn remove(&self, is_it: impl Fn(&Arc<Client>) -> bool) {
        let mut clients = self.clients.write();
        for client in clients.extract_if(.., |client| is_it(client)) {
            client.queue.close();
        }
        self.count.store(clients.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests;
