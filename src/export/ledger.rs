//! Settles kept spans: each is exported, or dropped with a reason. It is counted once, at that moment.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::retry::Action;
use crate::otlp::altered::AlteredSpans;
use crate::tail::kept::KeptQueue;
use crate::telemetry::Metrics;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::WaitCause;

pub use crate::telemetry::metrics::DropReason;

/// The shortest time between two logged losses of the same reason. A service that sends only bad spans must not flood
/// the log. The metric counts every lost span.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The account of kept spans, from the kept queue to the sink.
#[derive(Debug)]
pub struct Ledger {
    kept: Arc<KeptQueue>,
    metrics: Arc<Metrics>,
    /// Limits the log lines about each reason.
    lines: [Throttle; DropReason::ALL.len()],
}

impl Ledger {
    /// Creates a ledger that settles the spans of `kept` and counts them in `metrics`.
    #[must_use]
    pub fn new(kept: Arc<KeptQueue>, metrics: Arc<Metrics>) -> Self {
        Ledger { kept, metrics, lines: [const { Throttle::new(1, LOG_INTERVAL) }; DropReason::ALL.len()] }
    }

    /// Returns the number of kept spans that are not settled, including those in the kept queue.
    #[must_use]
    pub fn unsettled_spans(&self) -> u64 {
        self.kept.unsettled_spans()
    }

    /// Counts a call to the sink that ended with the status `code`.
    pub fn sink_call(&self, code: &'static str, elapsed: Duration) {
        self.metrics.sink_call(code, elapsed);
    }

    /// Updates the metrics on waiting spans. `held_up` has the actions of the projects whose calls fail, each with the
    /// number of spans. `calls_limit` is the lowest limit of concurrent calls among the projects with something to
    /// write.
    pub fn waiting(&self, held_up: impl Iterator<Item = (Action, u64)>, calls_limit: Option<usize>) {
        let mut waiting = [0; WaitCause::ALL.len()];
        for (action, spans) in held_up {
            if let Some(cause) = action.cause() {
                waiting[cause as usize] += spans;
            }
        }
        self.metrics.waiting(waiting);
        if let Some(limit) = calls_limit {
            self.metrics.sink_calls_limit(limit);
        }
    }

    /// Records that `spans` spans have moved from memory to the spool.
    pub fn spooled(&self, spans: u64) {
        self.kept.settle(spans);
    }

    /// Records that `spans` spans have moved from the spool to memory, from where they are delivered.
    pub fn unspooled(&self, spans: u64) {
        self.kept.unsettle(spans);
    }

    /// Records that the sink has confirmed `spans` spans.
    pub fn exported(&self, spans: u64) {
        self.metrics.exported(spans);
        self.kept.settle(spans);
    }

    /// Counts spans whose encoding differs from what was sent.
    pub fn altered(&self, altered: AlteredSpans) {
        for (reason, spans) in altered.counts() {
            self.metrics.altered(reason, spans);
        }
    }

    /// Records that `spans` spans are lost. `detail` has the reason, but nothing of their contents.
    pub fn dropped(&self, reason: DropReason, spans: u64, detail: impl Display) {
        self.metrics.dropped(reason, spans);
        self.kept.settle(spans);
        if let Some(others) = self.may_log(reason, spans) {
            tracing::error!(reason = reason.as_str(), spans, others, "Kept spans were lost: {detail}");
        }
    }

    /// Returns `None` if the loss of `spans` is not logged now. Otherwise returns the number of earlier lost spans that
    /// no line has counted.
    fn may_log(&self, reason: DropReason, spans: u64) -> Option<u64> {
        self.lines[reason as usize].pass_about(spans, Instant::now())
    }
}
