//! The way from the trace table to the exporter: kept fragments, still as bytes.
//!
//! The queue needs no bound of its own: each entry holds its request's share of the memory budget.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::hold::KeptHold;
use super::request::Fragment;
use crate::otlp::TraceId;
use crate::sampling::Keep;

/// Spans of a kept trace on their way to the exporter.
#[derive(Clone, Debug)]
pub struct KeptSpans {
    /// The spans.
    pub fragment: Fragment,
    /// Why they were kept.
    pub keep: Keep,
    /// On their copy in the journal, if there is one.
    pub hold: Option<Arc<KeptHold>>,
}

impl KeptSpans {
    /// The spans of `trace` in `fragment`.
    #[must_use]
    pub fn new(fragment: Fragment, trace: TraceId, keep: Keep) -> Self {
        let hold = fragment.kept(trace, keep);
        KeptSpans { fragment, keep, hold }
    }
}

/// Entries for which the queue always keeps room.
const ENTRIES_MIN: usize = 1_024;

/// Kept spans in the order in which they were decided.
#[derive(Debug, Default)]
pub struct KeptQueue {
    entries: Mutex<VecDeque<KeptSpans>>,
    pushed: Notify,
    unsettled_spans: AtomicU64,
}

impl KeptQueue {
    /// Appends `kept` (and empties it).
    pub fn push(&self, kept: &mut Vec<KeptSpans>) {
        if !kept.is_empty() {
            let spans = kept.iter().map(|kept| u64::from(kept.fragment.span_count())).sum();
            self.unsettled_spans.fetch_add(spans, Ordering::AcqRel);
            self.entries.lock().extend(kept.drain(..));
            self.pushed.notify_one();
        }
    }

    /// Moves up to `count_max` entries to `out`.
    pub fn take(&self, count_max: usize, out: &mut impl Extend<KeptSpans>) {
        let mut entries = self.entries.lock();
        let count = count_max.min(entries.len());
        out.extend(entries.drain(..count));
        // A queue that has been long, while the sink was away, gives its memory back: it counts in the shares of those
        // requests, which are gone.
        if entries.capacity() > 4 * entries.len().max(ENTRIES_MIN) {
            let len = entries.len().max(ENTRIES_MIN);
            entries.shrink_to(2 * len);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.lock().is_empty()
    }

    /// Spans that were pushed and that nobody has settled: waiting here, or taken and neither confirmed by Cloud Trace
    /// nor counted as dropped.
    #[must_use]
    pub fn unsettled_spans(&self) -> u64 {
        self.unsettled_spans.load(Ordering::Acquire)
    }

    /// `spans` of the spans that were taken are exported or counted as dropped.
    pub fn settle(&self, spans: u64) {
        self.unsettled_spans.fetch_sub(spans, Ordering::AcqRel);
    }

    /// `spans` spans that were settled as they had gone elsewhere are to be exported after all.
    pub fn unsettle(&self, spans: u64) {
        self.unsettled_spans.fetch_add(spans, Ordering::AcqRel);
    }

    /// Returns when something may have been pushed since the last call.
    pub async fn pushed(&self) {
        self.pushed.notified().await;
    }
}

#[cfg(test)]
mod tests;
