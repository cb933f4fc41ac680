//! Receives OTLP over gRPC and HTTP on one port: TLS, authentication, limits, inflation, admission, replies. The
//! receiver does not depend on the policies.
//!
//! - `transport`: connections, from the socket to the frames of HTTP/2.
//! - `admission`: the checks that a request passes, and the refusals.
//! - `protocol`: framing, negotiation and answers of gRPC and HTTP. In these alone the protocols differ.
//! - `body`: the path of a body, which the protocols share: it is read, inflated ([`inflate`]), handed over and counted.
//!
//! Invariants
//! - The receiver reads no body from a sender that `otlp.auth` does not admit ([`Auth`]).
//! - The memory budget admits a body before it is buffered. No body grows beyond `otlp.max_request_bytes`.
//! - A request is answered only after [`Intake::accept`] has returned. Its spans are counted exactly once.
//! - A refusal says whether a retry can help, in the terms of the request's protocol and encoding.
//! - After [`Receiver::stop_accepting`] has returned, no request is handed over.

mod admission;
mod body;
#[cfg(test)]
mod fake;
mod protocol;
mod reload;
pub mod settings;
mod transport;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

pub use admission::auth::{Auth, AuthError};
pub(crate) use admission::refusal::QUOTE_CHARS_MAX;
pub use body::inflate;
pub use protocol::api::{
    API_PREFIX, API_STREAM_SILENCE_MAX, API_STREAMS_MAX, Api, ApiAnswer, ApiStream, ApiStreamBody, RECORDING,
};
pub use reload::FileError;
pub(crate) use reload::{FileReader, FileStamps};
pub use transport::listen::{ApiService, BindError, BoundAddresses, Receiver};
pub use transport::tls::{Tls, TlsError};

use crate::budget::{Budget, Room, Share};
use crate::journal::Journal;
use crate::otlp::scan::RejectReason;
use crate::otlp::wire::WireError;
use crate::span_metrics::Format;
use crate::tail::journal_hold::JournalHold;
use crate::tail::table::NoRoom;

/// Settings of the receiver.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverSettings {
    /// Largest size of a body in bytes, before and after inflation (`otlp.max_request_bytes`).
    pub max_request_bytes: usize,
    /// `otlp.reflection`: true if the OTLP addresses answer gRPC server reflection.
    pub reflection: bool,
}

/// Function that writes the text of `/metrics` in a format. It fails if its output does, or if memory has no room for it.
pub type Scrape = Arc<dyn Fn(Format, &mut dyn fmt::Write) -> fmt::Result + Send + Sync>;

/// Source of the memory of requests. Its methods run on an I/O worker and must not block for long.
pub trait RequestMemory: Send + Sync + 'static {
    /// Returns the memory budget that shares are taken from.
    fn budget(&self) -> &Budget;

    /// Takes a share of the memory budget for `bytes` more bytes of a request, before they are buffered. Under pressure
    /// this lets go of rescuable traces and decides the oldest pending traces early.
    ///
    /// Returns `None` if there is still no room. The caller then refuses the request as retryable.
    fn admit(&self, bytes: usize) -> Option<Share>;

    /// Takes room for a body of `bytes` bytes, with its share, as [`RequestMemory::admit`] does.
    fn room(&self, bytes: usize) -> Option<Room>;

    /// Returns the number of bytes that a request may take for an announced length before more of it arrives.
    fn announced_bytes_max(&self) -> usize {
        usize::MAX
    }
}

/// Consumer of request bodies. Its methods run on an I/O worker and must not block for long.
pub trait Intake: RequestMemory {
    /// Returns the journal that bodies are written to before they are accepted. `None` if there is no journal.
    fn journal(&self) -> Option<&Journal> {
        None
    }

    /// Takes the body of an `ExportTraceServiceRequest`, with the hold on its copy in the journal. Returns once the
    /// spans are in the trace table.
    ///
    /// # Errors
    /// See [`AcceptError`]. After an error, the intake has taken nothing of the request.
    fn accept(&self, body: Bytes, share: Share, hold: Option<Arc<JournalHold>>) -> Result<Accepted, AcceptError>;
}

/// Reason why the body of a request was not accepted.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// The body is not a well-formed request. A retry cannot help.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The budget has room for the body, but not for its index now. The caller refuses the request as retryable.
    #[error("the memory budget has no room for the index of the request")]
    NoRoom,
    /// The budget never has room for the body and its index. A retry cannot help.
    #[error(
        "the request and the index of its spans need {needed_bytes} bytes of memory, but at most {free_bytes} are \
         available: send smaller batches, or raise memory.limit"
    )]
    NeverFits {
        /// Bytes that the body and its index need.
        needed_bytes: usize,
        /// Bytes that would be free for the request if nothing else were held.
        free_bytes: usize,
    },
}

impl From<NoRoom> for AcceptError {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Now => AcceptError::NoRoom,
            NoRoom::Ever { needed_bytes, free_bytes } => AcceptError::NeverFits { needed_bytes, free_bytes },
        }
    }
}

/// Result of an accepted request: the counts of its spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// All spans of the request, including the rejected ones.
    pub spans: u32,
    /// Number of spans that were rejected, by [`RejectReason`].
    pub rejected: [u32; RejectReason::ALL.len()],
}
