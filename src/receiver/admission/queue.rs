//! Limits the time that requests wait: sheds some requests before the acknowledgements of the others come late.
//!
//! When the processor is the bottleneck, most requests wait where they are not counted: in sockets, behind HTTP/2's
//! windows, at the senders. So this module measures waits, and refuses excess requests at their heads, which is cheap.
//!
//! - Small requests wait for their turn before anything of them has been read ([`Lag`]). Only the first part of each
//!   turn of the runtime's queue is spent on serving.
//! - Large requests need many turns, and wait for the rest of their body while other bodies arrive. While all workers
//!   are busy and even the shortest wait from a head to the trace table is too long, the number of requests in flight
//!   is limited. The limit is the number that is served within the allowed wait: rate times wait (Little's law). When
//!   waits are short again, the limit grows until it limits nothing.
//!
//! A slow network or a slow sender does not cause a queue: workers are idle then, or other requests are served quickly.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::time::Instant;

use super::lag::Lag;
use crate::receiver::transport::connection::Connection;

/// Target for the wait. If senders keep a worker busy with a few requests each, a request waits 10 ms. Acknowledgements
/// within 100 ms need room for the variation of the wait, and for the wait at the sender.
const WAIT_MAX: Duration = Duration::from_millis(40);

/// Time between two adjustments of the limit. At a load worth shedding, at least a hundred requests are served
/// meanwhile.
const INTERVAL: Duration = Duration::from_millis(100);

/// Part of their time that all workers together are busy when they are the bottleneck. The kernel takes the rest
/// between events.
const BUSY_MIN: f64 = 0.9;

/// Largest limit of requests in flight. Each holds a few KiB before its body. The limit is sixteen times the number of
/// requests that Cloud Run sends to an instance.
const LIMIT_MAX: usize = 16_384;

/// Smallest limit of requests in flight. With fewer requests, workers would be idle. At this limit, the largest
/// requests wait longer than [`WAIT_MAX`], no matter how many are shed.
const LIMIT_MIN: usize = 16;

/// Divisor of the limit that gives its growth after an interval without a queue. The limit doubles in about three
/// intervals, and limits nothing within seconds.
const GROWTH_DIVISOR: usize = 4;

/// The queue of export requests in flight and its limit.
#[derive(Debug)]
pub(in crate::receiver) struct RequestQueue {
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    served: AtomicUsize,
    /// Shortest wait of the requests that were served in the present interval, in microseconds.
    shortest_wait_us: AtomicU64,
    lag: Lag,
}

impl RequestQueue {
    pub(in crate::receiver) fn new() -> Self {
        RequestQueue {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(LIMIT_MAX),
            served: AtomicUsize::new(0),
            shortest_wait_us: AtomicU64::new(u64::MAX),
            lag: Lag::new(),
        }
    }

    /// Admits a request of `connection`. Returns false if the queue is too long for it. A connection may have at most
    /// as many requests in flight as places are left, so that other connections find a place next to a greedy one.
    pub(in crate::receiver) fn join(&self, connection: &Connection) -> bool {
        let left = self.limit.load(Relaxed).saturating_sub(self.in_flight.load(Relaxed));
        let joins = left > connection.in_flight.load(Relaxed) && self.lag.serves(&connection.last_turn);
        if joins {
            self.in_flight.fetch_add(1, Relaxed);
            connection.in_flight.fetch_add(1, Relaxed);
        }
        joins
    }

    /// Ends a request of `connection` that was admitted.
    pub(in crate::receiver) fn leave(&self, connection: &Connection) {
        self.in_flight.fetch_sub(1, Relaxed);
        connection.in_flight.fetch_sub(1, Relaxed);
    }

    /// Notes that a request is in the trace table. `wait` is the time since it joined the queue, without its wait for a
    /// disk.
    pub(in crate::receiver) fn served(&self, wait: Duration) {
        self.served.fetch_add(1, Relaxed);
        self.shortest_wait_us.fetch_min(wait.as_micros() as u64, Relaxed);
    }

    /// Returns true if a request that has waited for `wait` must be shed: the limit has fallen since, and more requests
    /// are in flight than can be served in time.
    pub(super) fn sheds(&self, wait: Duration) -> bool {
        wait > WAIT_MAX && self.in_flight.load(Relaxed) > self.limit.load(Relaxed)
    }

    /// Sets the limit to the requests in flight.
    #[cfg(test)]
    pub(in crate::receiver) fn fill_up(&self) {
        self.limit.store(self.in_flight.load(Relaxed), Relaxed);
    }

    /// Adjusts the limit after an interval of `elapsed`. `busy` is the part of it that the workers were busy, from 0 to
    /// 1.
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

/// Adjusts the limit of `queue` until it is dropped.
pub(in crate::receiver) async fn keep_short(queue: Weak<RequestQueue>) {
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

/// Measures the lag of `queue` until it is dropped.
pub(in crate::receiver) async fn keep_probing(queue: Weak<RequestQueue>) {
    while let Some(queue) = queue.upgrade() {
        let pause = queue.lag.probe().await;
        drop(queue);
        pause.notified().await;
    }
}

/// Returns the time that all workers have spent on tasks since the start.
fn busy_time(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}

#[cfg(test)]
mod tests;
