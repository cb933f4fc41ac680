//! What ties a request to its copy in the journal, for as long as a span of it is neither let go nor settled.
//!
//! A [`Hold`] goes with its request and with each fragment of it that is kept ([`KeptHold`]). It only notes down what
//! became of them; where, is [`Notes`]' affair. Without a journal there are no holds.
//!
//! Invariants
//! - A request is released once: after its last trace has let go of it and all that was kept of it is settled.
//! - What is dropped without having been settled (a panic, a stop that ran out of time) is never noted as settled or
//!   released: the journal keeps it for the next process.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::otlp::TraceId;
use crate::sampling::Keep;

/// The number of a request in the journal: later ones are greater.
pub type Sequence = u64;

/// What became of a request of the journal or of its spans of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The trace is kept, and its spans of this request are on their way to the sink.
    Kept(Sequence, TraceId, Keep),
    /// They are sampled out, exported, dropped for a reason that was counted, or in the spool.
    Settled(Sequence, TraceId),
    /// Nothing of the request is needed any more.
    Released(Sequence),
}

/// Takes notes. Called on the path of spans and below the table's locks: must not block.
pub trait Notes: Debug + Send + Sync {
    /// Takes down a note; later ones of the same thread come behind it.
    fn note(&self, note: Note);
}

/// Memory that a hold takes, with its share of allocations.
pub const HOLD_BYTES: usize = size_of::<Hold>() + 2 * size_of::<usize>();
/// The same for the hold of a kept fragment, with the two references to it.
pub const KEPT_HOLD_BYTES: usize = HOLD_BYTES + size_of::<KeptHold>() + 4 * size_of::<usize>();

/// Keeps a request in the journal until the last reference to it is dropped.
#[derive(Debug)]
pub struct Hold {
    sequence: Sequence,
    notes: Arc<dyn Notes>,
    /// Something of the request was given up without having been settled.
    unsettled: AtomicBool,
}

impl Hold {
    /// Holds the request of this number.
    #[must_use]
    pub fn new(sequence: Sequence, notes: Arc<dyn Notes>) -> Arc<Self> {
        Arc::new(Hold { sequence, notes, unsettled: AtomicBool::new(false) })
    }

    /// The spans of `trace` are let go for good.
    pub(super) fn sampled_out(&self, trace: TraceId) {
        self.notes.note(Note::Settled(self.sequence, trace));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !*self.unsettled.get_mut() {
            self.notes.note(Note::Released(self.sequence));
        }
    }
}

/// Holds the spans of one kept trace in one request until each part of them is settled: who encodes them is the first
/// part, and each batch that has some of them is one more.
#[derive(Debug)]
pub struct KeptHold {
    request: Arc<Hold>,
    trace: TraceId,
    parts: AtomicU32,
}

impl KeptHold {
    /// The spans of `trace` in the request of `hold` are kept. There is one part.
    #[must_use]
    pub fn new(request: Arc<Hold>, trace: TraceId, keep: Keep) -> Arc<Self> {
        request.notes.note(Note::Kept(request.sequence, trace, keep));
        Arc::new(KeptHold { request, trace, parts: AtomicU32::new(1) })
    }

    /// There is one more part.
    pub fn split(&self) {
        self.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// A part is settled.
    pub fn settle(&self) {
        if self.parts.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.request.notes.note(Note::Settled(self.request.sequence, self.trace));
        }
    }
}

impl Drop for KeptHold {
    fn drop(&mut self) {
        if *self.parts.get_mut() > 0 {
            self.request.unsettled.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
