//! Whether the process lives and whether it is ready.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::pulse::{Pulse, SILENCE_MAX};

/// A disk that has not answered for so long holds up every request until its sender gives up.
const DISK_WAIT_MAX: Duration = Duration::from_secs(10);

/// Shared state behind `/livez`, `/readyz` and grpc.health.v1.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    stopping: AtomicBool,
    waits_for: Mutex<Option<String>>,
    obstacle: Mutex<Option<String>>,
    workers: Mutex<Vec<(&'static str, Pulse)>>,
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

    /// What is missing or in the way, if that is known.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let obstacle = self.obstacle.lock().clone().or_else(|| self.hanging_disk(Instant::now()));
        obstacle.or_else(|| self.waits_for.lock().clone())
    }

    /// The disk that has not answered for longer than [`DISK_WAIT_MAX`].
    fn hanging_disk(&self, now: Instant) -> Option<String> {
        let workers = self.workers.lock();
        let mut waits = workers.iter().map(|(name, pulse)| (name, pulse.disk_wait(now)));
        let (name, wait) = waits.find(|(_, wait)| *wait > DISK_WAIT_MAX)?;
        Some(format!("the disk of the {name} has not answered for {} s", wait.as_secs()))
    }

    /// The process was asked to stop: new spans are refused, retryably.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The worker `name` gives signs of life from now on.
    pub fn watch(&self, name: &'static str, pulse: Pulse) {
        self.workers.lock().push((name, pulse));
    }

    /// The worker that has been silent for longer than [`SILENCE_MAX`], and for how long. Workers end one after the other
    /// once the process stops, and nobody asks for signs of life then.
    #[must_use]
    pub fn wedged(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let workers = self.workers.lock();
        let silences = workers.iter().map(|(name, pulse)| (*name, pulse.silence(now)));
        let longest = silences.max_by_key(|(_, silence)| *silence)?;
        (longest.1 > SILENCE_MAX && !self.is_stopping()).then_some(longest)
    }

    /// Spans are taken and can be written.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let has_obstacle = self.obstacle.lock().is_some() || self.hanging_disk(Instant::now()).is_some();
        self.ready.load(Ordering::Acquire) && !self.is_stopping() && !has_obstacle
    }

    /// The process was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
