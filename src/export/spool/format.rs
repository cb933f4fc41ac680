//! The format of a segment file. Pure. Numbers are little-endian, checksums are CRC-32 (IEEE 802.3).
//!
//! ```text
//! segment = header of crate::segment with magic "SPANSPOL" | record*
//! record  = state u8 | checksum u32 of the rest of the header | body length u32 | body checksum u32 | span count u32
//!           | since u64, ms of Unix time | project length u16 | project | body
//! ```
//!
//! The body is the message of a batch, as it is sent. The state is the only byte that is written again later, so the
//! checksums do not include it. The header has its own checksum. A segment can therefore be indexed by its headers
//! alone, and a corrupt body does not hide the records after it.

use std::num::TryFromIntError;

use bytes::{Buf, BufMut};

use crate::export::batch::Form;
use crate::segment::Layout;
use crate::segment::record::{self, Body, Header};
pub use crate::segment::{HEADER_LEN as SEGMENT_HEADER_LEN, NoSegment, SegmentError};

const LAYOUT: Layout = Layout { magic: b"SPANSPOL", version: 1 };
/// Bytes of a record's header before the project.
pub const RECORD_HEADER_LEN: usize = 27;
/// The state byte of a settled record. With any other value the spans are delivered, because a loss would be worse than
/// a repetition.
pub const DONE: u8 = 0xff;
const WAITING: u8 = 0;

/// Returns the header of a segment for batches of `form`.
#[must_use]
pub fn segment_header(form: Form) -> Vec<u8> {
    LAYOUT.header(form as u8)
}

/// The header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// True if every span of the record is settled, so that it is not delivered again.
    pub done: bool,
    /// The length of the body in bytes; at least 1.
    pub body_len: u32,
    /// The checksum of the body.
    pub body_checksum: u32,
    /// The number of spans; at least 1.
    pub span_count: u32,
    /// The time at which the last of its spans was kept, in milliseconds of Unix time.
    pub since_unix_ms: u64,
    /// The id of the project that the spans belong to.
    pub project: String,
}

impl RecordHeader {
    /// Returns the length of the header in bytes. The body follows the header.
    #[must_use]
    pub fn header_len(&self) -> u64 {
        (RECORD_HEADER_LEN + self.project.len()) as u64
    }

    /// Encodes the header.
    ///
    /// # Errors
    /// The id of the project is too long for the format.
    pub fn encode(&self) -> Result<Vec<u8>, TryFromIntError> {
        let project_len: u16 = self.project.len().try_into()?;
        let mut out = Vec::with_capacity(RECORD_HEADER_LEN + self.project.len());
        record::put_header(&mut out, &[if self.done { DONE } else { WAITING }], |out| {
            out.put_u32_le(self.body_len);
            out.put_u32_le(self.body_checksum);
            out.put_u32_le(self.span_count);
            out.put_u64_le(self.since_unix_ms);
            out.put_u16_le(project_len);
            out.put_slice(self.project.as_bytes());
        });
        Ok(out)
    }
}

impl Header for RecordHeader {
    const LAYOUT: Layout = LAYOUT;
    const UNCHECKED_LEN: usize = 1;
    const FIXED_LEN: usize = RECORD_HEADER_LEN;

    fn varying_len(fixed: &[u8]) -> usize {
        fixed.last_chunk().map_or(0, |&project_len| u16::from_le_bytes(project_len).into())
    }

    fn decode(state: &[u8], mut rest: &[u8]) -> Option<Self> {
        let (body_len, body_checksum, span_count) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
        let since_unix_ms = rest.get_u64_le();
        // The length of the project.
        rest.advance(size_of::<u16>());
        let project = String::from_utf8(rest.to_vec()).ok().filter(|_| body_len > 0 && span_count > 0)?;
        Some(RecordHeader { done: state == [DONE], body_len, body_checksum, span_count, since_unix_ms, project })
    }

    fn body(&self) -> Body {
        Body { len: self.body_len, checksum: self.body_checksum }
    }
}

/// The records of a segment.
pub type SpoolRecords<R> = record::Records<R, RecordHeader>;

#[cfg(test)]
mod tests;
