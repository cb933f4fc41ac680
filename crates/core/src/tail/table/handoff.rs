//! Hands pending traces over to another process, with their spans as they were received.
//!
//! The caller reads pending traces, sends them, and tells the table which of them the other process has taken. A trace
//! stays pending until then, so that a trace that is not taken is decided as if it had never been offered.

use smallvec::SmallVec;

use super::{Millis, RoundOutcome, Table};
use crate::otlp::TraceId;
use crate::otlp::fields::{export_trace_service_request as request, resource_spans, scope_spans};
use crate::otlp::write;
use crate::tail::request::{Fragment, OpenFragment, SpanBytes};
use crate::tail::slots::SlotNumber;

/// Entries of a shard's queues that are looked at under one hold of its lock.
const ENTRIES_MAX: usize = 256;

/// The most bytes of keys and lengths of a span, and of a scope and a resource of its own: seven fields, each with a key of
/// one byte and a length of up to five.
const FRAME_BYTES: u64 = 7 * 6;

/// A pending trace that may be handed over.
#[derive(Clone, Debug)]
pub struct PendingTrace {
    pub(in crate::tail) id: TraceId,
    shard: usize,
    pub(in crate::tail) slot: SlotNumber,
    pub(in crate::tail) fragments: SmallVec<[Fragment; 3]>,
    bytes: u64,
}

impl PendingTrace {
    pub(in crate::tail) fn new(id: TraceId, slot: SlotNumber, fragments: &[Fragment], span_bytes: u64) -> Self {
        let shared_bytes: u64 = fragments.iter().map(Fragment::shared_bytes).sum();
        let spans: u64 = fragments.iter().map(|fragment| u64::from(fragment.span_count())).sum();
        let bytes = span_bytes + shared_bytes + spans * FRAME_BYTES;
        PendingTrace { id, shard: 0, slot, fragments: fragments.into(), bytes }
    }

    /// Returns the id of the trace.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// Returns the most bytes that the trace takes in the output of [`write_request`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The place up to which the pending traces of a table have been read. The default is the beginning.
#[derive(Clone, Debug, Default)]
pub struct HandoffCursor {
    /// The next entry of each shard; `None` if the shard has no more. Empty before the first read.
    next: Vec<Option<usize>>,
    /// The slots of each shard whose traces have been read.
    seen: Vec<SlotSet>,
    /// The shard that is read next.
    shard: usize,
}

/// A set of slots.
#[derive(Clone, Debug, Default)]
pub(in crate::tail) struct SlotSet(Vec<u64>);

impl SlotSet {
    /// Adds a slot. Returns false if it was there.
    pub(in crate::tail) fn insert(&mut self, slot: SlotNumber) -> bool {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}

impl Table {
    /// Returns the next pending traces after `cursor`: some traces of one shard, the oldest first. Ends with the trace
    /// that reaches `bytes_min`. The shards take turns. Returns `None` at the end. The table must not change between
    /// the calls, except by [`Table::handed_over`].
    pub fn pending_traces(&self, cursor: &mut HandoffCursor, bytes_min: u64) -> Option<Vec<PendingTrace>> {
        if cursor.next.is_empty() {
            cursor.next = vec![Some(0); self.shard_count()];
            cursor.seen = vec![SlotSet::default(); self.shard_count()];
        }
        for _ in 0..cursor.next.len() {
            let shard = cursor.shard;
            cursor.shard = (shard + 1) % cursor.next.len();
            let Some(from) = cursor.next[shard] else { continue };
            let (mut found, next) =
                self.shards.lock(shard).pending_traces(from, ENTRIES_MAX, bytes_min, &mut cursor.seen[shard]);
            cursor.next[shard] = next;
            found.iter_mut().for_each(|trace| trace.shard = shard);
            return Some(found);
        }
        None
    }

    /// Releases traces that another process has taken. Returns the number of their spans. A trace that has got spans since
    /// it was read stays: the other process does not have them.
    pub fn handed_over(&self, traces: &[PendingTrace], now_ms: Millis, out: &mut RoundOutcome) -> u64 {
        let in_force = self.in_force.see();
        let round = self.round(&in_force, now_ms, out);
        let taken = traces.iter().map(|trace| {
            let fragments = self.shards.lock(trace.shard).take_pending(trace, &round);
            let fragments = fragments.unwrap_or_default();
            fragments.iter().for_each(|fragment| fragment.settled(trace.id));
            // The other process counts them again, and decides them.
            round.tally.unrepresented_calls += fragments.iter().map(Fragment::counted_spans).sum::<u64>();
            fragments.iter().map(|fragment| u64::from(fragment.span_count())).sum::<u64>()
        });
        taken.sum()
    }
}

/// Appends the spans of `traces` to `out` as the fields of an `ExportTraceServiceRequest`, as they were received. A
/// resource and a scope are written once for all spans that came below them in one request.
pub fn write_request(traces: &[PendingTrace], out: &mut Vec<u8>) {
    let opened = traces.iter().flat_map(|trace| &trace.fragments).map(Fragment::peek).collect::<Vec<_>>();
    let mut spans: Vec<SpanBytes<'_>> = opened.iter().flat_map(OpenFragment::spans).collect();
    spans.sort_by_key(|span| span.scope_id);
    for spans in spans.chunk_by(|a, b| a.scope_id == b.scope_id) {
        let Some(&shared) = spans.first() else { continue };
        write::message(out, request::RESOURCE_SPANS, |out| {
            optional(out, resource_spans::RESOURCE, shared.resource);
            write::message(out, resource_spans::SCOPE_SPANS, |out| {
                optional(out, scope_spans::SCOPE, shared.scope);
                spans.iter().for_each(|span| write::bytes(out, scope_spans::SPANS, span.span));
                optional(out, scope_spans::SCHEMA_URL, shared.scope_schema_url);
            });
            optional(out, resource_spans::SCHEMA_URL, shared.resource_schema_url);
        });
    }
}

/// Appends a field that is left out if it has no content.
fn optional(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    if !content.is_empty() {
        write::bytes(out, number, content);
    }
}
