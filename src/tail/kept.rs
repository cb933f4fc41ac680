//! The way from the trace table to the exporter: kept fragments, still as bytes.
//!
//! The queue needs no bound of its own: each entry holds its request's share of the memory budget.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::request::Fragment;
use crate::sampling::Keep;

/// Spans of a kept trace on their way to the exporter.
#[derive(Clone, Debug)]
pub struct KeptSpans {
    /// The spans.
    pub fragment: Fragment,
    /// Why they were kept.
    pub keep: Keep,
}

/// Kept spans in the order in which they were decided.
#[derive(Debug, Default)]
pub struct KeptQueue {
    entries: Mutex<VecDeque<KeptSpans>>,
    pushed: Notify,
}

impl KeptQueue {
    /// Appends `kept` (and empties it).
    pub fn push(&self, kept: &mut Vec<KeptSpans>) {
        if !kept.is_empty() {
            self.entries.lock().extend(kept.drain(..));
            self.pushed.notify_one();
        }
    }

    /// Moves up to `count_max` entries to `out`.
    pub fn take(&self, count_max: usize, out: &mut Vec<KeptSpans>) {
        let mut entries = self.entries.lock();
        let count = count_max.min(entries.len());
        out.extend(entries.drain(..count));
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.lock().is_empty()
    }

    /// Returns when something may have been pushed since the last call.
    pub async fn pushed(&self) {
        self.pushed.notified().await;
    }
}
