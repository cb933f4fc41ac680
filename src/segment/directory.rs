//! A directory of segments: its lock and its files.

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::file::{Faults, SegmentFile, SegmentPath, SystemCall, identity, open_with};

/// Mode of the files: only the owner may read spans. The lock file has the same mode, because a user who can open it
/// can hold the lock.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The greatest number of a segment: one segment a second lasts for 136 years. The journal puts the number of a segment
/// into the upper half of 64-bit request numbers. A file with a greater number was not made by this program.
const NUMBER_MAX: u64 = u32::MAX as u64 - 1;
/// The most names that are tried for a new segment if files with these names already exist.
const NAMES_TRIED_MAX: usize = 100;
const SUFFIX: &str = ".segment";

/// The reason why a directory cannot be used. The operator must change something.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be created, read or written.
    #[error("{key}: {path:?} cannot be used: {cause}")]
    Unusable {
        /// The configuration key of the directory.
        key: &'static str,
        /// The path of the directory, or of a file in it.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// Another process uses the directory.
    #[error("{key}: {path:?} is in use by another process: each one needs a directory of its own")]
    Locked {
        /// The configuration key of the directory.
        key: &'static str,
        /// The path of the directory.
        path: PathBuf,
    },
}

/// The owner of a directory of segments: the journal or the spool.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryOwner {
    /// The start of each file name.
    pub name: &'static str,
    /// The configuration key of the directory.
    pub key: &'static str,
}

/// A directory that no other process has open. The lock ends with the process, however the process ends.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    owner: DirectoryOwner,
    /// The device and inode of the locked directory; see [`Directory::check`].
    identity: (u64, u64),
    /// The number of the next segment: greater than the number of any file that was there at the start.
    next_number: u64,
    /// The number of a new file that is not used and could not be removed. It is removed before another file is
    /// created, so that there is at most one.
    stray: Option<u64>,
    faults: Faults,
    _lock: File,
}

impl Directory {
    /// Locks the directory, and creates it if it does not exist. Also returns the numbers of its segments, oldest
    /// first. Other files are logged and left alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, owner: DirectoryOwner) -> Result<(Self, Vec<u64>), OpenError> {
        let failed = |cause| OpenError::Unusable { key: owner.key, path: path.to_owned(), cause };
        make(path).map_err(failed)?;
        let lock = lock(path, owner)?;
        let identity = identity(&fs::metadata(path).map_err(failed)?);
        let segments = owner.segments(path).map_err(failed)?;
        let numbers = segments.into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        let next_number = numbers.last().map_or(1, |last| last + 1);
        let path = path.to_owned();
        Ok((
            Directory { path, owner, identity, next_number, stray: None, faults: Faults::default(), _lock: lock },
            numbers,
        ))
    }

    /// Returns the path of a segment.
    #[must_use]
    pub fn segment(&self, number: u64) -> PathBuf {
        self.path.join(self.owner.file_name(number))
    }

    /// Returns the least number of the next segment. It is greater than that of each segment that is there now or was
    /// there since the start.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Returns the handle with which tests plan faults of the disk.
    #[cfg(test)]
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Checks that the path still leads to the locked directory. If the directory was removed, or its disk is not
    /// mounted any more, this must not look as if the files were deleted.
    ///
    /// # Errors
    /// The path leads to another directory, or to none.
    pub fn check(&self) -> io::Result<()> {
        if identity(&fs::metadata(&self.path)?) == self.identity {
            return Ok(());
        }
        Err(io::Error::other(
            "another directory is in the place of the one that was opened: put that one back, or restart",
        ))
    }

    /// Creates the file of a new segment, writes `header` to it, and syncs the directory, so that the name outlives a
    /// loss of power. Returns the number of the segment and the open file.
    ///
    /// # Errors
    /// A system call fails, or the directory is not in its place. There is no new file then; see
    /// [`Directory::discard`].
    pub fn create(&mut self, header: &[u8]) -> io::Result<(u64, SegmentFile)> {
        self.check()?;
        if let Some(stray) = self.stray {
            self.remove(stray)?;
            self.stray = None;
        }
        let (number, mut file) = self.create_next()?;
        let written = file.append(header).and_then(|()| self.sync());
        if let Err(error) = written {
            self.discard(number);
            return Err(error);
        }
        Ok((number, file))
    }

    fn create_next(&mut self) -> io::Result<(u64, SegmentFile)> {
        for _ in 0..NAMES_TRIED_MAX {
            let number = self.next_number;
            if number > NUMBER_MAX {
                break;
            }
            let path = self.segment(number);
            self.faults.check(SystemCall::Create, &path)?;
            let created = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(&path);
            // A file that another program has made since the start keeps its name.
            if !created.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
                let file = created?;
                self.next_number += 1;
                return Ok((number, SegmentFile::new(file, path, self.faults.clone())));
            }
            self.next_number += 1;
        }
        let name = self.owner.file_name(self.next_number - 1);
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("the files up to {name} are in the way of new ones")))
    }

    /// Returns the path of a segment with the planned faults.
    #[must_use]
    pub fn segment_path(&self, number: u64) -> SegmentPath {
        SegmentPath::new(self.segment(number), self.faults.clone())
    }

    /// Opens a segment for reading.
    ///
    /// # Errors
    /// The system call fails, or the file is not a regular file.
    pub fn open_segment(&self, number: u64) -> io::Result<SegmentFile> {
        self.segment_path(number).open()
    }

    /// Deletes a segment. Succeeds if it is already deleted.
    ///
    /// # Errors
    /// The system call fails, or the directory is not in its place.
    pub fn remove(&self, number: u64) -> io::Result<()> {
        let path = self.segment(number);
        self.faults.check(SystemCall::Remove, &path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.check(),
            removed => removed,
        }
    }

    /// Returns true if the file of a segment was deleted. Returns false if the directory itself is not in its place.
    #[must_use]
    pub fn is_gone(&self, number: u64) -> bool {
        let there = fs::symlink_metadata(self.segment(number));
        there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && self.check().is_ok()
    }

    /// Deletes the newest segment, which has no record. If that fails, [`Directory::create`] tries again before it
    /// makes the next file.
    pub fn discard(&mut self, number: u64) {
        self.stray = self.remove(number).is_err().then_some(number);
    }

    /// Syncs the directory, so that the names of new files outlive a loss of power.
    ///
    /// # Errors
    /// The system call fails.
    fn sync(&self) -> io::Result<()> {
        self.faults.check(SystemCall::SyncDirectory, &self.path)?;
        File::open(&self.path)?.sync_all()
    }
}

