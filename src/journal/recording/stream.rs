//! The records of one segment, read from its beginning to its end. The length of the segment need not be known, and the
//! reader need not be able to seek.

use std::io::{self, Read};

use super::{REMARK_BYTES_MAX, Recorded, Remark};
use crate::journal::format::{
    self, FORM, JournalRecordHeader, NoSegment, RECORD_HEADER_LEN, RecordKind, SEGMENT_HEADER_LEN, SegmentError,
};
use crate::segment::fill;
use crate::segment::record::{self, Header};

/// The most bytes of a body. What claims to be larger is taken for damage, so that a few compressed bytes cannot fill the
/// memory.
pub const BODY_BYTES_MAX: u32 = 256 << 20;

/// The bytes of a body for which memory is taken before they are read.
const TRUSTED_BYTES_MAX: u32 = 1 << 20;

/// A record of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRecord {
    /// A request.
    Request(Recorded),
    /// A remark.
    Remark(Remark),
    /// A record of another kind. Its body is skipped.
    Other,
    /// A record whose body does not match its checksum, or a remark of more than [`REMARK_BYTES_MAX`] bytes.
    Damaged,
}

/// The records of a segment.
#[derive(Debug)]
pub struct StreamRecords<R> {
    reader: R,
    /// The end of the last record.
    offset: u64,
    /// The bytes of a header while it is read.
    header: Vec<u8>,
}

impl<R: Read> StreamRecords<R> {
    /// Reads the header of the segment.
    ///
    /// # Errors
    /// The input cannot be read. The inner error says why it is not a segment.
    pub fn open(mut reader: R) -> io::Result<Result<Self, NoSegment>> {
        let header = format::read_segment_header(&mut reader, FORM)?;
        let offset = SEGMENT_HEADER_LEN as u64;
        Ok(header.map(|()| StreamRecords { reader, offset, header: Vec::with_capacity(RECORD_HEADER_LEN) }))
    }

    /// Returns the offset of the next record.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next record; `None` behind the last one. After a fault, nothing more can be read.
    ///
    /// # Errors
    /// The input cannot be read; an inner error says what is wrong with its contents.
    pub fn next_record(&mut self) -> io::Result<Option<Result<StreamRecord, SegmentError>>> {
        let mut first = [0];
        match read_some(&mut self.reader, &mut first) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            // A compressed file ends within its last block.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(Err(SegmentError::Torn))),
            Err(error) => return Err(error),
        }
        let mut rest = first.as_slice().chain(&mut self.reader);
        let header = match record::read_header::<JournalRecordHeader>(&mut rest, &mut self.header)? {
            Ok(header) if header.body_len <= BODY_BYTES_MAX => header,
            Ok(_) => return Ok(Some(Err(SegmentError::Corrupt))),
            Err(fault) => return Ok(Some(Err(fault))),
        };
        let is_too_large = header.kind == RecordKind::Remark && header.body_len > REMARK_BYTES_MAX;
        let record = if is_too_large {
            self.skip(header.body_len)?.then_some(StreamRecord::Damaged)
        } else {
            self.body(header.body_len)?.map(|body| record_of(&header, body))
        };
        let Some(record) = record else { return Ok(Some(Err(SegmentError::Torn))) };
        self.offset += RECORD_HEADER_LEN as u64 + u64::from(header.body_len);
        Ok(Some(Ok(record)))
    }

    /// Reads a body that nobody needs. Returns false if the input ends within it.
    fn skip(&mut self, len: u32) -> io::Result<bool> {
        match io::copy(&mut (&mut self.reader).take(len.into()), &mut io::sink()) {
            Ok(read) => Ok(read == u64::from(len)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a body. It takes memory only for what is there. Returns `None` if the input ends within it.
    fn body(&mut self, len: u32) -> io::Result<Option<Vec<u8>>> {
        if len <= TRUSTED_BYTES_MAX {
            let mut body = vec![0; len as usize];
            return Ok(fill(&mut self.reader, &mut body)?.then_some(body));
        }
        let mut body = Vec::new();
        #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
        match (&mut self.reader).take(len.into()).read_to_end(&mut body) {
            Ok(read) => Ok((read == len as usize).then_some(body)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn record_of(header: &JournalRecordHeader, body: Vec<u8>) -> StreamRecord {
    if crc32fast::hash(&body) != header.body().checksum {
        return StreamRecord::Damaged;
    }
    match header.kind {
        RecordKind::Request => StreamRecord::Request(Recorded { unix_nano: header.unix_nano, body: body.into() }),
        RecordKind::Remark => StreamRecord::Remark(Remark::decode(&body)),
        RecordKind::Notes => StreamRecord::Other,
    }
}

/// Reads at least one byte, unless the input has ended.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
