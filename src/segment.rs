//! The common parts of the files of the journal and of the spool: segments that only grow, a header that names the
//! layout, checksums, and a [`directory`] that only one process uses at a time. Numbers are little-endian, checksums
//! are CRC-32 (IEEE 802.3).
//!
//! ```text
//! segment = magic, 8 B | version u16 | form u8 | 0 u8 | checksum u32 of what stands before it | record*
//! ```

pub mod directory;
pub mod file;
pub mod record;
pub mod reminder;

use std::io::{self, Read};

use bytes::{Buf, BufMut};
use thiserror::Error;

use crate::telemetry::metrics::DiskFault;

/// Length of a segment's header, in bytes.
pub const HEADER_LEN: usize = 16;

/// The layout of the segments that one program writes and reads.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The first bytes of each file.
    pub magic: &'static [u8; 8],
    /// The version of the layout of the records. Files of another version are not read.
    pub version: u16,
}

/// The reason why a file is not a segment that can be read. It may be a file of another version: leave it alone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoSegment {
    /// The file ends within the header.
    #[error("it ends within its header")]
    Short,
    /// The file does not begin with the magic bytes, or the header's checksum is wrong.
    #[error("it does not begin as a segment does")]
    Foreign,
    /// The program does not know this version of the layout.
    #[error("its format version is {found}, and this program knows {known}")]
    Version {
        /// The version in the file.
        found: u16,
        /// The version that the program knows: [`Layout::version`].
        known: u16,
    },
    /// The spans have a form that the configured sink does not take.
    #[error("its spans have form {0}, and the configured sink takes {1}")]
    Form(u8, u8),
}

impl Layout {
    /// Returns the header of a segment whose contents have this `form`.
    #[must_use]
    pub fn header(&self, form: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.put_slice(self.magic);
        out.put_u16_le(self.version);
        out.put_u8(form);
        out.put_u8(0);
        out.put_u32_le(crc32fast::hash(&out));
        out
    }

    /// Reads the first bytes of a file, and checks that they are the header of a segment of this `form`.
    ///
    /// # Errors
    /// The file cannot be read. The inner error gives the reason why the file is not such a segment.
    pub fn read_header(&self, reader: &mut impl Read, form: u8) -> io::Result<Result<(), NoSegment>> {
        let mut header = [0; HEADER_LEN];
        Ok(if fill(reader, &mut header)? { self.check(&header, form) } else { Err(NoSegment::Short) })
    }

    fn check(&self, header: &[u8; HEADER_LEN], form: u8) -> Result<(), NoSegment> {
        let (checked, mut checksum) = header.split_at(HEADER_LEN - 4);
        let mut rest = checked.strip_prefix(self.magic).ok_or(NoSegment::Foreign)?;
        let (version, found) = (rest.get_u16_le(), rest.get_u8());
        if version != self.version {
            return Err(NoSegment::Version { found: version, known: self.version });
        }
        if checksum.get_u32_le() != crc32fast::hash(checked) {
            return Err(NoSegment::Foreign);
        }
        if found == form { Ok(()) } else { Err(NoSegment::Form(found, form)) }
    }
}

/// The reason why the rest of a segment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// The file ends within a record: the process was killed while it wrote, or the disk was full.
    Torn,
    /// The checksum of a record header is wrong, so the start of the next record is unknown.
    Corrupt,
}

/// Fills `buffer`. Returns false if the input ends before `buffer` is full.
///
/// # Errors
/// The input cannot be read.
pub fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl From<SegmentError> for DiskFault {
    fn from(fault: SegmentError) -> Self {
        match fault {
            SegmentError::Torn => DiskFault::Torn,
            SegmentError::Corrupt => DiskFault::Corrupt,
        }
    }
}
