//! Watches files that are replaced while the process runs: renewed certificates, rotated tokens, the configuration.
//!
//! It compares their contents, not their dates. Secrets are mounted as links that are swapped, and some file systems
//! have coarse timestamps or none.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::segment::file::read_regular;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Reload as ReloadOutcome;
use crate::trust::FILE_BYTES_MAX;

/// Time between two readings. The old and the new secret overlap by hours in a rotation. Where each reading is a paid
/// call (Cloud Run fetches a mounted secret at every reading), a reading a minute costs pennies a month.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Time after which a pending reading is reported as failed: the disk, or a network behind it, does not answer. The
/// reading goes on.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// Error for a file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// Watched files and their contents at the last reading. Contents are secret, so only their hash is kept.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    reader: FileReader,
    seen: Seen,
}

/// Hash of all contents, or the reason why they could not be read.
type Seen = Result<[u8; 32], String>;

/// Contents of all files, in the order of their paths.
pub(crate) type Contents = Result<Vec<Vec<u8>>, FileError>;

/// Reads files off the I/O workers.
#[derive(Debug)]
pub(crate) struct FileReader {
    paths: Vec<PathBuf>,
    /// The reading in progress. It may hang.
    reading: Option<JoinHandle<Contents>>,
}

/// The facts about the files that change when a file or the link to it is replaced. If they are equal, the contents are
/// most likely the same; if they differ, they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStamps(Vec<(u64, u64, u64, i64, i64)>);

impl WatchedFiles {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One of the files cannot be read.
    pub(super) async fn open(paths: Vec<PathBuf>) -> Result<(Self, Vec<Vec<u8>>), FileError> {
        let mut reader = FileReader::new(paths);
        let contents = reader.read().await?;
        let seen = Ok(hash(&contents));
        Ok((WatchedFiles { reader, seen }, contents))
    }

    /// Passes the contents to `take` if they have changed since the last reading. If the files cannot be read, or
    /// `take` refuses the contents, the previous contents stay in use. The failure is logged and counted once.
    pub(super) async fn reload(&mut self, metrics: &Metrics, take: impl Fn(&[Vec<u8>]) -> Result<(), String>) {
        let contents = self.reader.read().await.map_err(|error| error.to_string());
        let seen = contents.as_ref().map(|contents| hash(contents)).map_err(String::clone);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let names = self.reader.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        match contents.and_then(|contents| take(&contents)) {
            Ok(()) => {
                metrics.reloaded(ReloadOutcome::Ok);
                tracing::info!("Reloaded {names}.");
            }
            Err(error) => {
                metrics.reloaded(ReloadOutcome::Failed);
                tracing::error!("Cannot reload {names}. The previous contents stay in use: {error}.");
            }
        }
    }

    /// Calls [`WatchedFiles::reload`] every [`RELOAD_INTERVAL`]. Never returns.
    pub(super) async fn follow(mut self, metrics: Arc<Metrics>, take: impl Fn(&[Vec<u8>]) -> Result<(), String>) {
        let mut ticks = interval_at(tokio::time::Instant::now() + RELOAD_INTERVAL, RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.reload(&metrics, &take).await;
        }
    }
}

/// Returns the hash of `contents`. It covers the length of each file, so that bytes that move to the next file are a
/// change.
fn hash(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

impl FileReader {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        FileReader { paths, reading: None }
    }

    /// Returns the stamps of the files that the paths lead to; `None` if one is not there, or if a reading hangs.
    pub(crate) async fn stamps(&self) -> Option<FileStamps> {
        if self.reading.is_some() {
            return None;
        }
        let paths = self.paths.clone();
        let stamp = |path: PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        };
        let stamps = tokio::task::spawn_blocking(move || paths.into_iter().map(stamp).collect::<Option<_>>());
        timeout(READ_TIME_MAX, stamps).await.ok()?.ok()?.map(FileStamps)
    }

    /// Reads all files. If the last reading still hangs, waits for it and does not begin another.
    pub(crate) async fn read(&mut self) -> Contents {
        let paths = &self.paths;
        let reading = self.reading.get_or_insert_with(|| {
            let paths = paths.clone();
            tokio::task::spawn_blocking(|| {
                let read =
                    |path: PathBuf| read_regular(&path, FILE_BYTES_MAX).map_err(|source| FileError { path, source });
                paths.into_iter().map(read).collect()
            })
        });
        let ended = timeout(READ_TIME_MAX, reading).await;
        let failed = |source| Err(FileError { path: paths.first().cloned().unwrap_or_default(), source });
        match ended {
            Ok(ended) => {
                self.reading = None;
                ended.unwrap_or_else(|error| failed(io::Error::other(error)))
            }
            Err(_) => failed(io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer")),
        }
    }
}

#[cfg(test)]
mod tests;
