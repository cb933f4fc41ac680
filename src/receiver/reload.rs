//! Files that are replaced while the process runs: certificates are renewed, tokens rotated.
//!
//! Their contents are compared, not their dates: secrets are mounted as links that are swapped, and some file systems
//! have coarse clocks or none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::telemetry::Metrics;
use crate::trust::FILE_BYTES_MAX;

/// How often files are read again. A rotation overlaps by hours; where each reading is a call that costs money (Cloud Run
/// fetches a mounted secret at every reading), a minute is pennies a month.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

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
    paths: Vec<PathBuf>,
    seen: Seen,
}

/// The hash of all contents, or why there are none.
type Seen = Result<[u8; 32], String>;

impl Watched {
    /// Reads files for the first time.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(super) async fn open(paths: Vec<PathBuf>) -> Result<(Self, Vec<Vec<u8>>), FileError> {
        let contents = read_all(paths.clone()).await?;
        let seen = Ok(hash(&contents));
        Ok((Watched { paths, seen }, contents))
    }

    /// Hands the contents to `take` if they are others than the last time. What cannot be read or taken changes nothing
    /// and is logged and counted, once.
    pub(super) async fn look(&mut self, metrics: &Metrics, take: impl Fn(&[Vec<u8>]) -> Result<(), String>) {
        let contents = read_all(self.paths.clone()).await.map_err(|error| error.to_string());
        let seen = contents.as_ref().map(|contents| hash(contents)).map_err(String::clone);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let names = self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
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

async fn read_all(paths: Vec<PathBuf>) -> Result<Vec<Vec<u8>>, FileError> {
    // A disk, or a network behind it, may hang: not on an I/O worker.
    let reading = tokio::task::spawn_blocking(move || {
        let read = |path: PathBuf| read(&path).map_err(|source| FileError { path, source });
        paths.into_iter().map(read).collect()
    });
    match reading.await {
        Ok(contents) => contents,
        Err(error) => Err(FileError { path: PathBuf::new(), source: io::Error::other(error) }),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
