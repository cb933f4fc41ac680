//! Whether the process lives and whether it is ready.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Shared state behind `/livez`, `/readyz` and grpc.health.v1.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    stopping: AtomicBool,
    waits_for: Mutex<Option<String>>,
    obstacle: Mutex<Option<String>>,
}

impl Health {
    /// All rooms are up: spans are taken, and can be written for all that is known.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// What is missing before the daemon is ready, for whoever asks why it is not. Spans are taken meanwhile.
    pub fn set_waits_for(&self, missing: String) {
        *self.waits_for.lock() = Some(missing);
    }

    /// Something that makes every request be refused; `None`: no more.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock() = obstacle;
    }

    /// What is missing or in the way, if that was said.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        self.obstacle.lock().clone().or_else(|| self.waits_for.lock().clone())
    }

    /// The process was asked to stop: new spans are refused, retryably.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Spans are taken and can be written.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_stopping() && self.obstacle.lock().is_none()
    }

    /// The process was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
