//! The file of the configuration: when it changes, and on SIGHUP, it is read and applied.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Applied, Reloader};
use crate::config::Loaded;
use crate::receiver::{FileReader, FileStamps};
use crate::telemetry::health::RejectedConfig;
use crate::telemetry::metrics::Reload as ReloadOutcome;

/// Time between two looks at the file's date, size and number. A change is in force within a second or two.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The number of looks after which the file is read even if it seems to be the same: some file systems have coarse
/// dates or none. Where each reading is a paid call (Cloud Run fetches a mounted secret at every reading), a reading a
/// minute costs pennies a month.
const LOOKS_PER_READING: u32 = 60;

/// Characters of the reason why a configuration cannot be used, in the log and in the API. The first problems are
/// corrected first.
const LOGGED_CHARS_MAX: usize = 4_000;
const SHOWN_CHARS_MAX: usize = 1_000;

/// Reads the text of a configuration. It may read other files. The error is for the operator.
pub type LoadConfig = Arc<dyn Fn(&str) -> Result<Loaded, Unusable> + Send + Sync>;

/// The reason why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The reason in full. It may quote the file.
    pub reason: String,
    /// The kind of the problem and its place, without any value of the file.
    pub kind: String,
}

impl From<String> for Unusable {
    /// Returns the reason of a configuration that can be read.
    fn from(reason: String) -> Self {
        Unusable { reason, kind: "it cannot be used".to_owned() }
    }
}

/// The file of the configuration in force.
pub struct ConfigFile {
    path: PathBuf,
    load: LoadConfig,
    reader: FileReader,
    /// The facts about the file at the last look; `None` if it was not there.
    stamps: Option<FileStamps>,
    /// True if the file may have changed since it was read. It may be being written, so it is read only when two looks
    /// in a row have found the same.
    is_changed: bool,
    looks: u32,
    /// The looks in a row that have found other facts than the look before.
    unsettled_looks: u32,
    /// The hash of the contents that were read last; `None` if they could not be read or used.
    seen: Option<u64>,
    /// The error of the last reading that failed, which is not repeated.
    failure: Option<String>,
}

impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Returns the hash of a configuration: the first 48 bits of SHA-256, which a metric shows exactly.
fn config_hash(text: &[u8]) -> u64 {
    Sha256::digest(text).iter().take(6).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

impl ConfigFile {
    /// Creates the file at `path`, which has been loaded with the contents `text`.
    #[must_use]
    pub fn loaded(path: PathBuf, text: &str, load: LoadConfig) -> Self {
        let reader = FileReader::new(vec![path.clone()]);
        let seen = Some(config_hash(text.as_bytes()));
        ConfigFile {
            path,
            load,
            reader,
            stamps: None,
            is_changed: false,
            looks: 0,
            unsettled_looks: 0,
            seen,
            failure: None,
        }
    }

    /// Reads the file if it seems to have changed, or if `is_asked`, and applies it if it has.
    pub(super) async fn look(&mut self, reloader: &Reloader, is_asked: bool) {
        if !self.is_due(is_asked).await {
            return;
        }
        let unreadable = |error: String| Unusable { reason: error, kind: "it cannot be read".to_owned() };
        let read = self.reader.read().await.map_err(|error| unreadable(error.to_string()));
        let text = read.map(|mut contents| contents.pop().unwrap_or_default());
        let hash = text.as_ref().ok().map(|text| config_hash(text));
        if hash.is_some() && hash == self.seen && !is_asked {
            return;
        }
        self.seen = hash;
        let applied = match text {
            Ok(text) => self.apply(text, reloader).await,
            Err(error) => Err(error),
        };
        if applied.is_err() {
            // The reason may be another file that the configuration names, so the same contents may be right later.
            self.seen = None;
        }
        self.report(applied, hash.unwrap_or_default(), is_asked, reloader);
    }

    /// Returns true if the file has to be read: this was asked for, or the file has changed since it was read and is
    /// not being written any more. A file that changes at each look is read once a minute.
    async fn is_due(&mut self, is_asked: bool) -> bool {
        self.looks = self.looks.wrapping_add(1);
        self.is_changed |= self.looks.is_multiple_of(LOOKS_PER_READING);
        let stamps = self.reader.stamps().await;
        let is_settled = stamps == self.stamps;
        self.unsettled_looks = if is_settled { 0 } else { self.unsettled_looks + 1 };
        let may_read = is_settled || self.unsettled_looks.is_multiple_of(LOOKS_PER_READING);
        let is_due = is_asked || may_read && self.is_changed;
        self.is_changed = !is_due && (self.is_changed || !is_settled);
        self.stamps = stamps;
        is_due
    }

    async fn apply(&self, text: Vec<u8>, reloader: &Reloader) -> Result<Applied, Unusable> {
        let load = Arc::clone(&self.load);
        // Loading reads the files that the configuration names.
        let load = tokio::task::spawn_blocking(move || {
            let text = String::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
            // An empty configuration is valid, but an empty file in place of one that was not is a mistake.
            if text.trim().is_empty() { Err("the file is empty".to_owned().into()) } else { load(&text) }
        });
        let Loaded { settings, shown, .. } = load.await.map_err(|error| error.to_string())??;
        let applied = reloader.apply(settings).await.map_err(|error| error.to_string())?;
        reloader.show(&shown, &applied.needs_restart);
        Ok(applied)
    }

    fn report(&mut self, applied: Result<Applied, Unusable>, hash: u64, is_asked: bool, reloader: &Reloader) {
        let (path, config_hash) = (self.path.display().to_string(), hash);
        match applied {
            Ok(Applied { changed, needs_restart }) => {
                reloader.metrics.config_reloaded(ReloadOutcome::Ok);
                reloader.note(hash, None);
                self.failure = None;
                let changed = list(&changed);
                tracing::info!(path, config_hash, changed, "The configuration was reloaded.");
                if !needs_restart.is_empty() {
                    let keys = list(&needs_restart);
                    tracing::warn!(keys, "The configuration has changes that need a restart. They are not in force.");
                }
            }
            Err(Unusable { reason, kind }) => {
                let error = cut(&reason, LOGGED_CHARS_MAX);
                let reason = cut(&format!("{path}: {error}"), SHOWN_CHARS_MAX);
                reloader.note(hash, Some(RejectedConfig { reason, kind: format!("{path}: {kind}") }));
                if self.failure.as_ref() != Some(&error) || is_asked {
                    reloader.metrics.config_reloaded(ReloadOutcome::Failed);
                    tracing::error!(path, "The configuration cannot be used. The earlier one stays in force. {error}");
                }
                self.failure = Some(error);
            }
        }
    }
}

/// Returns `text`, or its first characters and dots.
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn list(keys: &[String]) -> String {
    keys.iter().fold(String::new(), |mut text, key| {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{key}");
        text
    })
}

impl Reloader {
    /// Applies `file` whenever it changes, and when something comes through `asked`. Never returns.
    pub(in crate::daemon) async fn follow(self: Arc<Self>, mut file: ConfigFile, mut asked: mpsc::Receiver<()>) {
        self.note(file.seen.unwrap_or_default(), None);
        let mut ticks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        file.stamps = file.reader.stamps().await;
        let (path, config_hash) = (file.path.display().to_string(), file.seen.unwrap_or_default());
        tracing::info!(path, config_hash, "Changes of the configuration file are followed.");
        loop {
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                Some(()) = asked.recv() => true,
            };
            file.look(&self, is_asked).await;
        }
    }
}
