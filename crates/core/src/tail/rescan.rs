//! The summaries of held traces for new policies, from the bytes of their spans.
//!
//! A summary has the bits and the keys of the policies that were in force when its spans came. When other policies take
//! their place, it is stale until its spans have been read again. The scan's own code reads them. The result is the same
//! as if the spans had come under the new policies.
//!
//! Invariants
//! - A large part that spans share is read once for many of them, as long as the budget has room for the notes on it. A
//!   small one is read again for each trace, which costs about as much as its spans.
//! - The memory of a reader is charged to the budget before it is allocated, and is bounded whatever a fragment has.

use super::notes::NotesCache;
use super::request::{Fragment, PlacedSpan, ResourceId, ScopeId};
use crate::budget::Share;
use crate::otlp::scan::{Probe, Scan, ScopeNotes, SharedNotes};
use crate::sampling::{Policies, Summary};

/// Spans whose facts are held until they are summed up.
const FACTS_MAX: usize = 1_024;

/// Bytes of a resource or a scope from which the notes on it are remembered. They take about a hundred bytes.
const REMEMBERED_BYTES_MIN: u32 = 256;

/// Reads spans again, and remembers what they share.
pub(super) struct SpanReader<'p, P: Probe> {
    policies: &'p Policies,
    probe: &'p P,
    resources: NotesCache<ResourceId, SharedNotes<P::Notes>>,
    scopes: NotesCache<ScopeId, ScopeNotes<P::Notes>>,
    /// The notes on the resource that was read last.
    last_resource: Option<(ResourceId, SharedNotes<P::Notes>)>,
    scan: Scan,
    /// Covers the scan and the caches.
    share: Share,
    /// Bytes that were unpacked from compressed bodies.
    unpacked_bytes: u64,
}

impl<'p, P: Probe> SpanReader<'p, P> {
    /// Creates a reader for `policies`, whose probe is `probe`. The empty `share` becomes that of its memory.
    pub(super) fn new(policies: &'p Policies, probe: &'p P, share: Share) -> Self {
        let note_bytes = probe.key_attributes() * size_of::<u64>();
        SpanReader {
            policies,
            probe,
            resources: NotesCache::new(note_bytes),
            scopes: NotesCache::new(note_bytes),
            last_resource: None,
            scan: Scan::default(),
            share,
            unpacked_bytes: 0,
        }
    }

    /// Returns the summary of the spans in `fragments`, which are of one trace.
    pub(super) fn summary<'f>(&mut self, fragments: impl IntoIterator<Item = &'f Fragment>) -> Summary {
        let mut summary = Summary::of_generation(self.policies.generation());
        for fragment in fragments {
            self.begin(fragment.span_count() as usize);
            let fragment = fragment.peek();
            self.unpacked_bytes += fragment.unpacked_bytes();
            let body = fragment.body();
            let mut last: Option<(ScopeId, ScopeNotes<P::Notes>)> = None;
            for placed in fragment.placed() {
                if self.scan.facts.len() >= FACTS_MAX {
                    summary.merge(&self.sum_up(body));
                }
                let known = last.take().filter(|(scope, _)| *scope == placed.scope_id);
                let is_begun = known.is_some() && !self.scan.scopes.is_empty();
                let (_, notes) =
                    &*last.insert(known.unwrap_or_else(|| (placed.scope_id, self.scope_notes(body, placed))));
                if !is_begun {
                    self.scan.scope_again(placed.scope, notes);
                }
                self.scan.span_again(body, placed.span, self.probe, notes);
            }
            summary.merge(&self.sum_up(body));
        }
        summary
    }

    /// Empties the scan, and makes room for the facts about so many spans or about [`FACTS_MAX`].
    fn begin(&mut self, spans: usize) {
        let spans = spans.min(FACTS_MAX);
        self.scan.begin_again(self.probe);
        let bytes = self.scan.heap_bytes_for(spans);
        let caches_bytes = self.resources.heap_bytes() + self.scopes.heap_bytes();
        self.share.resize(caches_bytes + bytes);
        self.scan.reserve(spans);
    }

    /// Returns the bytes of memory that the reader takes.
    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        self.scan.heap_bytes() + self.resources.heap_bytes() + self.scopes.heap_bytes()
    }

    /// Returns the summary of the spans in the scan, and empties it.
    fn sum_up(&mut self, body: &[u8]) -> Summary {
        let summary = self.policies.summary(self.scan.facts.iter(), &self.scan, body);
        self.scan.begin_again(self.probe);
        summary
    }

    fn scope_notes(&mut self, body: &[u8], placed: PlacedSpan) -> ScopeNotes<P::Notes> {
        let is_remembered = self.probe.asks_of_scopes() && placed.scope.scope.len >= REMEMBERED_BYTES_MIN;
        if is_remembered && let Some(notes) = self.scopes.get(&placed.scope_id) {
            return notes.clone();
        }
        let probe = self.probe;
        let notes = self.resource_notes(body, placed).of_scope(body, placed.scope, probe);
        if is_remembered {
            self.scopes.remember(placed.scope_id, &notes, &mut self.share);
        }
        notes
    }

    fn resource_notes(&mut self, body: &[u8], placed: PlacedSpan) -> &SharedNotes<P::Notes> {
        let PlacedSpan { resource_id, scope, .. } = placed;
        let is_remembered = scope.resource.len >= REMEMBERED_BYTES_MIN;
        let last = self.last_resource.take().filter(|(last, _)| *last == resource_id);
        let known = last.or_else(|| {
            is_remembered.then(|| self.resources.get(&resource_id).cloned()).flatten().map(|notes| (resource_id, notes))
        });
        let read = known.unwrap_or_else(|| {
            let notes = SharedNotes::of_resource(body, scope, self.probe);
            if is_remembered {
                self.resources.remember(resource_id, &notes, &mut self.share);
            }
            (resource_id, notes)
        });
        &self.last_resource.insert(read).1
    }
}

/// Returns the summary of the spans in `fragments` for `policies`, and the number of bytes that were unpacked for it.
pub(super) fn summary(policies: &Policies, fragments: &[Fragment]) -> (Summary, u64) {
    let Some(first) = fragments.first() else { return (Summary::of_generation(policies.generation()), 0) };
    let mut reader = SpanReader::new(policies, policies.probe(), first.share(0));
    let summary = reader.summary(fragments);
    (summary, reader.unpacked_bytes)
}

#[cfg(test)]
mod tests;
