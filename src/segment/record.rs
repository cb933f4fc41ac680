//! The framing of records: a header with its own checksum, then a body.
//!
//! ```text
//! record = unchecked bytes | checksum u32 of the rest of the header | rest of the header | body
//! ```
//!
//! The rest of the header contains the length and the checksum of the body, at offsets that each kind of header chooses.
//! A damaged body does not hide the records after it.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::marker::PhantomData;

use bytes::{Buf, BufMut};

use super::{HEADER_LEN, Layout, NoSegment, SegmentError, fill};

const CHECKSUM_LEN: usize = size_of::<u32>();

/// The header of a record, which stands before its body.
pub trait Header: Sized {
    /// The segments that have such records.
    const LAYOUT: Layout;
    /// The number of bytes before the checksum, which the checksum does not cover.
    const UNCHECKED_LEN: usize;
    /// The number of bytes of the header without its last part, whose length varies.
    const FIXED_LEN: usize;

    /// Returns the number of bytes of the last part. `fixed` are the `FIXED_LEN` bytes before it, not checked yet.
    #[must_use]
    fn varying_len(_fixed: &[u8]) -> usize {
        0
    }

    /// Reads the bytes before the checksum and those after it, whose checksum is right. Returns `None` if this program
    /// does not write such a header.
    fn decode(unchecked: &[u8], checked: &[u8]) -> Option<Self>;

    /// Returns the length and the checksum of the body.
    fn body(&self) -> Body;
}

/// The length and the checksum of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The number of bytes.
    pub len: u32,
    /// Their CRC-32.
    pub checksum: u32,
}

/// Appends a header: the `unchecked` bytes, a checksum, and the bytes that `write` appends, which the checksum covers.
pub fn put_header(out: &mut Vec<u8>, unchecked: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    out.put_slice(unchecked);
    let start = out.len();
    out.put_u32_le(0);
    write(out);
    let checksum = crc32fast::hash(&out[start + CHECKSUM_LEN..]);
    out[start..start + CHECKSUM_LEN].copy_from_slice(&checksum.to_le_bytes());
}

/// Goes through the records of a segment by their headers. Only the bodies that are asked for are read.
#[derive(Debug)]
pub struct Records<R, H> {
    reader: BufReader<R>,
    /// The position of the reader in the file; not known after a failure.
    at: Option<u64>,
    /// The end of the last record.
    end: u64,
    /// The bytes of the file.
    len: u64,
    /// The bytes of a header while it is read.
    header: Vec<u8>,
    headers: PhantomData<H>,
}

impl<R: Read + Seek, H: Header> Records<R, H> {
    /// Returns the records of a file of `len` bytes, a segment of `form`.
    ///
    /// # Errors
    /// The file cannot be read. The inner error says why the file is not a segment of `form`.
    pub fn open(reader: R, len: u64, form: u8) -> io::Result<Result<Self, NoSegment>> {
        let mut records = Records::resume(reader, HEADER_LEN as u64, len);
        let header = H::LAYOUT.read_header(&mut records.reader, form)?;
        records.at = Some(records.end);
        Ok(header.map(|()| records))
    }

    /// Returns the records of a file of `len` bytes from `offset` on, where a record begins; see [`Records::offset`].
    pub fn resume(reader: R, offset: u64, len: u64) -> Self {
        Records { reader: BufReader::new(reader), at: None, end: offset, len, header: Vec::new(), headers: PhantomData }
    }

    /// Returns the offset of the next record.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.end
    }

    /// Returns the bytes from the end of the last record to the end of the file.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.len.saturating_sub(self.end)
    }

    /// Returns the header of the next record; `None` behind the last record. After a fault, nothing more can be read.
    ///
    /// # Errors
    /// The file cannot be read; an inner error says what is wrong with its contents.
    pub fn next_record(&mut self) -> io::Result<Option<Result<H, SegmentError>>> {
        if self.rest() == 0 {
            return Ok(None);
        }
        self.seek_to_end()?;
        let header = match self.read_header()? {
            Ok(header) => header,
            Err(fault) => return Ok(Some(Err(fault))),
        };
        let at = self.end + self.header.len() as u64;
        let end = at + u64::from(header.body().len);
        if end > self.len {
            return Ok(Some(Err(SegmentError::Torn)));
        }
        (self.at, self.end) = (Some(at), end);
        Ok(Some(Ok(header)))
    }

    /// Returns the body of the last record, which has this `header`; `None` if it is not what was written.
    ///
    /// # Errors
    /// The file cannot be read. The records behind the body may still be readable.
    pub fn body(&mut self, header: &H) -> io::Result<Option<Vec<u8>>> {
        let Body { len, checksum } = header.body();
        let mut body = vec![0; len as usize];
        self.at = None;
        self.reader.read_exact(&mut body)?;
        self.at = Some(self.end);
        Ok((crc32fast::hash(&body) == checksum).then_some(body))
    }

    fn seek_to_end(&mut self) -> io::Result<()> {
        match self.at.take() {
            Some(at) => self.reader.seek_relative((self.end - at) as i64),
            None => self.reader.seek(SeekFrom::Start(self.end)).map(drop),
        }
    }

    fn read_header(&mut self) -> io::Result<Result<H, SegmentError>> {
        read_header(&mut self.reader, &mut self.header)
    }
}

/// Reads the header of the next record. Its bytes are in `buffer` afterwards.
///
/// # Errors
/// The input cannot be read; an inner error says what is wrong with its contents.
pub fn read_header<H: Header>(reader: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Result<H, SegmentError>> {
    buffer.clear();
    buffer.resize(H::FIXED_LEN, 0);
    if !fill(reader, buffer)? {
        return Ok(Err(SegmentError::Torn));
    }
    buffer.resize(H::FIXED_LEN + H::varying_len(buffer), 0);
    if !fill(reader, &mut buffer[H::FIXED_LEN..])? {
        return Ok(Err(SegmentError::Torn));
    }
    let (unchecked, mut rest) = buffer.split_at(H::UNCHECKED_LEN);
    let checksum = rest.get_u32_le();
    let is_sound = crc32fast::hash(rest) == checksum;
    let header = if is_sound { H::decode(unchecked, rest) } else { None };
    Ok(header.ok_or(SegmentError::Corrupt))
}
