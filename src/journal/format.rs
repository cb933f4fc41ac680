//! The byte format of a segment of the journal, and of a recording. Pure. Numbers are little-endian, checksums are
//! CRC-32.
//!
//! ```text
//! segment  = header of crate::segment with magic "SPANJRNL" | record*
//! record   = checksum u32 of the rest of the header | kind u8 | body length u32 | body checksum u32 | sequence u64
//!            | time u64, ns of Unix time | body
//! request  = record of kind 1; body: an ExportTraceServiceRequest in protobuf
//! notes    = record of kind 2, sequence 0; body: note*
//! note     = 1 | sequence u64 | trace id, 16 B | checksum u32 of the policy's name | threshold u64 | rescued u8: kept
//!          | 2 | sequence u64 | trace id, 16 B: settled
//!          | 3 | sequence u64: released
//! ```
//!
//! Sequence numbers grow from request to request. A note is about the request with its sequence number, or about the
//! spans of one trace in that request, and stands after the request; see [`Note`]. The record header has its own
//! checksum, so that a damaged body does not hide the records after it. A recording is a directory of segments that
//! contain only requests.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::{Buf, BufMut};

use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold};
pub use crate::segment::{HEADER_LEN as SEGMENT_HEADER_LEN, NoSegment, SegmentError};
use crate::segment::{Layout, fill};
use crate::tail::journal_hold::{Note, Sequence};

const LAYOUT: Layout = Layout { magic: b"SPANJRNL", version: 1 };
/// The form byte of the segment header. There is only one form: OTLP.
const FORM: u8 = 0;
/// Length of a record's header, in bytes.
pub const RECORD_HEADER_LEN: usize = 29;
/// Offset in a record's header at which the checked part begins.
const CHECKED_FROM: usize = 4;

const KEPT: u8 = 1;
const SETTLED: u8 = 2;
const RELEASED: u8 = 3;

/// Returns the header of a segment.
#[must_use]
pub fn segment_header() -> Vec<u8> {
    LAYOUT.header(FORM)
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// The body of a request.
    Request = 1,
    /// Notes about requests.
    Notes = 2,
}

/// The header of a record, which stands before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRecordHeader {
    /// The kind of the record.
    pub kind: RecordKind,
    /// Length of the body, in bytes.
    pub body_len: u32,
    body_checksum: u32,
    /// The number of the request; 0 for notes.
    pub sequence: Sequence,
    /// The time of writing, in nanoseconds of Unix time.
    pub unix_nano: u64,
}

impl JournalRecordHeader {
    fn decode(bytes: &[u8; RECORD_HEADER_LEN]) -> Result<Self, SegmentError> {
        let mut rest = &bytes[..];
        let sound = rest.get_u32_le() == crc32fast::hash(&bytes[CHECKED_FROM..]);
        let kind = match rest.get_u8() {
            1 => RecordKind::Request,
            2 => RecordKind::Notes,
            _ => return Err(SegmentError::Corrupt),
        };
        let (body_len, body_checksum) = (rest.get_u32_le(), rest.get_u32_le());
        let (sequence, unix_nano) = (rest.get_u64_le(), rest.get_u64_le());
        let header = JournalRecordHeader { kind, body_len, body_checksum, sequence, unix_nano };
        if sound { Ok(header) } else { Err(SegmentError::Corrupt) }
    }
}

/// Appends a record to `out`. The body must be shorter than 4 GiB.
pub fn put_record(out: &mut Vec<u8>, kind: RecordKind, sequence: Sequence, unix_nano: u64, body: &[u8]) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind as u8);
    out.put_u32_le(body.len() as u32);
    out.put_u32_le(crc32fast::hash(body));
    out.put_u64_le(sequence);
    out.put_u64_le(unix_nano);
    let checksum = crc32fast::hash(&out[start + CHECKED_FROM..]);
    out[start..start + CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    out.put_slice(body);
}

/// The marks by which notes refer to the policies of the configuration: the CRC-32 of each policy's name. The index of
/// a policy can change with the configuration.
#[derive(Clone, Debug, Default)]
pub struct PolicyMarks(Vec<u32>);

impl PolicyMarks {
    /// Returns the marks of the policies with these names, in the same order.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        PolicyMarks(names.iter().map(|name| crc32fast::hash(name.as_bytes())).collect())
    }

    fn mark(&self, policy: u16) -> u32 {
        self.0.get(usize::from(policy)).copied().unwrap_or_default()
    }

    /// Returns the index of the policy with this mark, or `u16::MAX` if the configuration no longer has it.
    fn policy(&self, mark: u32) -> u16 {
        self.0.iter().position(|&known| known == mark).map_or(u16::MAX, |at| at as u16)
    }
}

