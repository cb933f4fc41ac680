//! A queue that is bounded in time: sheds requests before the acknowledgements of the others come late.
//!
//! What waits when the processor is the bottleneck waits mostly where nobody counts it: in sockets, behind HTTP/2's
//! windows, at the senders. So waits are measured, and what is too much is refused at its head, which is cheap.
//!
//! - Small requests wait for their turn, before anything of them has been read ([`Lag`]): of each turn of the runtime's
//!   queue only the first part is spent on serving.
//! - Large requests have many turns, and wait for the rest of their body while the bodies of others come. While all
//!   workers are busy and even the shortest wait from a head to the trace table is too long, only as many requests
//!   may be in flight as are served in the time that one may wait: rate times wait (Little's law). When waits are short
//!   again the limit grows, until it limits nothing.
//!
//! A slow network or a slow sender makes no queue: then workers are idle, or the requests of others are served quickly.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::time::Instant;

use super::connection::Connection;
use super::lag::Lag;

/// The wait that is aimed at. Senders that keep a worker busy with a few requests each wait 10 ms; acknowledgements
/// within 100 ms need room for the scatter about it, and for the wait at the sender.
const WAIT_MAX: Duration = Duration::from_millis(40);

/// How often the limit is looked at: at least a hundred requests are served meanwhile under a load worth shedding.
const INTERVAL: Duration = Duration::from_millis(100);

/// The part of their time that all workers together are busy when they are the bottleneck. The rest is what the
/// kernel takes between two events.
const BUSY_MIN: f64 = 0.9;

/// Requests that may ever be in flight, each some KiB before its body: sixteen times what Cloud Run sends an instance.
const LIMIT_MAX: usize = 16_384;

/// Requests that may always be in flight: so few that shedding them would leave workers idle. The largest requests
/// wait longer than [`WAIT_MAX`] then, whatever is shed.
const LIMIT_MIN: usize = 16;

/// After an interval without a queue the limit grows by this part of itself: to its double in three intervals, and
/// out of the way within seconds.
const GROWTH_DIVISOR: usize = 4;

/// The export requests in flight, and how many there may be.
#[derive(Debug)]
pub(super) struct Queue {
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    served: AtomicUsize,
    /// Of those served in the present interval.
    shortest_wait_us: AtomicU64,
    lag: Lag,
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(LIMIT_MAX),
            served: AtomicUsize::new(0),
            shortest_wait_us: AtomicU64::new(u64::MAX),
            lag: Lag::new(),
        }
    }

    /// Lets in a request of `connection`; false if the queue is too long for it. A connection may have as many in
    /// flight as there are places left, so that however greedy some are, others find a place.
    pub(super) fn join(&self, connection: &Connection) -> bool {
        let left = self.limit.load(Relaxed).saturating_sub(self.in_flight.load(Relaxed));
        let joins = left > connection.in_flight.load(Relaxed) && self.lag.serves(&connection.last_turn);
        if joins {
            self.in_flight.fetch_add(1, Relaxed);
            connection.in_flight.fetch_add(1, Relaxed);
        }
        joins
    }

    /// A request of `connection` that was let in ends.
    pub(super) fn leave(&self, connection: &Connection) {
        self.in_flight.fetch_sub(1, Relaxed);
        connection.in_flight.fetch_sub(1, Relaxed);
    }

    /// A request is in the trace table, `wait` after its head (without its wait for a disk).
    pub(super) fn served(&self, wait: Duration) {
        self.served.fetch_add(1, Relaxed);
        self.shortest_wait_us.fetch_min(wait.as_micros() as u64, Relaxed);
    }

    /// Whether a request that has waited for `wait` has to go: more were let in than are served in time, because the
    /// limit fell since.
    pub(super) fn sheds(&self, wait: Duration) -> bool {
        wait > WAIT_MAX && self.in_flight.load(Relaxed) > self.limit.load(Relaxed)
    }

    /// As if the limit were reached.
    #[cfg(test)]
    pub(super) fn fill_up(&self) {
        self.limit.store(self.in_flight.load(Relaxed), Relaxed);
    }

    /// Sets the limit after an interval of `elapsed`, of which the workers were busy for the part `busy`.
    fn adjust(&self, elapsed: Duration, busy: f64) {
        let served = self.served.swap(0, Relaxed);
        let shortest_wait = Duration::from_micros(self.shortest_wait_us.swap(u64::MAX, Relaxed));
        let limit = self.limit.load(Relaxed);
        let next = if busy < BUSY_MIN || (served > 0 && shortest_wait <= WAIT_MAX) {
            (limit + limit / GROWTH_DIVISOR).min(LIMIT_MAX)
        } else if served > 0 {
            let in_time = served as f64 / elapsed.as_secs_f64() * WAIT_MAX.as_secs_f64();
            (in_time as usize).max(LIMIT_MIN)
        } else {
            limit
        };
        self.limit.store(next, Relaxed);
    }
}

/// Adjusts the limit for as long as there is a queue.
pub(super) async fn keep_short(queue: Weak<Queue>) {
    let runtime = Handle::current().metrics();
    let (mut since, mut busy) = (Instant::now(), busy_time(&runtime));
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(queue) = queue.upgrade() else { return };
        let (now, busy_now) = (Instant::now(), busy_time(&runtime));
        let elapsed = now - since;
        let capacity = elapsed.as_secs_f64() * runtime.num_workers() as f64;
        queue.adjust(elapsed, (busy_now - busy).as_secs_f64() / capacity);
        (since, busy) = (now, busy_now);
    }
}

/// Measures the lag for as long as there is a queue.
pub(super) async fn keep_probing(queue: Weak<Queue>) {
    while let Some(queue) = queue.upgrade() {
        queue.lag.probe().await;
    }
}

/// What all workers have spent on tasks since the start.
fn busy_time(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}

#[cfg(test)]
mod tests;
