//! What the files of the journal and of the spool have in common: segments that only grow, a header that names the
//! layout, checksums, and a [`directory`] that one process has at a time. Numbers are little-endian, checksums CRC-32
//! (IEEE 802.3).
//!
//! ```text
//! segment = magic, 8 B | version u16 | form u8 | 0 u8 | checksum u32 of what stands before it | record*
//! ```

pub mod directory;
pub mod file;
pub mod reminder;

use std::io::{self, Read};

use bytes::{Buf, BufMut};
use thiserror::Error;

/// Bytes of a segment's header.
pub const HEADER_LEN: usize = 16;

/// A kind of segments, which one program writes and reads.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// What its files begin with.
    pub magic: &'static [u8; 8],
    /// Of the layout of its records; another one is not guessed at.
    pub version: u16,
}

/// Why a file is not a segment that can be read. It may be that of another version: leave it alone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoSegment {
    /// The file ends within the header.
    #[error("it ends within its header")]
    Short,
    /// Not what a segment begins with.
    #[error("it does not begin as a segment does")]
    Foreign,
    /// A version of the layout that this program does not know.
    #[error("its format version is {found}, and this program knows {known}")]
    Version {
        /// In the file.
        found: u16,
        /// [`Layout::version`].
        known: u16,
    },
    /// Spans in a form that the configured sink does not take.
    #[error("its spans have form {0}, and the configured sink takes {1}")]
    Form(u8, u8),
}

impl Layout {
    /// The header of a segment whose contents have this `form`.
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

    /// Reads a file's first bytes, and checks that they are the header of a segment of `form`.
    ///
    /// # Errors
    /// The file cannot be read; an inner error says why it is no such segment.
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

/// Why the rest of a segment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends within a record: the process was killed while it wrote, or the disk was full.
    Torn,
    /// A header's checksum is wrong, and with it where the next record begins.
    Corrupt,
}

impl Fault {
    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Fault::Torn => "torn",
            Fault::Corrupt => "corrupt",
        }
    }
}

/// Fills `buffer`; false if the input ends before.
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
