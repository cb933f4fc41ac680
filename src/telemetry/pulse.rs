//! Signs of life. A worker gives one in each round of its loop; a worker that gives none for long is wedged. A worker
//! that waits for an unreachable peer still goes round its loop. Time is an argument.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two signs of a worker that has nothing to do.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The longest silence of a worker that is not wedged. No work takes seconds, but a virtual machine may be paused for
/// tens of seconds.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The last sign of life of one worker. Clones belong to the same worker.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<PulseInner>);

#[derive(Debug)]
struct PulseInner {
    start: Instant,
    last_ms: AtomicU64,
    /// True if the worker has waited for the disk since the last sign.
    at_disk: AtomicBool,
}

impl Pulse {
    /// Creates the pulse of a worker that begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Pulse(Arc::new(PulseInner { start: now, last_ms: AtomicU64::new(0), at_disk: AtomicBool::new(false) }))
    }

    /// Gives a sign of life.
    pub fn beat(&self, now: Instant) {
        self.sign(now, false);
    }

    /// Gives a sign of life just before a call to the disk. Until the next sign, the disk is silent and not the worker.
    pub fn at_disk(&self, now: Instant) {
        self.sign(now, true);
    }

    fn sign(&self, now: Instant, at_disk: bool) {
        self.0.at_disk.store(at_disk, Ordering::Relaxed);
        self.0.last_ms.store(self.since_start_ms(now), Ordering::Relaxed);
    }

    /// Returns the time since the last sign of life. It is zero for a worker that waits for the disk, which is not
    /// silent.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        if self.0.at_disk.load(Ordering::Relaxed) { Duration::ZERO } else { self.since_sign(now) }
    }

    /// Returns the time that the worker has waited for an answer of the disk; zero if it does not wait.
    #[must_use]
    pub fn disk_wait(&self, now: Instant) -> Duration {
        if self.0.at_disk.load(Ordering::Relaxed) { self.since_sign(now) } else { Duration::ZERO }
    }

    fn since_sign(&self, now: Instant) -> Duration {
        Duration::from_millis(self.since_start_ms(now).saturating_sub(self.0.last_ms.load(Ordering::Relaxed)))
    }

    fn since_start_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.0.start).as_millis() as u64
    }
}
