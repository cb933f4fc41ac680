//! Opens the spool's directory: locks it, and finds what an earlier process left in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::format::{Fault, NoSegment, Records};
use super::index::RecordId;
use super::store::{Segment, Store, segment_number};
use crate::config::settings;
use crate::export::batch::Form;
use crate::tail::budget::Budget;
use crate::telemetry::Metrics;

/// Locked as long as a process uses the directory. The file stays: the lock goes with the process, however it ends.
const LOCK_FILE: &str = "spool.lock";

/// Why the spool cannot be used. Somebody has to change something.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("cloud_trace.spool.directory: {path:?} cannot be used: {cause}")]
    Directory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// Another process uses it.
    #[error("cloud_trace.spool.directory: {0:?} is in use by another process: each one needs a directory of its own")]
    Locked(PathBuf),
}

impl Store {
    /// Opens the directory, makes it if need be, and finds the records that wait in it; what cannot be read is logged,
    /// counted in `metrics` and left alone. Returns the number of waiting spans, too. The index counts in `budget`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        settings: &settings::Spool,
        form: Form,
        budget: &Budget,
        metrics: &Metrics,
    ) -> Result<(Self, u64), OpenError> {
        let directory = settings.directory.clone();
        let failed = |cause| OpenError::Directory { path: directory.clone(), cause };
        fs::create_dir_all(&directory).map_err(failed)?;
        let lock = lock(&directory)?;
        let mut files = segments(&directory).map_err(failed)?;
        files.sort_unstable();
        let mut store = Store::empty(directory, form, settings.max_bytes, budget.share(), lock);
        let mut spans = 0;
        for (number, path) in files {
            match store.scan(number, &path) {
                Ok(scanned) => {
                    spans += scanned.spans;
                    scanned.report(&path, metrics);
                }
                Err(cause) => {
                    metrics.spool_fault("read");
                    tracing::error!(path = %path.display(), "A segment of the spool cannot be read: {cause}");
                }
            }
        }
        Ok((store, spans))
    }

    /// Takes in one segment; one without waiting records is deleted.
    fn scan(&mut self, number: u64, path: &Path) -> io::Result<Scanned> {
        self.next_number = self.next_number.max(number.saturating_add(1));
        let bytes = fs::metadata(path)?.len();
        self.bytes += bytes;
        let mut scanned = Scanned::default();
        let records = match Records::open(BufReader::new(File::open(path)?), bytes, self.form)? {
            Ok(records) => Some(records),
            // Killed before the first record.
            Err(NoSegment::Short) => {
                scanned.fault = Some((Fault::Torn, bytes));
                None
            }
            Err(other) => {
                scanned.left_alone = Some(other);
                return Ok(scanned);
            }
        };
        self.segments.insert(number, Segment { bytes, live: 0 });
        if let Some(records) = records {
            self.index(number, records, &mut scanned)?;
        }
        if self.segments.get(&number).is_some_and(|segment| segment.live == 0) {
            self.remove(number)?;
        }
        Ok(scanned)
    }

    fn index(&mut self, segment: u64, mut records: Records<impl Read + Seek>, scanned: &mut Scanned) -> io::Result<()> {
        while let Some(record) = records.next_record()? {
            match record {
                Ok((_, header)) if header.done => {}
                Ok((offset, header)) => {
                    scanned.spans += u64::from(header.span_count);
                    self.insert(RecordId { segment, offset }, &header);
                }
                Err(fault) => {
                    scanned.fault = Some((fault, records.rest()));
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What was found in a segment.
#[derive(Debug, Default)]
struct Scanned {
    /// That wait.
    spans: u64,
    /// Where reading had to stop, and the bytes from there on.
    fault: Option<(Fault, u64)>,
    left_alone: Option<NoSegment>,
}

impl Scanned {
    fn report(&self, path: &Path, metrics: &Metrics) {
        let path = path.display();
        if let Some((fault, bytes)) = self.fault {
            metrics.spool_fault(fault.label());
            match fault {
                Fault::Torn => {
                    tracing::warn!(%path, bytes, "A segment of the spool ends within a record, which is lost.");
                }
                Fault::Corrupt => {
                    tracing::error!(%path, bytes, "The rest of a segment of the spool is corrupt and lost.");
                }
            }
        }
        if let Some(reason) = self.left_alone {
            metrics.spool_fault("foreign");
            tracing::warn!(%path, "A segment of the spool is left alone: {reason}");
        }
    }
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK_FILE);
    let failed = |cause| OpenError::Directory { path: path.clone(), cause };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// The segments of a directory by number. Other files are named in the log and left alone.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match segment_number(&path) {
            Some(number) => segments.push((number, path)),
            None if path.file_name().is_some_and(|name| name == LOCK_FILE) => {}
            None => tracing::warn!(path = %path.display(), "A file in the spool's directory is none of the spool's"),
        }
    }
    Ok(segments)
}
