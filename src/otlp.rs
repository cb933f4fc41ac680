//! The OTLP wire: a one-pass scan of request bytes, views over one span's bytes, JSON in, error replies out.
//!
//! Everything here is a pure function of bytes: no I/O, no clock, and no length from the wire is believed.
//!
//! Invariants
//! - A body that [`scan::scan`] accepted is well-formed protobuf down to its innermost value, in canonical form: no
//!   singular submessage occurs twice. The views may rely on it.
//! - Strings are not checked for UTF-8 here: a bad one must not cost its neighbours. [`text`], or the encoder, mends it.

pub mod altered;
pub mod json;
#[cfg(any(test, fuzzing))]
pub mod reference;
pub mod reply;
pub mod scan;
mod schema;
pub mod text;
pub mod trace_state;
pub mod view;
pub mod visited;
pub mod wire;
pub(crate) mod write;

/// A 16-byte trace id, as on the wire (big endian).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

impl std::fmt::Debug for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A byte range of a request's body. Bodies are bounded far below 4 GiB (`otlp.max_request_bytes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

impl ByteRange {
    /// The bytes that this range names; empty if `body` is not the body that it was made from.
    #[must_use]
    pub fn of(self, body: &[u8]) -> &[u8] {
        let start = self.offset as usize;
        body.get(start..start + self.len as usize).unwrap_or_default()
    }
}
