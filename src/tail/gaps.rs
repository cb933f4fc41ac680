//! What the ids of a trace tell: where it is incomplete, as the parent of a span has not come, and what came twice.
//!
//! A span without a parent id is a root. If a trace has none, the first span whose parent is of another process is its
//! entry: on Cloud Run that parent is the platform's own span, and never comes. Every other parent that is missing is a
//! gap. Of a local one the process itself has lost the span, or has not ended it yet; of a remote one a caller that does
//! not export, or whatever stands between the two and puts its own id in place of the caller's.

use smallvec::SmallVec;

use super::request::OpenFragment;
use crate::otlp::view::{Lineage, ids, lineage};
use crate::sampling::Parent;

/// A trace of more spans is not looked at: it would hold up the others of its shard.
pub(super) const SPANS_MAX: u32 = 10_000;

/// A trace is not looked at if more bytes of compressed requests have to be unpacked for it: some milliseconds of work, below
/// a lock, for a trace that has spans in hundreds of requests.
pub(super) const UNPACKED_BYTES_MAX: u64 = 8 << 20;

/// Gaps of one trace that are told apart. A broken trace has thousands, of a few services.
const GAPS_MAX: usize = 64;

/// `SpanFlags` of `trace.proto`: the next bit is meant, and the parent is remote.
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
const FLAG_IS_REMOTE: u32 = 0x200;
/// `SpanKind`s of `trace.proto` whose parent is remote if the flags do not say: a server answers, a consumer takes what
/// others sent.
const KIND_SERVER: i32 = 2;
const KIND_CONSUMER: i32 = 5;

/// Spans whose parents are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap<'a> {
    /// Whose spans these parents are.
    pub(super) parent: Parent,
    /// The name of the service that the spans are of.
    pub(super) service: &'a [u8],
}

/// What the ids of a trace's spans tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Structure<'a> {
    /// At most [`GAPS_MAX`]: of spans side by side that are of the same service one.
    pub(super) gaps: SmallVec<[Gap<'a>; 2]>,
    /// Spans that have the id of an earlier one.
    pub(super) duplicate_count: u64,
}

/// The gaps and the duplicates of the trace of these spans.
pub(super) fn structure<'a>(fragments: &'a [OpenFragment<'_>]) -> Structure<'a> {
    let spans = || fragments.iter().flat_map(OpenFragment::spans_with_service);
    let ids: SmallVec<[(u64, u64); 16]> = spans().map(|(span, _)| ids(span)).collect();
    let mut known: SmallVec<[u64; 16]> = ids.iter().map(|&(span_id, _)| span_id).collect();
    known.sort_unstable();
    let duplicate_count = known.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    let has_root = !ids.iter().all(has_parent);
    // Most spans have their parents: no more than the ids of these is read.
    let is_orphan = |ids: &(u64, u64)| has_parent(ids) && known.binary_search(&ids.1).is_err();
    let orphans = ids.iter().zip(spans()).filter(|(ids, _)| is_orphan(ids));
    let orphans: SmallVec<[(Lineage, &[u8]); 1]> =
        orphans.map(|(_, (span, service))| (lineage(span), service)).collect();
    let may_be_entry = |lineage: &Lineage| !has_root && parent(lineage) == Parent::Remote;
    let entries = orphans.iter().filter(|(lineage, _)| may_be_entry(lineage));
    let entry = entries.min_by_key(|(lineage, _)| (begin(lineage), lineage.span_id));
    let entry_parent = entry.map(|(entry, _)| entry.parent_span_id);
    let mut structure = Structure { gaps: SmallVec::new(), duplicate_count };
    let gaps = &mut structure.gaps;
    for &(ref lineage, service) in &orphans {
        let is_entry = may_be_entry(lineage) && Some(lineage.parent_span_id) == entry_parent;
        let gap = Gap { parent: parent(lineage), service };
        if !is_entry && gaps.len() < GAPS_MAX && gaps.last() != Some(&gap) {
            gaps.push(gap);
        }
    }
    structure
}

/// Whether a span with these ids, its own and that of its parent, has one. An id that is its own is none.
fn has_parent(&(span_id, parent_span_id): &(u64, u64)) -> bool {
    parent_span_id != 0 && parent_span_id != span_id
}

fn parent(lineage: &Lineage) -> Parent {
    let is_remote = match lineage.flags & FLAG_HAS_IS_REMOTE {
        0 => matches!(lineage.kind, KIND_SERVER | KIND_CONSUMER),
        _ => lineage.flags & FLAG_IS_REMOTE != 0,
    };
    if is_remote { Parent::Remote } else { Parent::Local }
}

/// A start that is not set comes last.
fn begin(lineage: &Lineage) -> u64 {
    lineage.start_unix_nano.wrapping_sub(1)
}

#[cfg(test)]
mod tests;
