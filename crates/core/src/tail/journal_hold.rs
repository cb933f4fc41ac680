//! The link between a request and its copy in the journal. It exists until each span of the request is sampled out or
//! settled.
//!
//! A [`JournalHold`] belongs to a request, and a [`KeptSpansHold`] to each fragment of the request that is kept. They
//! only report the fate of the spans; an implementation of [`NoteRecorder`] decides where to write it. Without a journal
//! there are no holds.
//!
//! Invariants
//! - A request is released once: after its last trace has let go of it and all of its kept spans are settled.
//! - A hold that is dropped before its spans are settled (a panic, a shutdown that ran out of time) never reports them
//!   as settled or the request as released: the journal keeps the request for the next process.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::otlp::TraceId;
use crate::sampling::Keep;

/// The number of a request in the journal; later requests have greater numbers.
pub type Sequence = u64;

/// A change in the state of a journaled request, or of its spans of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The trace is kept, and its spans in this request are on their way to the sink.
    Kept(Sequence, TraceId, Keep),
    /// The spans of the trace in this request are sampled out, exported, dropped for a counted reason, in the spool, or
    /// with another process.
    Settled(Sequence, TraceId),
    /// No span of the request is needed any more.
    Released(Sequence),
}

/// A receiver of notes. Callers are on the path of spans and hold locks of the table, so it must not block.
pub trait NoteRecorder: Debug + Send + Sync {
    /// Records a note. The notes of one thread keep their order.
    fn note(&self, note: Note);
}

/// Bytes of memory of a hold, including the overhead of its allocation.
pub const JOURNAL_HOLD_BYTES: usize = size_of::<JournalHold>() + 2 * size_of::<usize>();
/// Bytes of memory that holding a kept fragment takes: its own hold, that of the request, and the two references to it.
pub const KEPT_SPANS_HOLD_BYTES: usize = JOURNAL_HOLD_BYTES + size_of::<KeptSpansHold>() + 4 * size_of::<usize>();

/// A guard that keeps a request in the journal until the last reference to the guard is dropped.
#[derive(Debug)]
pub struct JournalHold {
    sequence: Sequence,
    notes: Arc<dyn NoteRecorder>,
    /// True if spans of the request were given up without being settled.
    unsettled: AtomicBool,
}

impl JournalHold {
    /// Creates the hold on the request with this number.
    #[must_use]
    pub fn new(sequence: Sequence, notes: Arc<dyn NoteRecorder>) -> Arc<Self> {
        Arc::new(JournalHold { sequence, notes, unsettled: AtomicBool::new(false) })
    }

    /// Notes that the spans of `trace` are sampled out, or that another process has them.
    pub(super) fn settled(&self, trace: TraceId) {
        self.notes.note(Note::Settled(self.sequence, trace));
    }
}

impl Drop for JournalHold {
    fn drop(&mut self) {
        if !*self.unsettled.get_mut() {
            self.notes.note(Note::Released(self.sequence));
        }
    }
}

/// A guard that holds the spans of one kept trace in one request until each part of them is settled. The encoder has
/// the first part, and each batch that contains some of the spans has one more.
#[derive(Debug)]
pub struct KeptSpansHold {
    request: Arc<JournalHold>,
    trace: TraceId,
    parts: AtomicU32,
}

impl KeptSpansHold {
    /// Notes that the spans of `trace` in `request` are kept. The hold starts with one part. A trace that is exported
    /// only because of a dry run has no verdict to remember: the next process decides it again.
    #[must_use]
    pub fn new(request: Arc<JournalHold>, trace: TraceId, keep: Keep) -> Arc<Self> {
        if !keep.is_dropped() {
            request.notes.note(Note::Kept(request.sequence, trace, keep));
        }
        Arc::new(KeptSpansHold { request, trace, parts: AtomicU32::new(1) })
    }

    /// Adds a part.
    pub fn split(&self) {
        self.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// Settles a part. After the last one, the spans are noted as settled.
    pub fn settle(&self) {
        if self.parts.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.request.notes.note(Note::Settled(self.request.sequence, self.trace));
        }
    }
}

impl Drop for KeptSpansHold {
    fn drop(&mut self) {
        if *self.parts.get_mut() > 0 {
            self.request.unsettled.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
