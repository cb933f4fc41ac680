//! What the traces that are followed say of all of them: spans by service, late ones, missing parents, and how long
//! decisions should wait.

use std::sync::Arc;

use parking_lot::Mutex;

use super::clock::Clock;
use crate::tail::Tally;
use crate::tail::delays::Delays;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::WAIT_SHARES;

/// Followed traces, on their way to the metrics.
#[derive(Debug)]
pub(super) struct FollowedTraces {
    delays: Mutex<Delays>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl FollowedTraces {
    pub(super) fn new(clock: Clock, metrics: Arc<Metrics>) -> Self {
        FollowedTraces { delays: Mutex::default(), clock, metrics }
    }

    /// Adds what a round of work saw of them.
    pub(super) fn count(&self, tally: &Tally) {
        for followed in &tally.followed {
            let (weight, seen) = (followed.weight, followed.span_count);
            self.delays.lock().record(followed.delay_ms, seen, weight, self.clock.now_ms());
            self.metrics.service_spans(&followed.service, seen * weight, followed.is_late);
        }
        for incomplete in &tally.incomplete {
            self.metrics.incomplete(&incomplete.service, incomplete.parent.label(), incomplete.weight);
        }
        if tally.duplicate_spans > 0 {
            self.metrics.duplicates(tally.duplicate_spans);
        }
        if tally.restarted_traces > 0 {
            self.metrics.restarted(tally.restarted_traces);
        }
    }

    /// Sets the gauges that a scrape asks for.
    pub(super) fn suggest(&self) {
        let (delays, now_ms) = (self.delays.lock(), self.clock.now_ms());
        for (label, share) in WAIT_SHARES {
            self.metrics.suggested_wait(label, delays.covering(share, now_ms).unwrap_or(0));
        }
    }
}
