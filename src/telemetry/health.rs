//! Whether the process lives and whether it takes spans.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared flags behind `/livez`, `/readyz` and grpc.health.v1.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    /// All rooms are up: spans are taken.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The process was asked to stop: new spans are refused, retryably.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Spans are taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// The process was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
