//! The ways in which a trace is dropped, as the table and the cache of dropped ids remember them.

use crate::tail::table::SHARDS_LOG2;

/// The bit of a hash that says that a policy dropped the trace.
const BY_POLICY: u32 = u64::BITS - 1;

/// The bit of a hash that says that no kept trace stands for the trace.
const UNREPRESENTED: u32 = u64::BITS - 2;

// All hashes of a shard share these bits, so a hash with one of them changed is not that of any other trace.
const _: () = assert!(u64::BITS - SHARDS_LOG2 <= UNREPRESENTED);

/// The way in which a trace was dropped. It takes no memory, because it is in the hash under which the trace is
/// remembered. All hashes of a trace fall into the same bucket of the cache, so that looking for them is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DropKind {
    /// True if a policy of type `drop` dropped it.
    pub(super) by_policy: bool,
    /// True if no policy could have kept it, so that no kept trace stands for it. False without the metrics of spans.
    pub(super) is_unrepresented: bool,
}

impl DropKind {
    const ALL: [DropKind; 4] = [
        DropKind { by_policy: false, is_unrepresented: false },
        DropKind { by_policy: true, is_unrepresented: false },
        DropKind { by_policy: false, is_unrepresented: true },
        DropKind { by_policy: true, is_unrepresented: true },
    ];

    /// Returns all kinds, or those that occur without the metrics of spans.
    pub(super) fn all(has_span_metrics: bool) -> &'static [DropKind] {
        if has_span_metrics { &DropKind::ALL } else { &DropKind::ALL[..2] }
    }

    /// Returns the hash under which a trace with this `hash` is remembered.
    pub(super) fn hash(self, hash: u64) -> u64 {
        hash ^ u64::from(self.by_policy) << BY_POLICY ^ u64::from(self.is_unrepresented) << UNREPRESENTED
    }
}

/// Notes on a dropped trace that is held, in 16 bits: the number of its late spans, which saturates, and three bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DropNotes(u16);

impl DropNotes {
    const UNREPRESENTED: u16 = 1 << (u16::BITS - 1);
    /// There are spans of which the owner does not know, and which no report since they came has named.
    const NEW_LATE: u16 = 1 << (u16::BITS - 2);
    /// The owner has not answered the last report of late spans.
    const ASKED: u16 = 1 << (u16::BITS - 3);
    const LATE_SPANS_MAX: u16 = DropNotes::ASKED - 1;

    /// Returns the notes on a trace without late spans.
    pub(super) fn new(is_unrepresented: bool) -> Self {
        DropNotes(if is_unrepresented { DropNotes::UNREPRESENTED } else { 0 })
    }

    /// Returns true if no policy could have kept the trace. False without the metrics of spans.
    pub(super) fn is_unrepresented(self) -> bool {
        self.0 & DropNotes::UNREPRESENTED != 0
    }

    pub(super) fn late_spans(self) -> u32 {
        u32::from(self.0 & DropNotes::LATE_SPANS_MAX)
    }

    pub(super) fn add_late(&mut self, spans: u32) {
        let late_spans = self.late_spans().saturating_add(spans).min(DropNotes::LATE_SPANS_MAX.into());
        self.0 = self.0 & !DropNotes::LATE_SPANS_MAX | late_spans as u16;
        self.note_unknown();
    }

    /// Notes that there are spans of which the owner does not know.
    pub(super) fn note_unknown(&mut self) {
        self.0 |= DropNotes::NEW_LATE;
    }

    /// Returns true if there are late spans of which the owner may not know.
    pub(super) fn has_unanswered(self) -> bool {
        self.0 & (DropNotes::NEW_LATE | DropNotes::ASKED) != 0
    }

    /// Notes that a report goes to the owner. Returns true if it has late spans, and needs an answer.
    pub(super) fn ask(&mut self) -> bool {
        if self.0 & DropNotes::NEW_LATE != 0 {
            self.0 = self.0 & !DropNotes::NEW_LATE | DropNotes::ASKED;
        }
        self.0 & DropNotes::ASKED != 0
    }

    /// Returns the notes after an answer of the owner.
    pub(super) fn answered(self) -> Self {
        DropNotes(self.0 & !DropNotes::ASKED)
    }
}