/// Appends a note to `out`.
pub fn put_note(out: &mut Vec<u8>, note: Note, policies: &PolicyMarks) {
    match note {
        Note::Kept(sequence, trace, keep) => {
            out.put_u8(KEPT);
            out.put_u64_le(sequence);
            out.put_slice(&trace.0);
            out.put_u32_le(policies.mark(keep.policy));
            out.put_u64_le(keep.threshold.get());
            out.put_u8(keep.rescued.into());
        }
        Note::Settled(sequence, trace) => {
            out.put_u8(SETTLED);
            out.put_u64_le(sequence);
            out.put_slice(&trace.0);
        }
        Note::Released(sequence) => {
            out.put_u8(RELEASED);
            out.put_u64_le(sequence);
        }
    }
}

/// Takes the next note off `rest`. Returns `None` at the end, or if the bytes are not a valid note.
pub fn take_note(rest: &mut &[u8], policies: &PolicyMarks) -> Option<Note> {
    let tag = rest.try_get_u8().ok()?;
    let sequence = rest.try_get_u64_le().ok()?;
    if tag == RELEASED {
        return Some(Note::Released(sequence));
    }
    let mut trace = TraceId([0; 16]);
    rest.try_copy_to_slice(&mut trace.0).ok()?;
    match tag {
        SETTLED => Some(Note::Settled(sequence, trace)),
        KEPT => {
            let policy = policies.policy(rest.try_get_u32_le().ok()?);
            let threshold = Threshold::from_bits(rest.try_get_u64_le().ok()?);
            let rescued = rest.try_get_u8().ok()? != 0;
            Some(Note::Kept(sequence, trace, Keep { rescued, ..Keep::new(policy, threshold) }))
        }
        _ => None,
    }
}

/// A reader of the records of a segment. It reads only those bodies that are asked for.
#[derive(Debug)]
pub struct JournalRecords<R> {
    reader: BufReader<R>,
    /// The position of the reader; `None` after a failure, when it is unknown.
    at: Option<u64>,
    /// The end of the last record.
    end: u64,
    /// The length of the file.
    len: u64,
}

impl<R: Read + Seek> JournalRecords<R> {
    /// Returns the records of a file of `len` bytes.
    ///
    /// # Errors
    /// The file cannot be read. The inner error gives the reason why the file is not a valid segment.
    pub fn open(reader: R, len: u64) -> io::Result<Result<Self, NoSegment>> {
        let mut reader = BufReader::new(reader);
        let header = LAYOUT.read_header(&mut reader, FORM)?;
        let end = SEGMENT_HEADER_LEN as u64;
        Ok(header.map(|()| JournalRecords { reader, at: Some(end), end, len }))
    }

    /// Returns the next record, or `None` after the last one. After a fault, no more records can be read.
    ///
    /// # Errors
    /// The file cannot be read. The inner error is a fault of its contents.
    pub fn next_record(&mut self) -> io::Result<Option<Result<JournalRecordHeader, SegmentError>>> {
        if self.rest() == 0 {
            return Ok(None);
        }
        self.seek_to_end()?;
        let mut header = [0; RECORD_HEADER_LEN];
        if !fill(&mut self.reader, &mut header)? {
            return Ok(Some(Err(SegmentError::Torn)));
        }
        let at = self.end + RECORD_HEADER_LEN as u64;
        let header = match JournalRecordHeader::decode(&header) {
            Ok(header) if at + u64::from(header.body_len) > self.len => Err(SegmentError::Torn),
            other => other,
        };
        if let Ok(header) = header {
            self.at = Some(at);
            self.end = at + u64::from(header.body_len);
        }
        Ok(Some(header))
    }

    /// Moves the reader to the end of the last record.
    fn seek_to_end(&mut self) -> io::Result<()> {
        match self.at.take() {
            Some(at) => self.reader.seek_relative((self.end - at) as i64),
            None => self.reader.seek(SeekFrom::Start(self.end)).map(drop),
        }
    }

    /// Returns the body of the last record, whose header is `header`, or `None` if the body does not match its
    /// checksum.
    ///
    /// # Errors
    /// The file cannot be read. The records after this one may still be readable.
    pub fn body(&mut self, header: &JournalRecordHeader) -> io::Result<Option<Vec<u8>>> {
        let mut body = vec![0; header.body_len as usize];
        self.at = None;
        self.reader.read_exact(&mut body)?;
        self.at = Some(self.end);
        Ok((crc32fast::hash(&body) == header.body_checksum).then_some(body))
    }

    /// Returns the number of bytes from the end of the last record to the end of the file.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.len.saturating_sub(self.end)
    }
}

#[cfg(test)]
mod tests;
