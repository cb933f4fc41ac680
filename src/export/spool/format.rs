//! The bytes of a segment file. Pure. Numbers are little-endian, checksums CRC-32 (IEEE 802.3).
//!
//! ```text
//! segment = header of crate::segment with magic "SPANSPOL" | record*
//! record  = state u8 | checksum u32 of the rest of the header | body length u32 | body checksum u32 | span count u32
//!           | since u64, ms of Unix time | project length u16 | project | body
//! ```
//!
//! The body is the spans of a batch as they are sent. The state is the only byte that is ever written again, and so
//! stands outside of the checksums. The header has one of its own: a segment is indexed by its headers alone, and a body
//! that has gone bad does not hide the records after it.

use std::io::{self, Read, Seek, SeekFrom};
use std::num::TryFromIntError;

use bytes::{Buf, BufMut};

use crate::export::batch::Form;
pub use crate::segment::{HEADER_LEN as SEGMENT_HEADER_LEN, NoSegment, SegmentError};
use crate::segment::{Layout, fill};

const LAYOUT: Layout = Layout { magic: b"SPANSPOL", version: 1 };
/// Bytes of a record's header before the project.
pub const RECORD_HEADER_LEN: usize = 27;
/// Where the checked part of a record's header begins.
const CHECKED_FROM: usize = 5;
/// [`RecordHeader::done`] on disk. Any other byte means that the spans are to be delivered, as twice is harmless.
pub const DONE: u8 = 0xff;
const WAITING: u8 = 0;

/// The header of a segment of `form`.
#[must_use]
pub fn segment_header(form: Form) -> Vec<u8> {
    LAYOUT.header(form as u8)
}

/// What stands before the body of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Every span of it is settled: it is not to be delivered again.
    pub done: bool,
    /// Bytes of the body; at least 1.
    pub body_len: u32,
    /// Of the body.
    pub body_checksum: u32,
    /// At least 1.
    pub span_count: u32,
    /// When the last of its spans was kept, in milliseconds of Unix time.
    pub since_unix_ms: u64,
    /// The id of the project that the spans belong to.
    pub project: String,
}

impl RecordHeader {
    /// Bytes of the header; the body follows it.
    #[must_use]
    pub fn header_len(&self) -> u64 {
        (RECORD_HEADER_LEN + self.project.len()) as u64
    }

    /// Writes the header.
    ///
    /// # Errors
    /// The project's id is longer than the format can say.
    pub fn encode(&self) -> Result<Vec<u8>, TryFromIntError> {
        let mut out = Vec::with_capacity(RECORD_HEADER_LEN + self.project.len());
        out.put_bytes(WAITING, CHECKED_FROM);
        out.put_u32_le(self.body_len);
        out.put_u32_le(self.body_checksum);
        out.put_u32_le(self.span_count);
        out.put_u64_le(self.since_unix_ms);
        out.put_u16_le(self.project.len().try_into()?);
        out.put_slice(self.project.as_bytes());
        let checksum = crc32fast::hash(&out[CHECKED_FROM..]);
        out[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        if self.done {
            out[0] = DONE;
        }
        Ok(out)
    }

    /// Reads a header; an inner error says what is wrong with it.
    fn read(reader: &mut impl Read) -> io::Result<Result<Self, SegmentError>> {
        let mut fixed = [0; RECORD_HEADER_LEN];
        if !fill(reader, &mut fixed)? {
            return Ok(Err(SegmentError::Torn));
        }
        let mut rest = &fixed[..];
        let (state, checksum) = (rest.get_u8(), rest.get_u32_le());
        let (body_len, body_checksum, span_count) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
        let (since_unix_ms, project_len) = (rest.get_u64_le(), rest.get_u16_le());
        let mut project = vec![0; usize::from(project_len)];
        if !fill(reader, &mut project)? {
            return Ok(Err(SegmentError::Torn));
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&fixed[CHECKED_FROM..]);
        hasher.update(&project);
        let sound = hasher.finalize() == checksum && body_len > 0 && span_count > 0;
        let project = String::from_utf8(project).ok().filter(|_| sound);
        Ok(project.ok_or(SegmentError::Corrupt).map(|project| RecordHeader {
            done: state == DONE,
            body_len,
            body_checksum,
            span_count,
            since_unix_ms,
            project,
        }))
    }
}

/// Goes through the records of a segment by their headers.
#[derive(Debug)]
pub struct Records<R> {
    reader: R,
    /// Of the next record.
    offset: u64,
    /// Of the file.
    len: u64,
}

impl<R: Read + Seek> Records<R> {
    /// The records of a file of `len` bytes, a segment of `form`.
    ///
    /// # Errors
    /// The file cannot be read; an inner error says why it is no such segment.
    pub fn open(mut reader: R, len: u64, form: Form) -> io::Result<Result<Self, NoSegment>> {
        let header = LAYOUT.read_header(&mut reader, form as u8)?;
        Ok(header.map(|()| Records { reader, offset: SEGMENT_HEADER_LEN as u64, len }))
    }

    /// The records of a file of `len` bytes from `offset` on, where one begins; see [`Records::offset`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn resume(mut reader: R, offset: u64, len: u64) -> io::Result<Self> {
        reader.seek(SeekFrom::Start(offset))?;
        Ok(Records { reader, offset, len })
    }

    /// The offset of the next record.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record with its offset; `None` behind the last one. Bodies are not looked at. After a fault there
    /// is nothing more to be had.
    ///
    /// # Errors
    /// The file cannot be read; an inner error says what is wrong with its contents.
    pub fn next_record(&mut self) -> io::Result<Option<Result<(u64, RecordHeader), SegmentError>>> {
        if self.rest() == 0 {
            return Ok(None);
        }
        let header = match RecordHeader::read(&mut self.reader)? {
            Ok(header) => header,
            Err(fault) => return Ok(Some(Err(fault))),
        };
        let end = self.offset + header.header_len() + u64::from(header.body_len);
        if end > self.len {
            return Ok(Some(Err(SegmentError::Torn)));
        }
        self.reader.seek(SeekFrom::Start(end))?;
        let offset = std::mem::replace(&mut self.offset, end);
        Ok(Some(Ok((offset, header))))
    }

    /// The bytes from the end of the last record to the end of the file.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.len.saturating_sub(self.offset)
    }
}

#[cfg(test)]
mod tests;
