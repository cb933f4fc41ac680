//! Reads spans again that an earlier scan has accepted, with another probe. The same code reads them.

use std::cell::Cell;

use super::{ByteRange, DEPTH_MAX, NestingLevel, Probe, Scan, Scanner, Scope, SpanFact};

/// The results of a probe that all spans of a `ResourceSpans` share.
#[derive(Clone, Debug)]
pub struct SharedNotes<N> {
    notes: N,
    keys: Box<[u64]>,
}

/// The results of a probe that all spans of a `ScopeSpans` share.
#[derive(Clone, Debug)]
pub struct ScopeNotes<N>(SharedNotes<N>);

impl<N: Clone> SharedNotes<N> {
    /// Shows the resource of `scope` in `body` to `probe`.
    pub fn of_resource<P: Probe<Notes = N>>(body: &[u8], scope: Scope, probe: &P) -> Self {
        let (mut out, mut notes) = (Scan::default(), probe.notes());
        out.origin_keys.resize(probe.key_attributes(), 0);
        let (split, resource) = (Cell::new(false), scope.resource.of(body));
        let level = NestingLevel::new(DEPTH_MAX, &split);
        let mut scanner = Scanner { body, probe, out: &mut out, holds: &mut |_| true };
        // The first scan has accepted these bytes, so this one does, too.
        let accepted = scanner.resource(resource, level, &mut notes, &mut None);
        debug_assert!(accepted.is_ok());
        probe.resource(&mut notes, resource);
        SharedNotes { notes, keys: out.origin_keys.into() }
    }

    /// Shows the instrumentation scope of `scope` in `body` to `probe`, after its resource.
    #[must_use]
    pub fn of_scope<P: Probe<Notes = N>>(&self, body: &[u8], scope: Scope, probe: &P) -> ScopeNotes<N> {
        let mut shared = self.clone();
        if probe.asks_of_scopes() {
            probe.scope(&mut shared.notes, scope.scope.of(body));
        }
        ScopeNotes(shared)
    }
}

impl Scan {
    /// Empties the scan for spans that are read again with `probe`.
    pub fn begin_again<P: Probe>(&mut self, probe: &P) {
        self.clear();
        self.generation = probe.generation();
        self.origin_keys.resize(probe.key_attributes(), 0);
    }

    /// Returns the bytes of memory that the buffers take once they have room for `spans` spans that are read again.
    #[must_use]
    pub fn heap_bytes_for(&self, spans: usize) -> usize {
        let keys = self.origin_keys.len();
        self.facts.capacity().max(spans) * size_of::<SpanFact>()
            + self.scopes.capacity().max(spans) * size_of::<Scope>()
            + (self.origin_keys.capacity() + self.scope_keys.capacity().max(spans * keys)) * size_of::<u64>()
    }

    /// Makes room for `spans` spans that are read again, each perhaps of another scope. The scan must be empty.
    pub fn reserve(&mut self, spans: usize) {
        self.facts.reserve_exact(spans);
        self.scopes.reserve_exact(spans);
        self.scope_keys.reserve_exact(spans * self.origin_keys.len());
    }

    /// Begins the spans of another scope.
    pub fn scope_again<N>(&mut self, scope: Scope, notes: &ScopeNotes<N>) {
        self.scopes.push(scope);
        self.scope_keys.extend_from_slice(&notes.0.keys);
    }

    /// Adds a span in `body`, of the scope that was begun last.
    pub fn span_again<P: Probe>(&mut self, body: &[u8], span: ByteRange, probe: &P, notes: &ScopeNotes<P::Notes>) {
        let (split, index) = (Cell::new(false), self.scopes.len().saturating_sub(1) as u32);
        let level = NestingLevel::new(DEPTH_MAX, &split);
        let mut scanner = Scanner { body, probe, out: self, holds: &mut |_| true };
        let accepted = scanner.span(span.of(body), level, index, &notes.0.notes);
        debug_assert!(accepted.is_ok());
    }
}
