//! Kept spans in the order of encoding: spans with the same resource and scope come one after the other.
//!
//! The kept queue has the order of verdicts, in which spans of one scope may be far apart. The encoder remembers a
//! limited number of bytes of encoded resources. If the resources of a sender exceed this limit, the encoder would
//! encode them again for each span. Therefore the exporter takes many parts from the queue at a time and sorts them by
//! their places in requests.

use std::collections::VecDeque;

use crate::tail::kept::{KeptQueue, KeptSpans};
use crate::tail::request::ScopeId;

/// The number of parts that are sorted at a time. They take half a MiB. Each resource is encoded once for all of these
/// parts, so the resources of a request of 16 MiB, the default limit, cost at most 2 KiB for each span.
const PARTS_MAX: usize = 8_192;
/// The number of entries that are taken from the kept queue at a time.
const ENTRIES_MAX: usize = 64;

/// The next kept spans to encode.
#[derive(Debug, Default)]
pub(crate) struct EncodeQueue {
    /// Entries of the kept queue that are not yet split.
    entries: VecDeque<KeptSpans>,
    /// Parts of one scope each, sorted.
    parts: VecDeque<KeptSpans>,
}

impl EncodeQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.entries.is_empty()
    }

    /// Returns the next spans, all of one scope. Takes more from `queue` if necessary.
    pub(crate) fn next(&mut self, queue: &KeptQueue) -> Option<KeptSpans> {
        if self.parts.is_empty() {
            self.fill(queue);
        }
        self.parts.pop_front()
    }

    /// Puts the rest of the spans that were returned last back to the front.
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
