//! gRPC and HTTP on one port: TLS, who may send, limits, inflation, admission, replies. Knows no policy.
//!
//! Both protocols meet in one path: read a body (`body`), inflate it ([`inflate`]), hand it over and count it
//! (`export`); only framing, negotiation and answers differ (`grpc`, `http`).
//!
//! Invariants
//! - No body is read of a sender that `otlp.auth` does not let in ([`Auth`]).
//! - No body is buffered before the memory budget has admitted it; nothing grows beyond `otlp.max_request_bytes`.
//! - A request is answered only after [`Intake::accept`] has returned, and its spans are counted exactly once.
//! - A refusal says whether retrying can help, in the words of the protocol and the encoding of the request.
//! - After [`Receiver::stop_accepting`] nothing is handed over any more.

mod auth;
mod body;
mod connection;
mod cors;
mod export;
#[cfg(test)]
mod fake;
mod frames;
mod gate;
mod grpc;
mod heads;
mod health;
mod hpack;
mod http;
pub mod inflate;
mod lag;
mod limits;
mod listen;
mod queue;
mod refusal;
mod reload;
mod reply;
mod router;
mod signals;
mod slots;
mod tls;
mod visit;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

pub use auth::{Auth, AuthError};
pub use listen::{BindError, Bound, Receiver};
pub use reload::FileError;
pub use tls::{Tls, TlsError};

use crate::journal::Journal;
use crate::otlp::scan::RejectReason;
use crate::otlp::wire::WireError;
use crate::tail::blocks::Room;
use crate::tail::budget::{Budget, Share};
use crate::tail::hold::Hold;
use crate::tail::table::NoRoom;

/// What the receiver has to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverSettings {
    /// `otlp.max_request_bytes`: the largest body, before and after inflation.
    pub max_request_bytes: usize,
}

/// Makes the text of `/metrics`.
pub type Scrape = Arc<dyn Fn() -> String + Send + Sync>;

/// Where the receiver hands request bodies to. Called on the I/O worker; must not block for long.
pub trait Intake: Send + Sync + 'static {
    /// The memory budget that shares are taken from.
    fn budget(&self) -> &Budget;

    /// A share of the memory budget for `bytes` more of a request, before they are buffered. Under pressure this
    /// lets go of rescuable traces and decides the oldest ones early.
    ///
    /// `None` if there is still no room: refuse the request, retryably.
    fn admit(&self, bytes: usize) -> Option<Share>;

    /// Room for a body of `bytes`, with its share, as [`Intake::admit`].
    fn room(&self, bytes: usize) -> Option<Room>;

    /// Where bodies are written to before they are accepted, if anywhere.
    fn journal(&self) -> Option<&Journal> {
        None
    }

    /// Takes the body of an `ExportTraceServiceRequest`, with the hold on its copy in the journal, and returns once its
    /// spans are in the trace table.
    ///
    /// # Errors
    /// See [`AcceptError`]; nothing of the request was taken.
    fn accept(&self, body: Bytes, share: Share, hold: Option<Arc<Hold>>) -> Result<Accepted, AcceptError>;
}

/// Why the body of a request was not taken.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// It is not a well-formed request; retrying cannot help.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// There is room for the body, but none for its index: refuse the request, retryably.
    #[error("the memory budget has no room for the index of the request")]
    NoRoom,
    /// There is never room for its index; retrying cannot help.
    #[error(
        "the request and the index of its spans take {needed_bytes} bytes of memory, and there are {free_bytes}: send smaller \
         batches, or raise memory.limit"
    )]
    NeverFits {
        /// What it takes.
        needed_bytes: usize,
        /// What there would be for it if nothing else were held.
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

/// What became of the spans of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// All spans of the request, rejected ones included.
    pub spans: u32,
    /// Spans rejected alone, by [`RejectReason`].
    pub rejected: [u32; RejectReason::ALL.len()],
}
