//! The queue between the trace table and the exporter. It holds kept fragments, still as bytes.
//!
//! The queue needs no bound of its own: each entry holds its request's share of the memory budget.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use super::journal_hold::KeptSpansHold;
use super::request::Fragment;
use crate::otlp::TraceId;
use crate::sampling::Keep;

/// Spans of a kept trace on their way to the exporter.
#[derive(Clone, Debug)]
pub struct KeptSpans {
    /// The spans.
    pub fragment: Fragment,
    /// The verdict that keeps them.
    pub keep: Keep,
    /// The hold on their copy in the journal; `None` without a journal.
    pub hold: Option<Arc<KeptSpansHold>>,
}

impl KeptSpans {
    /// Keeps the spans of `trace` in `fragment`, and notes it in the journal.
    #[must_use]
    pub fn new(fragment: Fragment, trace: TraceId, keep: Keep) -> Self {
        let hold = fragment.kept(trace, keep);
        KeptSpans { fragment, keep, hold }
    }
}

/// Number of entries that the queue always has capacity for.
const ENTRIES_MIN: usize = 1_024;

/// Kept spans in the order in which they were decided.
#[derive(Debug, Default)]
pub struct KeptQueue {
    entries: Mutex<VecDeque<KeptSpans>>,
    /// True if entries were pushed since the exporter has last waited for them.
    pushed: AtomicBool,
    exporter: AtomicWaker,
    unsettled_spans: AtomicU64,
}

impl KeptQueue {
    /// Appends the entries of `kept` and leaves it empty.
    pub fn push(&self, kept: &mut Vec<KeptSpans>) {
        if !kept.is_empty() {
            let spans = kept.iter().map(|kept| u64::from(kept.fragment.span_count())).sum();
            self.unsettled_spans.fetch_add(spans, Ordering::AcqRel);
            self.entries.lock().extend(kept.drain(..));
            self.pushed.store(true, Ordering::Release);
            self.exporter.wake();
        }
    }

    /// Moves up to `count_max` entries to `out`.
    pub fn take(&self, count_max: usize, out: &mut impl Extend<KeptSpans>) {
        let mut entries = self.entries.lock();
        let count = count_max.min(entries.len());
        out.extend(entries.drain(..count));
        // A queue that has grown long while the sink was away gives its memory back. Nothing else accounts for that
        // memory once the shares of the requests are gone.
        if entries.capacity() > 4 * entries.len().max(ENTRIES_MIN) {
            let len = entries.len().max(ENTRIES_MIN);
            entries.shrink_to(2 * len);
        }
    }

    /// Returns true if the queue has no entries. Entries that the exporter has taken do not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.lock().is_empty()
    }

    /// Returns the number of spans that were pushed and are not settled: they wait here, or the exporter has taken them
    /// and they are not yet exported, in the spool, or counted as dropped.
    #[must_use]
    pub fn unsettled_spans(&self) -> u64 {
        self.unsettled_spans.load(Ordering::Acquire)
    }

    /// Counts `spans` of the taken spans as settled: exported, in the spool, or dropped for a counted reason.
    pub fn settle(&self, spans: u64) {
        self.unsettled_spans.fetch_sub(spans, Ordering::AcqRel);
    }

    /// Counts `spans` spans as unsettled again. They were settled because they had gone to the spool, and are now back
    /// in memory to be exported.
    pub fn unsettle(&self, spans: u64) {
        self.unsettled_spans.fetch_add(spans, Ordering::AcqRel);
    }

    /// Waits until entries may have been pushed since the last call. Only one task may wait at a time.
    pub async fn pushed(&self) {
        poll_fn(|context| {
            self.exporter.register(context.waker());
            if self.pushed.swap(false, Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
