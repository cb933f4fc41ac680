//! The files of segments. All system calls on these files are made here, so that a test can make any of them fail.

mod faults;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use self::faults::Faults;
pub(crate) use self::faults::SystemCall;

/// The fault of a path that leads to a pipe, a device or a directory.
const NOT_REGULAR: &str = "it is not a regular file: name a file, and not a pipe, a device or a directory";

/// Opens a regular file for reading. Refuses a pipe or a device at once, because reading it could block for ever.
///
/// # Errors
/// The system call fails, or the file is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// A system call fails, or the file is not a regular file, or is larger.
pub fn read_regular(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    open_regular(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Opens a file with `options`, if it is a regular file.
pub(crate) fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, the call waits for the other end of a pipe. Regular files ignore the flag.
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(NOT_REGULAR)) }
}

/// Returns the device and inode of a file. They tell if two paths lead to the same file.
pub(super) fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The path of a segment, which need not be open.
#[derive(Clone, Debug)]
pub struct SegmentPath {
    path: PathBuf,
    faults: Faults,
}

impl SegmentPath {
    pub(super) fn new(path: PathBuf, faults: Faults) -> Self {
        SegmentPath { path, faults }
    }

    /// Returns the length of the file in bytes, even if the file cannot be opened.
    ///
    /// # Errors
    /// The system call fails.
    pub fn size(&self) -> io::Result<u64> {
        fs::metadata(&self.path).map(|file| file.len())
    }

    /// Opens the segment for reading.
    ///
    /// # Errors
    /// The system call fails, or the file is not a regular file.
    pub fn open(&self) -> io::Result<SegmentFile> {
        self.open_as(OpenOptions::new().read(true))
    }

    /// Opens the segment for writing in place.
    ///
    /// # Errors
    /// The system call fails, or the file is not a regular file.
    pub fn open_to_change(&self) -> io::Result<SegmentFile> {
        self.open_as(OpenOptions::new().write(true))
    }

    fn open_as(&self, options: &mut OpenOptions) -> io::Result<SegmentFile> {
        self.faults.check(SystemCall::Open, &self.path)?;
        Ok(SegmentFile::new(open_with(options, &self.path)?, self.path.clone(), self.faults.clone()))
    }
}

/// An open file of a segment.
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    path: PathBuf,
    faults: Faults,
}

impl SegmentFile {
    pub(super) fn new(file: File, path: PathBuf, faults: Faults) -> Self {
        SegmentFile { file, path, faults }
    }

    /// Returns the length of the file in bytes.
    ///
    /// # Errors
    /// The system call fails.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Returns true if the path of the segment still leads to this file. It does not after the file or a directory
    /// above it was removed or moved. Everything written from then on would be lost at the next start.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let there = fs::metadata(&self.path).and_then(|there| Ok((identity(&there), identity(&self.file.metadata()?))));
        there.is_ok_and(|(there, here)| there == here)
    }

    /// Checks that the file is in its place; see [`SegmentFile::is_in_place`].
    ///
    /// # Errors
    /// The path leads to another file, or to none.
    pub fn check_place(&self) -> io::Result<()> {
        if self.is_in_place() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{} was removed or moved", self.path.display())))
    }

    /// Writes `bytes` at the end of the file, which must have been opened by [`super::directory::Directory::create`].
    ///
    /// # Errors
    /// The system call fails. A part of `bytes` may have been written.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.faults.check(SystemCall::Write, &self.path)?;
        self.file.write_all(bytes)
    }

    /// Syncs the contents, so that they outlive a loss of power.
    ///
    /// # Errors
    /// The system call fails. The system may have dropped what was written: write it again, to another file.
    pub fn sync(&self) -> io::Result<()> {
        self.faults.check(SystemCall::Sync, &self.path)?;
        self.file.sync_data()
    }

    /// Cuts the file to its first `bytes` bytes.
    ///
    /// # Errors
    /// The system call fails.
    pub fn cut(&self, bytes: u64) -> io::Result<()> {
        self.faults.check(SystemCall::Cut, &self.path)?;
        self.file.set_len(bytes)
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// The system call fails. The kind is `UnexpectedEof` if the file ends before `buffer` is full.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.faults.check(SystemCall::Read, &self.path)?;
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes `bytes` at `offset`. The file must have been opened with [`SegmentPath::open_to_change`].
    ///
    /// # Errors
    /// The system call fails.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.check(SystemCall::Write, &self.path)?;
        self.file.write_all_at(bytes, offset)
    }
}

impl Read for SegmentFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.faults.check(SystemCall::Read, &self.path)?;
        self.file.read(buffer)
    }
}

impl Seek for SegmentFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
