//! The state behind the liveness and readiness checks.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::pulse::{Pulse, SILENCE_MAX};

/// The longest wait for a disk before the daemon is not ready. Such a disk holds up every request until its sender
/// gives up.
const DISK_WAIT_MAX: Duration = Duration::from_secs(10);

/// The reason why a configuration on disk is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedConfig {
    /// The file and the reason in full, which may quote the file.
    pub reason: String,
    /// The file, the kind of the problem and its place, without any value of the file.
    pub kind: String,
}

/// Shared state behind `/livez`, `/readyz` and grpc.health.v1.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    stopping: AtomicBool,
    waits_for: Mutex<Option<String>>,
    obstacle: Mutex<Option<String>>,
    rejected_config: Mutex<Option<RejectedConfig>>,
    fleet: Mutex<Option<String>>,
    workers: Mutex<Vec<(&'static str, Pulse)>>,
}

impl Health {
    /// Marks the daemon as ready: all modules are up, spans are accepted, and as far as known the sink can be written
    /// to.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Sets the text that names the condition for which the daemon waits before it is ready. Spans are accepted
    /// meanwhile.
    pub fn set_waits_for(&self, missing: String) {
        *self.waits_for.lock() = Some(missing);
    }

    /// Sets the obstacle that makes the daemon refuse every request; `None` removes it.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock() = obstacle;
    }

    /// Sets the reason why the configuration that is on disk now is not in force; `None` removes it. The daemon stays
    /// ready.
    pub fn set_rejected_config(&self, rejected: Option<RejectedConfig>) {
        *self.rejected_config.lock() = rejected;
    }

    /// Sets the state of the fleet, one line. It has no effect on readiness: without the others, the daemon decides alone.
    pub fn set_fleet(&self, state: String) {
        *self.fleet.lock() = Some(state);
    }

    /// Returns the state of the fleet; `None` if the daemon is not a member of one.
    #[must_use]
    pub fn fleet(&self) -> Option<String> {
        self.fleet.lock().clone()
    }

    /// Returns the reason why the configuration that is on disk now is not in force, if that is so.
    #[must_use]
    pub fn rejected_config(&self) -> Option<RejectedConfig> {
        self.rejected_config.lock().clone()
    }

    /// Returns the obstacle, or the text about what the daemon waits for, if there is one.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let obstacle = self.obstacle.lock().clone().or_else(|| self.hanging_disk(Instant::now()));
        obstacle.or_else(|| self.waits_for.lock().clone())
    }

    /// Returns a message about a disk that has not answered for longer than [`DISK_WAIT_MAX`].
    fn hanging_disk(&self, now: Instant) -> Option<String> {
        let workers = self.workers.lock();
        let mut waits = workers.iter().map(|(name, pulse)| (name, pulse.disk_wait(now)));
        let (name, wait) = waits.find(|(_, wait)| *wait > DISK_WAIT_MAX)?;
        Some(format!("the disk of the {name} has not answered for {} s", wait.as_secs()))
    }

    /// Marks the process as shutting down: new spans are refused with a retryable error.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Watches the worker `name`, which gives signs of life from now on.
    pub fn watch(&self, name: &'static str, pulse: Pulse) {
        self.workers.lock().push((name, pulse));
    }

    /// Returns the name of the worker that has been silent for longest, and for how long, if that is longer than
    /// [`SILENCE_MAX`]. Returns `None` during shutdown, when workers end one after the other and give no more signs of
    /// life.
    #[must_use]
    pub fn wedged(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let workers = self.workers.lock();
        let silences = workers.iter().map(|(name, pulse)| (*name, pulse.silence(now)));
        let longest = silences.max_by_key(|(_, silence)| *silence)?;
        (longest.1 > SILENCE_MAX && !self.is_stopping()).then_some(longest)
    }

    /// Returns true if spans are accepted and can be written.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let has_obstacle = self.obstacle.lock().is_some() || self.hanging_disk(Instant::now()).is_some();
        self.ready.load(Ordering::Acquire) && !self.is_stopping() && !has_obstacle
    }

    /// Returns true if the process is shutting down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
