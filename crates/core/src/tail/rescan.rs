//! The summaries of held traces for new policies, from the bytes of their spans.
//!
//! A summary has the bits and the keys of the policies that were in force when its spans came. When other policies take
//! their place, it is stale until its spans have been read again. The scan's own code reads them, and what spans share
//! is read once for many of them. The result is the same as if the spans had come under the new policies.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::request::{Fragment, ResourceId, ScopeId};
use crate::otlp::scan::{Probe, Scan, ScopeNotes, SharedNotes};
use crate::sampling::{Policies, Summary};

/// The most resources and scopes whose notes are remembered. They take a few hundred bytes each.
const SHARED_MAX: usize = 4_096;

/// Bytes of memory that a reader takes at most, beyond the facts of one fragment.
pub(super) const READER_BYTES_MAX: usize = 2 << 20;

/// Reads spans again, and remembers what they share.
pub(super) struct SpanReader<'p, P: Probe> {
    policies: &'p Policies,
    probe: &'p P,
    resources: HashMap<ResourceId, SharedNotes<P::Notes>, RandomState>,
    scopes: HashMap<ScopeId, ScopeNotes<P::Notes>, RandomState>,
    scan: Scan,
}

impl<'p, P: Probe> SpanReader<'p, P> {
    /// Creates a reader for `policies`, whose probe is `probe`.
    pub(super) fn new(policies: &'p Policies, probe: &'p P) -> Self {
        SpanReader { policies, probe, resources: HashMap::default(), scopes: HashMap::default(), scan: Scan::default() }
    }

    /// Returns the summary of the spans in `fragments`, which are of one trace.
    pub(super) fn summary<'f>(&mut self, fragments: impl IntoIterator<Item = &'f Fragment>) -> Summary {
        let mut summary = Summary::of_generation(self.policies.generation());
        for fragment in fragments {
            self.forget();
            let fragment = fragment.peek();
            let SpanReader { policies, probe, resources, scopes, scan } = self;
            let (body, mut last) = (fragment.body(), None);
            scan.begin_again(*probe);
            for placed in fragment.placed() {
                let notes = scopes.entry(placed.scope_id).or_insert_with(|| {
                    let of_resource = || SharedNotes::of_resource(body, placed.scope, *probe);
                    let resource = resources.entry(placed.resource_id).or_insert_with(of_resource);
                    resource.of_scope(body, placed.scope, *probe)
                });
                if last.replace(placed.scope_id) != Some(placed.scope_id) {
                    scan.scope_again(placed.scope, notes);
                }
                scan.span_again(body, placed.span, *probe, notes);
            }
            summary.merge(&policies.summary(scan.facts.iter(), scan, body));
        }
        summary
    }

    /// Forgets what spans share if that is a lot.
    fn forget(&mut self) {
        if self.resources.len().max(self.scopes.len()) > SHARED_MAX {
            self.resources.clear();
            self.scopes.clear();
        }
    }
}

/// Returns the summary of the spans in `fragments` for `policies`.
pub(super) fn summary(policies: &Policies, fragments: &[Fragment]) -> Summary {
    SpanReader::new(policies, policies.probe()).summary(fragments)
}

#[cfg(test)]
mod tests;
