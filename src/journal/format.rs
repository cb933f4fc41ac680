//! The bytes of a segment of the journal, and of a recording. Pure. Numbers are little-endian, checksums CRC-32.
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
//! Sequence numbers grow from request to request. A note is about the request of its sequence number, or about its spans
//! of one trace, and stands behind it; see [`Note`]. The header has a checksum of its own: a body that has gone bad does not
//! hide the records after it. A recording is a directory of segments with requests only.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::{Buf, BufMut};

use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold};
pub use crate::segment::{Fault, HEADER_LEN as SEGMENT_HEADER_LEN, NoSegment};
use crate::segment::{Layout, fill};
use crate::tail::hold::{Note, Sequence};

const LAYOUT: Layout = Layout { magic: b"SPANJRNL", version: 1 };
/// There is one: OTLP.
const FORM: u8 = 0;
/// Bytes of a record's header.
pub const RECORD_HEADER_LEN: usize = 29;
/// Where the checked part of a record's header begins.
const CHECKED_FROM: usize = 4;

const KEPT: u8 = 1;
const SETTLED: u8 = 2;
const RELEASED: u8 = 3;

/// The header of a segment.
#[must_use]
pub fn segment_header() -> Vec<u8> {
    LAYOUT.header(FORM)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The body of a request.
    Request = 1,
    /// What became of requests.
    Notes = 2,
}

/// What stands before the body of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the body is.
    pub kind: Kind,
    /// Bytes of the body.
    pub body_len: u32,
    body_checksum: u32,
    /// The number of the request; 0 for notes.
    pub sequence: Sequence,
    /// When it was written, in nanoseconds of Unix time.
    pub unix_nano: u64,
}

impl RecordHeader {
    fn decode(bytes: &[u8; RECORD_HEADER_LEN]) -> Result<Self, Fault> {
        let mut rest = &bytes[..];
        let sound = rest.get_u32_le() == crc32fast::hash(&bytes[CHECKED_FROM..]);
        let kind = match rest.get_u8() {
            1 => Kind::Request,
            2 => Kind::Notes,
            _ => return Err(Fault::Corrupt),
        };
        let (body_len, body_checksum) = (rest.get_u32_le(), rest.get_u32_le());
        let (sequence, unix_nano) = (rest.get_u64_le(), rest.get_u64_le());
        let header = RecordHeader { kind, body_len, body_checksum, sequence, unix_nano };
        if sound { Ok(header) } else { Err(Fault::Corrupt) }
    }
}

/// Appends a record. Its body is less than 4 GiB.
pub fn put_record(out: &mut Vec<u8>, kind: Kind, sequence: Sequence, unix_nano: u64, body: &[u8]) {
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

/// The policies of the configuration, by what notes call them: their numbers change with the configuration.
#[derive(Clone, Debug, Default)]
pub struct PolicyMarks(Vec<u32>);

impl PolicyMarks {
    /// The marks of policies of these names, in their order.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        PolicyMarks(names.iter().map(|name| crc32fast::hash(name.as_bytes())).collect())
    }

    fn mark(&self, policy: u16) -> u32 {
        self.0.get(usize::from(policy)).copied().unwrap_or_default()
    }

    /// The policy with this mark; one that nobody has if there is none any more.
    fn policy(&self, mark: u32) -> u16 {
        self.0.iter().position(|&known| known == mark).map_or(u16::MAX, |at| at as u16)
    }
}

/// Appends a note.
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

/// Takes the next note off `rest`; `None` at its end, or where none begins.
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

/// Goes through the records of a segment; only bodies that are asked for are read.
#[derive(Debug)]
pub struct Records<R> {
    reader: BufReader<R>,
    /// Where the reader stands; not known after a failure.
    at: Option<u64>,
    /// The end of the last record.
    end: u64,
    /// Of the file.
    len: u64,
}

impl<R: Read + Seek> Records<R> {
    /// The records of a file of `len` bytes.
    ///
    /// # Errors
    /// The file cannot be read; an inner error says why it is no segment.
    pub fn open(reader: R, len: u64) -> io::Result<Result<Self, NoSegment>> {
        let mut reader = BufReader::new(reader);
        let header = LAYOUT.read_header(&mut reader, FORM)?;
        let end = SEGMENT_HEADER_LEN as u64;
        Ok(header.map(|()| Records { reader, at: Some(end), end, len }))
    }

    /// The next record; `None` behind the last one. After a fault there is nothing more to be had.
    ///
    /// # Errors
    /// The file cannot be read; an inner error says what is wrong with its contents.
    pub fn next_record(&mut self) -> io::Result<Option<Result<RecordHeader, Fault>>> {
        if self.rest() == 0 {
            return Ok(None);
        }
        self.seek_to_end()?;
        let mut header = [0; RECORD_HEADER_LEN];
        if !fill(&mut self.reader, &mut header)? {
            return Ok(Some(Err(Fault::Torn)));
        }
        let at = self.end + RECORD_HEADER_LEN as u64;
        let header = match RecordHeader::decode(&header) {
            Ok(header) if at + u64::from(header.body_len) > self.len => Err(Fault::Torn),
            other => other,
        };
        if let Ok(header) = header {
            self.at = Some(at);
            self.end = at + u64::from(header.body_len);
        }
        Ok(Some(header))
    }

    /// Goes to the end of the last record.
    fn seek_to_end(&mut self) -> io::Result<()> {
        match self.at.take() {
            Some(at) => self.reader.seek_relative((self.end - at) as i64),
            None => self.reader.seek(SeekFrom::Start(self.end)).map(drop),
        }
    }

    /// The body of the record `header`, the last one; `None` if it is not what was written.
    ///
    /// # Errors
    /// The file cannot be read. The records behind it may be.
    pub fn body(&mut self, header: &RecordHeader) -> io::Result<Option<Vec<u8>>> {
        let mut body = vec![0; header.body_len as usize];
        self.at = None;
        self.reader.read_exact(&mut body)?;
        self.at = Some(self.end);
        Ok((crc32fast::hash(&body) == header.body_checksum).then_some(body))
    }

    /// The bytes from the end of the last record to the end of the file.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.len.saturating_sub(self.end)
    }
}

#[cfg(test)]
mod tests;
