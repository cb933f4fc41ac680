//! Missing parents and duplicates that the span ids of a trace show: parents that have not come, and spans that came
//! twice.
//!
//! A span without a parent id is a root. If a trace has no root, its entry is the first span whose parent belongs to
//! another process: on Cloud Run that parent is the platform's own span, which never comes. Every other parent
//! that has not come counts as missing. If it is local, the process itself has lost the span or has not ended it yet. If
//! it is remote, the caller does not export, or a proxy between the two replaces the caller's id with its own.

use smallvec::SmallVec;

use super::request::OpenFragment;
use crate::otlp::view::{Lineage, ids, lineage};
use crate::sampling::Parent;

/// The most spans of a trace that is checked. A larger trace would delay the others of its shard.
pub(super) const SPANS_MAX: u32 = 10_000;

/// The most bytes of compressed requests that are unpacked to check one trace: a few milliseconds of work while a lock
/// is held. A trace that needs more has spans in hundreds of requests and is not checked.
pub(super) const UNPACKED_BYTES_MAX: u64 = 8 << 20;

/// The most missing parents of one trace that are told apart. A broken trace has thousands of them, but of a few
/// services.
const MISSING_PARENTS_MAX: usize = 64;

/// `SpanFlags` of `trace.proto`. The first says that the second has a meaning; the second says that the parent is
/// remote.
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
const FLAG_IS_REMOTE: u32 = 0x200;
/// The `SpanKind`s of `trace.proto` whose parent is taken as remote if the flags do not say: a server answers a caller,
/// and a consumer takes messages of a producer.
const KIND_SERVER: i32 = 2;
const KIND_CONSUMER: i32 = 5;

/// A group of spans of one service whose parents are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MissingParent<'a> {
    /// The kind of the missing parents: local or remote.
    pub(super) parent: Parent,
    /// The name of the service of the spans.
    pub(super) service: &'a [u8],
}

/// Findings from the ids of a trace's spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SpanIdFindings<'a> {
    /// At most [`MISSING_PARENTS_MAX`] of them. Adjacent spans of the same service and kind of parent share one.
    pub(super) missing_parents: SmallVec<[MissingParent<'a>; 2]>,
    /// Number of spans that have the id of an earlier one.
    pub(super) duplicate_count: u64,
}

/// Returns the missing parents and the duplicates of the trace that consists of `fragments`.
pub(super) fn check_span_ids<'a>(fragments: &'a [OpenFragment<'_>]) -> SpanIdFindings<'a> {
    let spans = || fragments.iter().flat_map(OpenFragment::spans_with_service);
    // The spans have waited for long, so their beginnings are not in the processor's cache. The waits for memory overlap if
    // all are asked for before the first is read.
    let first = spans().fold(0, |all, (span, _)| all ^ span.first().copied().unwrap_or(0));
    std::hint::black_box(first);
    let ids: SmallVec<[(u64, u64); 16]> = spans().map(|(span, _)| ids(span)).collect();
    let mut known: SmallVec<[u64; 16]> = ids.iter().map(|&(span_id, _)| span_id).collect();
    known.sort_unstable();
    let duplicate_count = known.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    let has_root = !ids.iter().all(has_parent);
    // The parents of most spans have come, so only the orphans are read beyond their ids.
    let is_orphan = |ids: &(u64, u64)| has_parent(ids) && known.binary_search(&ids.1).is_err();
    let orphans = ids.iter().zip(spans()).filter(|(ids, _)| is_orphan(ids));
    let orphans: SmallVec<[(Lineage, &[u8]); 1]> =
        orphans.map(|(_, (span, service))| (lineage(span), service)).collect();
    let may_be_entry = |lineage: &Lineage| !has_root && parent(lineage) == Parent::Remote;
    let entries = orphans.iter().filter(|(lineage, _)| may_be_entry(lineage));
    let entry = entries.min_by_key(|(lineage, _)| (begin(lineage), lineage.span_id));
    let entry_parent = entry.map(|(entry, _)| entry.parent_span_id);
    let mut structure = SpanIdFindings { missing_parents: SmallVec::new(), duplicate_count };
    let missing_parents = &mut structure.missing_parents;
    for &(ref lineage, service) in &orphans {
        let is_entry = may_be_entry(lineage) && Some(lineage.parent_span_id) == entry_parent;
        let missing_parent = MissingParent { parent: parent(lineage), service };
        if !is_entry && missing_parents.len() < MISSING_PARENTS_MAX && missing_parents.last() != Some(&missing_parent) {
            missing_parents.push(missing_parent);
        }
    }
    structure
}

/// Returns true if a span with these ids (its own, and that of its parent) has a parent. A span cannot be its own
/// parent.
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

/// Returns a sort key by start time. Spans without a start (0) sort last.
fn begin(lineage: &Lineage) -> u64 {
    lineage.start_unix_nano.wrapping_sub(1)
}

#[cfg(test)]
mod tests;
