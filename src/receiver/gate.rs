//! The gate between requests and the trace table: after it has shut, nothing more comes in.

use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// More requests than can ever be in flight (connections times streams).
const IN_FLIGHT_MAX: u32 = 1 << 28;

/// Counts the requests in flight, so that a stop can wait for them, and cuts off those that do not end in time.
#[derive(Debug)]
pub(super) struct Gate {
    in_flight: Semaphore,
    shut: RwLock<bool>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Gate { in_flight: Semaphore::new(IN_FLIGHT_MAX as usize), shut: RwLock::new(false) }
    }

    /// A request is in flight until the result is dropped; `None` if a stop has begun to wait.
    pub(super) fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.in_flight.try_acquire().ok()
    }

    /// Runs `take` unless the gate has shut.
    pub(super) fn pass<T>(&self, take: impl FnOnce() -> T) -> Option<T> {
        let shut = self.shut.read();
        (!*shut).then(take)
    }

    /// Waits until no request is in flight, at most `grace`. When it returns no [`Gate::pass`] runs or will run.
    pub(super) async fn close(&self, grace: Duration) {
        // Held to the end: the gate does not open again.
        if let Ok(Ok(all)) = tokio::time::timeout(grace, self.in_flight.acquire_many(IN_FLIGHT_MAX)).await {
            all.forget();
        }
        *self.shut.write() = true;
    }
}

#[cfg(test)]
mod tests;
