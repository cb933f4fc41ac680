//! Signs of life: who works in a loop gives one each time round, and who gives none for long is wedged. A worker that
//! waits for something that is away still goes round. Time is an argument.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A worker with nothing to do gives a sign at least this often.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// A worker that gives no sign for so long is wedged. Nothing that workers do takes seconds, but a virtual machine may stand
/// still for some tens of them.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The last sign of life of one worker. Clones are of the same worker.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    last_ms: AtomicU64,
    /// Waits for the disk, since the last sign.
    at_disk: AtomicBool,
}

impl Pulse {
    /// Of a worker that begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Pulse(Arc::new(Inner { start: now, last_ms: AtomicU64::new(0), at_disk: AtomicBool::new(false) }))
    }

    /// The worker lives.
    pub fn beat(&self, now: Instant) {
        self.sign(now, false);
    }

    /// The worker lives, and calls the disk: until its next sign it is the disk that is silent.
    pub fn at_disk(&self, now: Instant) {
        self.sign(now, true);
    }

    fn sign(&self, now: Instant, at_disk: bool) {
        self.0.at_disk.store(at_disk, Ordering::Relaxed);
        self.0.last_ms.store(self.since_start_ms(now), Ordering::Relaxed);
    }

    /// The time since the last sign of life. A worker that waits for the disk is not silent.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        if self.0.at_disk.load(Ordering::Relaxed) { Duration::ZERO } else { self.since_sign(now) }
    }

    /// How long the worker has waited for an answer of the disk.
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
