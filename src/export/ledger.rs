//! Settles kept spans: each is exported or dropped with a reason, once, and counted at that moment.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::tail::kept::KeptQueue;
use crate::telemetry::Metrics;

/// Losses of one reason are logged at most this often: a service that sends nothing but bad spans must not turn the
/// log into a flood. The metric has every one of them.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Why kept spans were lost for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// The encoder could make no Cloud Trace span of it.
    Encode,
    /// It names a project that is not allowed.
    Project,
    /// Cloud Trace refused the span itself.
    Refused,
    /// Not written by the deadline of the shutdown.
    Shutdown,
}

impl DropReason {
    const COUNT: usize = 4;

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Encode => "encode",
            DropReason::Project => "project_not_allowed",
            DropReason::Refused => "refused",
            DropReason::Shutdown => "shutdown",
        }
    }
}

/// The books of the way from the kept queue to Cloud Trace.
#[derive(Debug)]
pub struct Ledger {
    kept: Arc<KeptQueue>,
    metrics: Arc<Metrics>,
    logged: Mutex<[Option<Instant>; DropReason::COUNT]>,
}

impl Ledger {
    /// Settles the spans of `kept` and counts them in `metrics`.
    #[must_use]
    pub fn new(kept: Arc<KeptQueue>, metrics: Arc<Metrics>) -> Self {
        Ledger { kept, metrics, logged: Mutex::default() }
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

    /// Cloud Trace has `spans` spans.
    pub fn exported(&self, spans: u64) {
        self.metrics.exported(spans);
        self.kept.settle(spans);
    }

    /// `spans` spans are lost; `detail` says why, and never what they contain.
    pub fn dropped(&self, reason: DropReason, spans: u64, detail: impl Display) {
        self.metrics.dropped(reason.label(), spans);
        self.kept.settle(spans);
        if self.may_log(reason) {
            tracing::error!(reason = reason.label(), spans, "kept spans were lost: {detail}");
        }
    }

    fn may_log(&self, reason: DropReason) -> bool {
        let last = &mut self.logged.lock()[reason as usize];
        let may = last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}
