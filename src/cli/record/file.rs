//! The file of a recording: it gets its name only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The mode of the file: only the owner may read spans.
const FILE_MODE: u32 = 0o600;
/// The end of the name of a file that is not whole.
const SUFFIX: &str = ".partial";

/// The path that stands for standard output.
const STDOUT: &str = "-";

/// The reason why there can be no recording in the place that was named.
#[derive(Debug, Error)]
pub(super) enum FileError {
    /// There is a file of this name.
    #[error("{} exists already: give --out another name, or remove it", .0.display())]
    Exists(PathBuf),
    /// There is a file that is not whole.
    #[error(
        "{} exists already: another `spansieve record` writes it, or one was killed. It can be read up to its last \
         request; rename or remove it", .0.display()
    )]
    PartialExists(PathBuf),
    /// The name is not that of a file.
    #[error("--out {}: name a file", .0.display())]
    NoName(PathBuf),
    /// The name stands for standard output.
    #[error(
        "--out -: a recording is a file that gets its name once it is whole; name a file, or read /api/recording of the \
         daemon with `curl -N`, whose answer is a recording without compression"
    )]
    Stdout,
    /// The system refuses.
    #[error("cannot create {}: {cause}; {}", path.display(), remedy(cause))]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "make its folder first, or give --out another place",
        io::ErrorKind::StorageFull => "give --out a place with room",
        _ => "give --out a place where this user may write",
    }
}

/// A file that is not whole. If it is dropped before it is [finished](PartialFile::finish) or
/// [left](PartialFile::leave), it is removed.
#[derive(Debug)]
pub(super) struct PartialFile {
    pub(super) file: File,
    partial: PathBuf,
    path: PathBuf,
    stays: bool,
}

impl PartialFile {
    /// Creates the file beside `path`.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        if path == Path::new(STDOUT) {
            return Err(FileError::Stdout);
        }
        let Some(name) = path.file_name() else { return Err(FileError::NoName(path.to_owned())) };
        if fs::symlink_metadata(path).is_ok() {
            return Err(FileError::Exists(path.to_owned()));
        }
        let mut name = name.to_owned();
        name.push(SUFFIX);
        let partial = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&partial);
        match file {
            Ok(file) => Ok(PartialFile { file, partial, path: path.to_owned(), stays: false }),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Err(FileError::PartialExists(partial)),
            Err(cause) => Err(FileError::Unusable { path: partial, cause }),
        }
    }

    /// Returns a file that is open already.
    #[cfg(test)]
    pub(super) fn of(file: File, partial: PathBuf, path: PathBuf) -> Self {
        PartialFile { file, partial, path, stays: false }
    }

    /// Returns the path of the file as it is now.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Writes the file to the disk, and gives it its name. A file that has appeared in that place is not replaced.
    pub(super) fn finish(mut self) -> io::Result<()> {
        // If something fails from here on, what was recorded must not be lost.
        self.stays = true;
        self.file.sync_all()?;
        fs::hard_link(&self.partial, &self.path).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            // Some file systems have no links. There, a file that appears between these two steps is replaced.
            _ if self.path.exists() => Err(io::ErrorKind::AlreadyExists.into()),
            _ => fs::rename(&self.partial, &self.path),
        })?;
        match fs::remove_file(&self.partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Leaves the file as it is.
    pub(super) fn leave(mut self) {
        self.stays = true;
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.stays {
            // If it cannot be removed, nothing is lost.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
