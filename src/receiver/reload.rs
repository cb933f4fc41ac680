//! Files that are replaced while the process runs: certificates are renewed, tokens rotated.
//!
//! Their contents are compared, not their dates: secrets are mounted as links that are swapped, and some file systems
//! have coarse clocks or none.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::segment::file::read_regular;
use crate::telemetry::Metrics;
use crate::trust::FILE_BYTES_MAX;

/// How often files are read again. A rotation overlaps by hours; where each reading is a call that costs money (Cloud Run
/// fetches a mounted secret at every reading), a minute is pennies a month.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// A disk, or a network behind it, that does not answer for so long is told of in the log. Reading goes on.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// A file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// Files with what they contained when they were last looked at. Contents are secret, so only their hash is kept.
#[derive(Debug)]
pub(super) struct Watched {
    reader: Reader,
    seen: Seen,
}

/// The hash of all contents, or why there are none.
type Seen = Result<[u8; 32], String>;

/// The contents of all files.
type Contents = Result<Vec<Vec<u8>>, FileError>;

/// Reads files off the I/O workers.
#[derive(Debug)]
struct Reader {
    paths: Vec<PathBuf>,
    /// Under way; it may hang.
    reading: Option<JoinHandle<Contents>>,
}

impl Watched {
    /// Reads files for the first time.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(super) async fn open(paths: Vec<PathBuf>) -> Result<(Self, Vec<Vec<u8>>), FileError> {
        let mut reader = Reader { paths, reading: None };
        let contents = reader.read().await?;
        let seen = Ok(hash(&contents));
        Ok((Watched { reader, seen }, contents))
    }

    /// Hands the contents to `take` if they are others than the last time. What cannot be read or taken changes nothing
    /// and is logged and counted, once.
    pub(super) async fn look(&mut self, metrics: &Metrics, take: impl Fn(&[Vec<u8>]) -> Result<(), String>) {
        let contents = self.reader.read().await.map_err(|error| error.to_string());
        let seen = contents.as_ref().map(|contents| hash(contents)).map_err(String::clone);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let names = self.reader.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        match contents.and_then(|contents| take(&contents)) {
            Ok(()) => {
                metrics.reloaded("ok");
                tracing::info!("Reloaded {names}.");
            }
            Err(error) => {
                metrics.reloaded("failed");
                tracing::error!("cannot reload {names}, what was read before stays in use: {error}");
            }
        }
    }

    /// [`Watched::look`] for ever.
    pub(super) async fn follow(mut self, metrics: Arc<Metrics>, take: impl Fn(&[Vec<u8>]) -> Result<(), String>) {
        let mut ticks = interval_at(tokio::time::Instant::now() + RELOAD_INTERVAL, RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&metrics, &take).await;
        }
    }
}

/// The length of each as well: bytes that move from one file to the next are a change.
fn hash(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

impl Reader {
    /// Reads all files. What hangs is waited for the next time: it is not begun a second time.
    async fn read(&mut self) -> Contents {
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
