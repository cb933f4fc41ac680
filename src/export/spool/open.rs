//! Opens the spool's directory: locks it, and finds what an earlier process left in it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use super::format::{Fault, NoSegment, Records};
use super::index::RecordId;
use super::store::{Segment, Store};
use crate::config::settings;
use crate::export::batch::Form;
use crate::segment::directory::{Directory, OpenError, Owner};
use crate::tail::budget::Budget;
use crate::telemetry::Metrics;

pub(super) const OWNER: Owner = Owner { name: "spool", key: "cloud_trace.spool.directory" };

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
        let (directory, files) = Directory::open(&settings.directory, OWNER)?;
        let mut store = Store::empty(directory, form, settings.max_bytes, budget.share());
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
