//! Tells when the processor is the bottleneck.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::time::Instant;

/// The time between two looks. A burst that is shorter is not an overload.
const INTERVAL: Duration = Duration::from_secs(1);

/// The part of their time that all workers together are busy when they are the bottleneck. The kernel takes the rest
/// between events.
const BUSY_MIN: f64 = 0.9;

/// The load of the workers of the runtime, in the last whole interval.
#[derive(Debug)]
pub(super) struct Load {
    runtime: RuntimeMetrics,
    /// The time of the last look, and the time that all workers had been busy until then.
    last: Mutex<(Instant, Duration)>,
    is_busy: AtomicBool,
}

impl Load {
    /// Begins to look. Call it inside a tokio runtime.
    pub(super) fn new() -> Self {
        let runtime = Handle::current().metrics();
        let last = Mutex::new((Instant::now(), busy_time(&runtime)));
        Load { runtime, last, is_busy: AtomicBool::new(false) }
    }

    /// Returns true if the workers were busy for at least [`BUSY_MIN`] of the last interval.
    pub(super) fn is_busy(&self) -> bool {
        // While another thread looks, the last result is good enough.
        if let Some(mut last) = self.last.try_lock() {
            let (since, before) = *last;
            let elapsed = since.elapsed();
            if elapsed >= INTERVAL {
                let busy = busy_time(&self.runtime);
                let capacity = elapsed.as_secs_f64() * self.runtime.num_workers() as f64;
                self.is_busy.store(busy.saturating_sub(before).as_secs_f64() >= BUSY_MIN * capacity, Relaxed);
                *last = (Instant::now(), busy);
            }
        }
        self.is_busy.load(Relaxed)
    }
}

/// Returns the time that all workers have spent on tasks since the start.
fn busy_time(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}
