//! The byte format of a segment of the journal, and of a recording. Pure. Numbers are little-endian, checksums are
//! CRC-32.
//!
//! ```text
//! segment  = header of crate::segment with magic "SPANJRNL" | record*
//! record   = checksum u32 of the rest of the header | kind u8 | body length u32 | body checksum u32 | sequence u64
//!            | time u64, ns of Unix time | body
//! request  = record of kind 1; body: an ExportTraceServiceRequest in protobuf
//! notes    = record of kind 2, sequence 0; body: note*
//! remark   = record of kind 3, sequence 0, only in recordings; body: JSON, see crate::journal::recording::Remark
//! note     = 1 | sequence u64 | trace id, 16 B | checksum u32 of the policy's name | threshold u64 | rescued u8: kept
//!          | 2 | sequence u64 | trace id, 16 B: settled
//!          | 3 | sequence u64: released
//! ```
//!
//! Sequence numbers grow from request to request. A note is about the request with its sequence number, or about the
//! spans of one trace in that request, and stands after the request; see [`Note`]. The record header has its own
//! checksum, so that a damaged body does not hide the records after it. A recording contains requests and remarks. It is a
//! file with one segment, compressed or not, or a directory of segments.

use std::io::{self, Read};

use bytes::{Buf, BufMut};

use crate::otlp::TraceId;
use crate::sampling::{Keep, PolicyNames, Threshold};
use crate::segment::Layout;
use crate::segment::record::{self, Body, Header};
pub use crate::segment::{HEADER_LEN as SEGMENT_HEADER_LEN, NoSegment, SegmentError};
use crate::tail::journal_hold::{Note, Sequence};

const LAYOUT: Layout = Layout { magic: b"SPANJRNL", version: 1 };
/// The form byte of the segment header. There is only one form: OTLP.
pub const FORM: u8 = 0;
/// Length of a record's header, in bytes.
pub const RECORD_HEADER_LEN: usize = 29;

const KEPT: u8 = 1;
const SETTLED: u8 = 2;
const RELEASED: u8 = 3;

/// Returns the header of a segment.
#[must_use]
pub fn segment_header() -> Vec<u8> {
    LAYOUT.header(FORM)
}

/// Reads the header of a segment.
///
/// # Errors
/// The input cannot be read. The inner error says why it is not a segment of the journal of this `form`.
pub fn read_segment_header(reader: &mut impl Read, form: u8) -> io::Result<Result<(), NoSegment>> {
    LAYOUT.read_header(reader, form)
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// The body of a request.
    Request = 1,
    /// Notes about requests.
    Notes = 2,
    /// A remark about a recording.
    Remark = 3,
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

impl Header for JournalRecordHeader {
    const LAYOUT: Layout = LAYOUT;
    const UNCHECKED_LEN: usize = 0;
    const FIXED_LEN: usize = RECORD_HEADER_LEN;

    fn decode(_: &[u8], mut rest: &[u8]) -> Option<Self> {
        let kind = match rest.get_u8() {
            1 => RecordKind::Request,
            2 => RecordKind::Notes,
            3 => RecordKind::Remark,
            _ => return None,
        };
        let (body_len, body_checksum) = (rest.get_u32_le(), rest.get_u32_le());
        let (sequence, unix_nano) = (rest.get_u64_le(), rest.get_u64_le());
        Some(JournalRecordHeader { kind, body_len, body_checksum, sequence, unix_nano })
    }

    fn body(&self) -> Body {
        Body { len: self.body_len, checksum: self.body_checksum }
    }
}

/// The records of a segment.
pub type JournalRecords<R> = record::Records<R, JournalRecordHeader>;

/// Appends a record to `out`. The body must be shorter than 4 GiB.
pub fn put_record(out: &mut Vec<u8>, kind: RecordKind, sequence: Sequence, unix_nano: u64, body: &[u8]) {
    put_record_header(out, kind, sequence, unix_nano, body);
    out.put_slice(body);
}

/// Appends the record of a request whose body `write` appends. The body must be shorter than 4 GiB.
///
/// # Errors
/// The error of `write`. In this case, `out` is as it was before.
pub fn put_request_of<E>(
    out: &mut Vec<u8>,
    sequence: Sequence,
    unix_nano: u64,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    let body = start + RECORD_HEADER_LEN;
    out.resize(body, 0);
    if let Err(error) = write(out) {
        out.truncate(start);
        return Err(error);
    }
    let mut header = Vec::with_capacity(RECORD_HEADER_LEN);
    put_record_header(&mut header, RecordKind::Request, sequence, unix_nano, &out[body..]);
    out[start..body].copy_from_slice(&header);
    Ok(())
}

/// Appends the header of the record with this `body` to `out`.
pub fn put_record_header(out: &mut Vec<u8>, kind: RecordKind, sequence: Sequence, unix_nano: u64, body: &[u8]) {
    record::put_header(out, &[], |out| {
        out.put_u8(kind as u8);
        out.put_u32_le(body.len() as u32);
        out.put_u32_le(crc32fast::hash(body));
        out.put_u64_le(sequence);
        out.put_u64_le(unix_nano);
    });
}

/// The marks by which notes refer to the policies of the configuration: the CRC-32 of each policy's name. The number of
/// a policy can change with the configuration.
#[derive(Clone, Debug, Default)]
pub struct PolicyMarks(PolicyNames);

impl PolicyMarks {
    /// Returns the marks of the policies with these names.
    #[must_use]
    pub fn new(names: PolicyNames) -> Self {
        PolicyMarks(names)
    }

    fn mark(&self, policy: u16) -> u32 {
        self.0.with(policy, |name| crc32fast::hash(name.as_bytes()))
    }

    /// Returns the number of the policy with this mark, or `u16::MAX` if the configuration no longer has it.
    fn policy(&self, mark: u32) -> u16 {
        self.0.position(|name| crc32fast::hash(name.as_bytes()) == mark).unwrap_or(u16::MAX)
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

#[cfg(test)]
mod tests;
