//! A directory of segments: its lock, and the names of its files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Spans are nobody's business but the owner's.
const FILE_MODE: u32 = 0o600;
const SUFFIX: &str = ".segment";

/// Why a directory cannot be used. Somebody has to change something.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("{key}: {path:?} cannot be used: {cause}")]
    Unusable {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The directory, or the file in it.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// Another process uses it.
    #[error("{key}: {path:?} is in use by another process: each one needs a directory of its own")]
    Locked {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The directory.
        path: PathBuf,
    },
}

/// Whose segments they are.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// What the names of its files begin with.
    pub name: &'static str,
    /// The key of the configuration that names the directory.
    pub key: &'static str,
}

/// A directory that no other process has open. The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    owner: Owner,
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, and locks it. Returns its segments by number, oldest first, too; other files are
    /// named in the log and left alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, owner: Owner) -> Result<(Self, Vec<(u64, PathBuf)>), OpenError> {
        let failed = |cause| OpenError::Unusable { key: owner.key, path: path.to_owned(), cause };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = lock(path, owner)?;
        let segments = owner.segments(path).map_err(failed)?;
        Ok((Directory { path: path.to_owned(), owner, _lock: lock }, segments))
    }

    /// The file of this segment.
    #[must_use]
    pub fn segment(&self, number: u64) -> PathBuf {
        self.path.join(self.owner.file_name(number))
    }

    /// Makes the file of a new segment, to be appended to.
    ///
    /// # Errors
    /// The system's; also if there is such a file.
    pub fn create(&self, number: u64) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(self.segment(number))
    }

    /// Makes sure that the names of new files outlive a loss of power.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Owner {
    /// The name of a segment's file; names sort as the numbers do.
    #[must_use]
    pub fn file_name(&self, number: u64) -> String {
        format!("{}-{number:020}{SUFFIX}", self.name)
    }

    /// The number of the segment in a file of that name.
    fn number(&self, path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let number = name.strip_prefix(self.name)?.strip_prefix('-')?.strip_suffix(SUFFIX)?.parse().ok()?;
        (self.file_name(number) == name).then_some(number)
    }

    fn lock_name(&self) -> String {
        format!("{}.lock", self.name)
    }

    /// The segments in a directory by number, oldest first. Other files are named in the log.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn segments(&self, directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            match self.number(&path) {
                Some(number) => segments.push((number, path)),
                None if path.file_name().is_some_and(|name| *name == *self.lock_name()) => {}
                None => {
                    tracing::warn!(path = %path.display(), "A file in the {}'s directory is none of its own", self.name);
                }
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }
}

/// The file stays: who removed it could not tell whether another one had just locked it.
fn lock(directory: &Path, owner: Owner) -> Result<File, OpenError> {
    let path = directory.join(owner.lock_name());
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    match file.map(|file| (file.try_lock(), file)) {
        Ok((Ok(()), file)) => Ok(file),
        Ok((Err(TryLockError::WouldBlock), _)) => Err(OpenError::Locked { key: owner.key, path: directory.to_owned() }),
        Ok((Err(TryLockError::Error(cause)), _)) | Err(cause) => {
            Err(OpenError::Unusable { key: owner.key, path, cause })
        }
    }
}
