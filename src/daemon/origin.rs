//! Answers the questions of the embedded Cloud Trace about the fate of a trace, and of all spans and traces so far.

use std::sync::Arc;

use super::pipeline::Pipeline;
use crate::emulator::origin::{DaemonQueries, TraceFate, TrafficCounts};
use crate::otlp::TraceId;
use crate::receiver::Scrape;
use crate::tail;
use crate::telemetry::metrics::scraped::{label, series, sum};

/// The daemon's answers for the embedded Cloud Trace.
pub(super) struct Answers {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) scrape: Scrape,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl DaemonQueries for Answers {
    fn fate(&self, id: TraceId) -> TraceFate {
        match self.pipeline.table.fate(id) {
            tail::Fate::Pending => TraceFate::Pending,
            tail::Fate::Kept { policy } => TraceFate::Kept {
                policy: self.pipeline.policies.names().get(usize::from(policy)).cloned().unwrap_or_default(),
            },
            tail::Fate::SampledOut { rescuable } => TraceFate::SampledOut { rescuable },
            tail::Fate::DroppedByPolicy => TraceFate::Dropped,
            tail::Fate::Unknown => TraceFate::Unknown,
        }
    }

    fn traffic(&self) -> TrafficCounts {
        traffic(&(self.scrape)())
    }
}

/// Reads the numbers from the text of `/metrics`, so that no further counters are needed on the path of a span.
fn traffic(metrics: &str) -> TrafficCounts {
    let decided = |verdict: &str| of_label(metrics, "spansieve_decided_traces_total", "verdict", verdict);
    let rescued = of_label(metrics, "spansieve_decided_traces_total", "trigger", "rescue");
    let held_spans = |state: &str| of_label(metrics, "spansieve_held_spans", "state", state);
    let sampled_out_spans = sum(metrics, "spansieve_sampled_out_spans_total") + held_spans("rescuable");
    TrafficCounts {
        received_spans: sum(metrics, "spansieve_received_spans_total") as u64,
        pending_spans: held_spans("pending") as u64,
        pending_traces: of_label(metrics, "spansieve_held_traces", "state", "pending") as u64,
        kept_traces: decided("kept") as u64,
        // A rescued trace was decided twice: dropped, then kept.
        sampled_out_traces: (decided("dropped") - rescued) as u64,
        sampled_out_spans: sampled_out_spans as u64,
    }
}

/// Returns the sum of the series of `name` whose label `key` is `value`.
fn of_label(metrics: &str, name: &str, key: &str, value: &str) -> f64 {
    series(metrics, name).filter(|(labels, _)| label(labels, key) == Some(value)).map(|(_, number)| number).sum()
}

#[cfg(test)]
mod tests;
