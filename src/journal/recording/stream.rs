//! The records of one segment, read from its beginning to its end. The length of the segment need not be known, and the
//! reader need not be able to seek.

use std::io::{self, Read};

use bytes::Bytes;

use super::blocks::{Blocks, SHARED_BYTES_MAX};
use super::{REMARK_BYTES_MAX, Recorded, Remark};
use crate::journal::format::{
    self, FORM, JournalRecordHeader, NoSegment, RECORD_HEADER_LEN, RecordKind, SEGMENT_HEADER_LEN, SegmentError,
};
use crate::segment::record::{self, Header};

/// The most bytes of a body. What claims to be larger is taken for damage, so that a few compressed bytes cannot fill the
/// memory.
pub const BODY_BYTES_MAX: u32 = 256 << 20;

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
    blocks: Blocks<R>,
    /// The end of the last record.
    offset: u64,
    /// The bytes of a header while it is read.
    header: Vec<u8>,
}

impl<R: Read> StreamRecords<R> {
    /// Reads the header of the segment. No more is read than is needed, so that the records can be had as they come.
    ///
    /// # Errors
    /// The input cannot be read. The inner error says why it is not a segment.
    pub fn open(reader: R) -> io::Result<Result<Self, NoSegment>> {
        Self::begin(reader, false)
    }

    /// Does the same, and reads ahead.
    ///
    /// # Errors
    /// See [`StreamRecords::open`].
    pub fn read_ahead(reader: R) -> io::Result<Result<Self, NoSegment>> {
        Self::begin(reader, true)
    }

    fn begin(mut reader: R, is_eager: bool) -> io::Result<Result<Self, NoSegment>> {
        let header = format::read_segment_header(&mut reader, FORM)?;
        let (blocks, offset) = (Blocks::new(reader, is_eager), SEGMENT_HEADER_LEN as u64);
        Ok(header.map(|()| StreamRecords { blocks, offset, header: Vec::with_capacity(RECORD_HEADER_LEN) }))
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
        match self.blocks.has(1) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // A compressed file ends within its last block.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(Err(SegmentError::Torn))),
            Err(error) => return Err(error),
        }
        let header = match self.read_header()? {
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

    fn read_header(&mut self) -> io::Result<Result<JournalRecordHeader, SegmentError>> {
        if !self.has(RECORD_HEADER_LEN)? {
            return Ok(Err(SegmentError::Torn));
        }
        let header = record::read_header(&mut self.blocks.ahead(), &mut self.header)?;
        self.blocks.take(RECORD_HEADER_LEN);
        Ok(header)
    }

    /// Returns false if the input ends before there are so many bytes, or within a compressed block.
    fn has(&mut self, bytes: usize) -> io::Result<bool> {
        match self.blocks.has(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            result => result,
        }
    }

    /// Reads a body, and forgets it. Returns false if the input ends within it.
    fn skip(&mut self, len: u32) -> io::Result<bool> {
        self.read_alone(len, |reader| io::copy(reader, &mut io::sink()))
    }

    /// Reads a body. It takes memory only for what is there. Returns `None` if the input ends within it.
    fn body(&mut self, len: u32) -> io::Result<Option<Bytes>> {
        if len as usize <= SHARED_BYTES_MAX {
            return Ok(self.has(len as usize)?.then(|| self.blocks.take(len as usize)));
        }
        let mut body = Vec::new();
        #[expect(clippy::disallowed_methods, reason = "bounded by `len`")]
        let is_whole = self.read_alone(len, |reader| reader.read_to_end(&mut body).map(|read| read as u64))?;
        Ok(is_whole.then(|| body.into()))
    }

    /// Reads the next `len` bytes with `read`, which returns how many there were. Returns false if there were fewer.
    fn read_alone(&mut self, len: u32, read: impl FnOnce(&mut dyn Read) -> io::Result<u64>) -> io::Result<bool> {
        let result = read(&mut self.blocks.next_bytes(len));
        match result {
            Ok(read) if read == u64::from(len) => Ok(true),
            // If the input could not be read, the reason is known here.
            Ok(_) => self.has(1).map(|_| false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn record_of(header: &JournalRecordHeader, body: Bytes) -> StreamRecord {
    if crc32fast::hash(&body) != header.body().checksum {
        return StreamRecord::Damaged;
    }
    match header.kind {
        RecordKind::Request => StreamRecord::Request(Recorded { unix_nano: header.unix_nano, body }),
        RecordKind::Remark => StreamRecord::Remark(Remark::decode(&body)),
        RecordKind::Notes => StreamRecord::Other,
    }
}