impl DirectoryOwner {
    /// Returns the file name of a segment. Names sort in the same order as numbers.
    #[must_use]
    pub fn file_name(&self, number: u64) -> String {
        format!("{}-{number:020}{SUFFIX}", self.name)
    }

    /// Returns the number of the segment with this path, or `None` if the name is not that of a segment.
    fn number(&self, path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let number = name.strip_prefix(self.name)?.strip_prefix('-')?.strip_suffix(SUFFIX)?.parse().ok()?;
        (self.file_name(number) == name && number <= NUMBER_MAX).then_some(number)
    }

    fn lock_name(&self) -> String {
        format!("{}.lock", self.name)
    }

    fn recovery_name(&self) -> String {
        format!("{}.recovery", self.name)
    }

    /// Returns the path of the file in `directory` that records what is being read back.
    #[must_use]
    pub fn recovery_file(&self, directory: &Path) -> PathBuf {
        directory.join(self.recovery_name())
    }

    /// Returns the segments in a directory with their numbers, oldest first. Other files are logged, including pipes,
    /// devices and directories with the name of a segment.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn segments(&self, directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            // A file whose metadata cannot be read now may be a segment.
            let may_be_regular = fs::metadata(&path).map_or(true, |file| file.is_file());
            match self.number(&path).filter(|_| may_be_regular) {
                Some(number) => segments.push((number, path)),
                None if path
                    .file_name()
                    .is_some_and(|name| *name == *self.lock_name() || *name == *self.recovery_name()) => {}
                None => {
                    tracing::warn!(path = %path.display(), "A file in the {}'s directory is not one of its segments.", self.name);
                }
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }
}

/// Creates the directory if it does not exist, and syncs its parent, so that it outlives a loss of power.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The parent may belong to another user, and need not be readable.
    if let Err(cause) = File::open(parent).and_then(|parent| parent.sync_all()) {
        tracing::warn!(path = %path.display(), %cause, "The new directory may be lost if the machine loses power.");
    }
    Ok(())
}

/// Takes the lock. The lock file stays when the process ends: a process that removed it could not know if another
/// process had just locked it.
fn lock(directory: &Path, owner: DirectoryOwner) -> Result<File, OpenError> {
    let path = directory.join(owner.lock_name());
    match open_lock(&path).map(|file| (file.try_lock(), file)) {
        Ok((Ok(()), file)) => Ok(file),
        Ok((Err(TryLockError::WouldBlock), _)) => Err(OpenError::Locked { key: owner.key, path: directory.to_owned() }),
        Ok((Err(TryLockError::Error(cause)), _)) | Err(cause) => {
            Err(OpenError::Unusable { key: owner.key, path, cause })
        }
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let file = open_with(OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE), path)?;
    // Earlier versions made the file readable for every user of the machine, so that any of them could hold the lock.
    if file.metadata()?.permissions().mode() & 0o777 != FILE_MODE
        && let Err(cause) = file.set_permissions(Permissions::from_mode(FILE_MODE))
    {
        tracing::warn!(path = %path.display(), %cause, "Other users of the machine can hold this lock.");
    }
    Ok(file)
}
