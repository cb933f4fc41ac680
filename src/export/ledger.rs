//! Settles kept spans: each is exported or dropped with a reason, once, and counted at that moment.

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

/// Losses of one reason are logged at most this often: a service that sends nothing but bad spans must not turn the
/// log into a flood. The metric has every one of them.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The accounts of the way from the kept queue to Cloud Trace.
#[derive(Debug)]
pub struct Ledger {
    kept: Arc<KeptQueue>,
    metrics: Arc<Metrics>,
    /// Limits the log lines about each reason.
    lines: [Throttle; DropReason::ALL.len()],
}

impl Ledger {
    /// Settles the spans of `kept` and counts them in `metrics`.
    #[must_use]
    pub fn new(kept: Arc<KeptQueue>, metrics: Arc<Metrics>) -> Self {
        Ledger { kept, metrics, lines: [const { Throttle::new(1, LOG_INTERVAL) }; DropReason::ALL.len()] }
    }

    /// Kept spans that are not settled yet, those in the queue included.
    #[must_use]
    pub fn unsettled_spans(&self) -> u64 {
        self.kept.unsettled_spans()
    }

    /// A call to the sink ended with the status `code`.
    pub fn sink_call(&self, code: &'static str, elapsed: Duration) {
        self.metrics.sink_call(code, elapsed);
    }

    /// What the projects wait for whose calls fail, with the spans of each, and the fewest calls at a time that a project
    /// with something to write may have.
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

    /// `spans` spans are in the spool, and not in memory any more.
    pub fn spooled(&self, spans: u64) {
        self.kept.settle(spans);
    }

    /// `spans` spans of the spool are in memory, to be delivered.
    pub fn unspooled(&self, spans: u64) {
        self.kept.unsettle(spans);
    }

    /// Cloud Trace has `spans` spans.
    pub fn exported(&self, spans: u64) {
        self.metrics.exported(spans);
        self.kept.settle(spans);
    }

    /// So many spans were encoded otherwise than they were sent.
    pub fn altered(&self, altered: AlteredSpans) {
        for (reason, spans) in altered.counts() {
            self.metrics.altered(reason, spans);
        }
    }

    /// `spans` spans are lost; `detail` says why, and never what they contain.
    pub fn dropped(&self, reason: DropReason, spans: u64, detail: impl Display) {
        self.metrics.dropped(reason, spans);
        self.kept.settle(spans);
        if let Some(others) = self.may_log(reason, spans) {
            tracing::error!(reason = reason.as_str(), spans, others, "kept spans were lost: {detail}");
        }
    }

    /// Whether the loss of `spans` is to be logged: the spans that were lost since the last line and not told of.
    fn may_log(&self, reason: DropReason, spans: u64) -> Option<u64> {
        self.lines[reason as usize].pass_about(spans, Instant::now())
    }
}
