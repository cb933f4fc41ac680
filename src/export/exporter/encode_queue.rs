//! Kept spans in the order in which they are encoded: those that share a resource and a scope one after the other.
//!
//! The queue has the order of verdicts. In it, spans of one scope may stand far from one another, and what the encoder knows of
//! resources is bounded in bytes: a sender whose resources exceed that bound would have them encoded again for each span. So the
//! exporter takes a number of parts from the queue at a time and sorts them by their places in requests.

use std::collections::VecDeque;

use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::request::ScopeId;

/// Parts that are sorted at a time: they take half a MiB. What spans share is encoded once for all of these parts, so that the
/// resources of a request of 16 MiB, the default limit, cost each span 2 KiB at most.
const PARTS_MAX: usize = 8_192;
/// Entries of the queue that are taken at a time.
const ENTRIES_MAX: usize = 64;

/// The next kept spans.
#[derive(Debug, Default)]
pub(crate) struct EncodeQueue {
    /// From the queue, not yet split.
    entries: VecDeque<KeptSpans>,
    /// Each below one scope, sorted.
    parts: VecDeque<KeptSpans>,
}

impl EncodeQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.entries.is_empty()
    }

    /// The next spans, all below one scope, here or in `queue`.
    pub(crate) fn next(&mut self, queue: &KeptQueue) -> Option<KeptSpans> {
        if self.parts.is_empty() {
            self.fill(queue);
        }
        self.parts.pop_front()
    }

    /// The rest of what was taken last.
    pub(super) fn put_back(&mut self, rest: KeptSpans) {
        self.parts.push_front(rest);
    }

    fn fill(&mut self, queue: &KeptQueue) {
        while self.parts.len() < PARTS_MAX {
            if self.entries.is_empty() {
                queue.take(ENTRIES_MAX, &mut self.entries);
            }
            let Some(KeptSpans { fragment, keep, hold }) = self.entries.pop_front() else { break };
            let (fragment, rest) = fragment.split_scope();
            if let Some(rest) = rest {
                hold.iter().for_each(|hold| hold.split());
                self.entries.push_front(KeptSpans { fragment: rest, keep, hold: hold.clone() });
            }
            self.parts.push_back(KeptSpans { fragment, keep, hold });
        }
        self.parts.make_contiguous().sort_by_key(|part| {
            let ScopeId { request, scope } = part.fragment.scope_id();
            (request, scope)
        });
    }
}
