//! Statistics from the followed traces, which are a sample of all traces: spans by service, late spans, missing
//! parents, and how long decisions should wait.

use std::sync::Arc;

use parking_lot::Mutex;

use super::clock::Clock;
use crate::sampling::Parent;
use crate::tail::Tally;
use crate::tail::delays::Delays;
use crate::tail::tally::Delay;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::WAIT_SHARES;

/// The statistics of followed traces, on their way to the metrics.
#[derive(Debug)]
pub(super) struct SampleStatistics {
    delays: Mutex<Delays>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl SampleStatistics {
    pub(super) fn new(clock: Clock, metrics: Arc<Metrics>) -> Self {
        SampleStatistics { delays: Mutex::default(), clock, metrics }
    }

    /// Adds the statistics of one round of work.
    pub(super) fn count(&self, tally: &Tally) {
        if !tally.delays.is_empty() {
            let (mut delays, now_ms) = (self.delays.lock(), self.clock.now_ms());
            tally
                .delays
                .iter()
                .for_each(|&Delay { delay_ms, seen, spans }| delays.record(delay_ms, seen, spans, now_ms));
        }
        for (service, counts) in &tally.services {
            if counts.spans > 0 {
                self.metrics.service_spans(service, counts.spans, counts.late_spans);
            }
            for parent in Parent::ALL {
                let traces = counts.incomplete_traces[parent as usize];
                if traces > 0 {
                    self.metrics.incomplete(service, parent, traces);
                }
            }
        }
        if tally.duplicate_spans > 0 {
            self.metrics.duplicates(tally.duplicate_spans);
        }
        if tally.restarted_traces > 0 {
            self.metrics.restarted(tally.restarted_traces);
        }
    }

    /// Sets the gauges of the suggested decision wait, for a scrape.
    pub(super) fn suggest(&self) {
        let (delays, now_ms) = (self.delays.lock(), self.clock.now_ms());
        for (label, share) in WAIT_SHARES {
            self.metrics.suggested_wait(label, delays.covering(share, now_ms).unwrap_or(0));
        }
    }
}
