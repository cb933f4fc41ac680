//! The OTLP wire format: a one-pass scan of request bytes, views over one span's bytes, JSON input, and reply bodies.
//!
//! Everything here is a pure function of bytes, without I/O and without a clock. No length from the wire is trusted.
//!
//! Invariants
//! - The body that [`scan::scan`] returns is well-formed protobuf down to its innermost value. It is in canonical form:
//!   no singular submessage occurs twice. The views may rely on both.
//! - The scan does not check strings for UTF-8, so that an invalid string does not cost the other spans of the request.
//!   [`text`] or the encoder mends it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[macro_use]
mod label;

pub mod altered;
pub mod fields;
pub mod json;
pub mod redact;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod reference;
pub mod reply;
pub mod scan;
mod schema;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod trace_state;
pub mod view;
pub mod visited;
pub mod wire;
pub mod write;

/// The bytes of a span in a request, as usual instrumentation of HTTP and database calls sends it. For estimates only.
pub const SPAN_BYTES: u64 = 570;

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
    /// The index of the first byte in the body.
    pub offset: u32,
    /// The number of bytes.
    pub len: u32,
}

impl ByteRange {
    /// Returns the bytes of this range, or no bytes if `body` is too short for it.
    #[must_use]
    pub fn of(self, body: &[u8]) -> &[u8] {
        let start = self.offset as usize;
        body.get(start..start + self.len as usize).unwrap_or_default()
    }
}
