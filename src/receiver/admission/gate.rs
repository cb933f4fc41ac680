//! The gate between requests and the trace table. Once it is shut, no request reaches the table.

use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// More requests than can ever be in flight (connections times streams).
const IN_FLIGHT_MAX: u32 = 1 << 28;

/// Counter of the requests in flight. A stop waits for them, and cuts off those that do not end in time.
#[derive(Debug)]
pub(in crate::receiver) struct IntakeGate {
    in_flight: Semaphore,
    shut: RwLock<bool>,
}

impl IntakeGate {
    pub(in crate::receiver) fn new() -> Self {
        IntakeGate { in_flight: Semaphore::new(IN_FLIGHT_MAX as usize), shut: RwLock::new(false) }
    }

    /// Counts a request as in flight until the result is dropped. `None` if a stop has ended its wait for requests.
    pub(in crate::receiver) fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.in_flight.try_acquire().ok()
    }

    /// Runs `take` unless the gate is shut.
    pub(in crate::receiver) fn pass<T>(&self, take: impl FnOnce() -> T) -> Option<T> {
        let shut = self.shut.read();
        (!*shut).then(take)
    }

    /// Waits until no request is in flight, at most `grace`, then shuts the gate. After it returns, no
    /// [`IntakeGate::pass`] runs or will run.
    pub(in crate::receiver) async fn close(&self, grace: Duration) {
        // The permits are never returned, so the gate does not open again.
        if let Ok(Ok(all)) = tokio::time::timeout(grace, self.in_flight.acquire_many(IN_FLIGHT_MAX)).await {
            all.forget();
        }
        *self.shut.write() = true;
    }
}

#[cfg(test)]
mod tests;
