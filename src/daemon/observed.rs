//! The view of a running daemon from inside the process: its metrics, and the amounts that it holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pipeline::Pipeline;
use crate::budget::{Budget, Disk};
use crate::export::spool::Level;
use crate::span_metrics::Format;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{Decided, HeldAmounts, SpanAccounts};

/// The metrics of a daemon, and the sources of the amounts that it holds.
pub struct Observed {
    pub(super) metrics: Arc<Metrics>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) budget: Budget,
    pub(super) level: Arc<Level>,
    /// Bytes of the journal that are not read back yet.
    pub(super) unread: Arc<AtomicU64>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Observed {
    /// Returns the amounts that are held now.
    #[must_use]
    pub fn held(&self) -> HeldAmounts {
        let Observed { pipeline, budget, level, .. } = self;
        let held = pipeline.table.held();
        HeldAmounts {
            pending_spans: held.pending_spans,
            pending_traces: held.pending_traces,
            rescuable_spans: held.rescuable_spans,
            rescuable_traces: held.rescuable_traces,
            export_spans: pipeline.kept.unsettled_spans(),
            spooled_spans: level.spans(),
            spool_bytes: level.bytes(),
            spool_limit_bytes: level.limit_bytes(),
            journal_bytes: budget.disk().map_or(0, Disk::used_bytes),
            journal_limit_bytes: budget.disk().map_or(0, Disk::limit_bytes),
            journal_unread_bytes: self.unread.load(Ordering::Relaxed),
            used_bytes: budget.used_bytes() as u64,
            limit_bytes: budget.limit_bytes() as u64,
        }
    }

    /// Returns the fates of all spans that came.
    #[must_use]
    pub fn accounts(&self) -> SpanAccounts {
        self.metrics.accounts(&self.held())
    }

    /// Returns the decided traces by policy, verdict and trigger.
    #[must_use]
    pub fn decided_traces(&self) -> Vec<Decided> {
        self.metrics.decided_traces()
    }

    /// Writes the text of `/metrics` in this format.
    ///
    /// # Errors
    /// If `out` fails, or if memory has no room for the metrics of spans.
    pub(super) fn scrape(&self, format: Format, out: &mut dyn fmt::Write) -> fmt::Result {
        let pipeline = &self.pipeline;
        pipeline.followed.suggest();
        self.metrics.month_estimate(pipeline.table.policies().month_estimate(pipeline.clock.now_ms()).unwrap_or(0.0));
        let span_metrics = pipeline.span_metrics.as_ref();
        if let Some(span_metrics) = span_metrics {
            self.metrics.span_metrics(&span_metrics.totals());
        }
        self.metrics.exposition(self.held(), format, out, |out| {
            span_metrics.map_or(Ok(()), |span_metrics| span_metrics.render(format, out))
        })
    }
}
