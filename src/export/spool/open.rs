//! Opens the directory of the spool: locks it, and finds the records of an earlier process.

use std::io::{self, Read, Seek};
use std::path::Path;

use super::format::{NoSegment, SegmentError, SpoolRecords};
use super::index::RecordId;
use super::store::{Segment, Store};
use crate::budget::{Budget, Share};
use crate::export::batch::Form;
use crate::export::settings;
use crate::segment::directory::{Directory, DirectoryOwner, OpenError};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::DiskFault;

pub(super) const OWNER: DirectoryOwner = DirectoryOwner { name: "spool", key: "export.spool.directory" };

impl Store {
    /// Opens the directory, which is created if necessary, and finds the records that wait in it. Parts that cannot be
    /// read are logged and counted in `metrics`. Also returns the number of waiting spans. The index is charged to
    /// `budget`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        settings: &settings::SpoolSettings,
        form: Form,
        budget: &Budget,
        metrics: &Metrics,
    ) -> Result<(Self, u64), OpenError> {
        let (directory, numbers) = Directory::open(&settings.directory, OWNER)?;
        Ok(Store::load(directory, &numbers, form, settings.max_bytes, budget.share(), metrics))
    }

    /// Reads the segments with these `numbers`, oldest first.
    pub(super) fn load(
        directory: Directory,
        numbers: &[u64],
        form: Form,
        max_bytes: u64,
        memory: Share,
        metrics: &Metrics,
    ) -> (Self, u64) {
        let mut store = Store::empty(directory, form, max_bytes, memory);
        let mut spans = 0;
        for &number in numbers {
            store.segments.insert(number, Segment { unread_from: Some(0), ..Segment::default() });
            let (found, failure) = store.scan(number, metrics);
            spans += found;
            if let Some(cause) = failure {
                metrics.spool_fault(DiskFault::Read);
                let path = store.directory.segment(number);
                tracing::error!(path = %path.display(), %cause, "A segment of the spool cannot be read; the read is repeated later.");
            }
            if store.segments.get(&number).is_some_and(Segment::is_settled)
                && let Err(cause) = store.remove(number)
            {
                metrics.spool_fault(DiskFault::Write);
                let path = store.directory.segment(number);
                tracing::error!(path = %path.display(), %cause, "A segment of the spool cannot be deleted; the deletion is repeated later.");
            }
        }
        (store, spans)
    }

    /// Reads the headers of a segment that are not known yet, and adds the records that are not settled to the index.
    /// Returns the number of their spans, and the error because of which the rest of the segment cannot be read now.
    pub(super) fn scan(&mut self, number: u64, metrics: &Metrics) -> (u64, Option<io::Error>) {
        let mut scanned = Scanned::default();
        let failure = self.try_scan(number, &mut scanned).err();
        self.unfinished |= failure.is_some();
        self.index.sort();
        scanned.report(&self.directory.segment(number), metrics);
        (scanned.spans, failure)
    }

    fn try_scan(&mut self, number: u64, scanned: &mut Scanned) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&number) else { return Ok(()) };
        let Some(from) = segment.unread_from else { return Ok(()) };
        let path = self.directory.segment_path(number);
        // The size counts even if the file cannot be opened.
        let bytes = path.size()?;
        self.bytes = self.bytes - segment.bytes + bytes;
        segment.bytes = bytes;
        let file = path.open()?;
        if from > 0 {
            return self.index(number, SpoolRecords::resume(file, from, bytes), scanned);
        }
        match SpoolRecords::open(file, bytes, self.form as u8)? {
            Ok(records) => self.index(number, records, scanned),
            // The process was killed before the first record.
            Err(NoSegment::Short) => {
                scanned.fault = Some((SegmentError::Torn, bytes));
                segment.unread_from = None;
                Ok(())
            }
            Err(other) => {
                scanned.left_alone = Some(other);
                self.segments.remove(&number);
                Ok(())
            }
        }
    }

    fn index(
        &mut self,
        segment: u64,
        mut records: SpoolRecords<impl Read + Seek>,
        scanned: &mut Scanned,
    ) -> io::Result<()> {
        let ended = loop {
            let offset = records.offset();
            match records.next_record() {
                Ok(None) => break Ok(()),
                Ok(Some(Ok(header))) if header.done => {}
                Ok(Some(Ok(header))) => {
                    scanned.spans += u64::from(header.span_count);
                    // The age of the record is unknown, because the wall clock may have been changed since it was
                    // written.
                    self.insert(RecordId { segment, offset }, &header, 0);
                }
                Ok(Some(Err(fault))) => {
                    scanned.fault = Some((fault, records.rest()));
                    break Ok(());
                }
                Err(error) => break Err(error),
            }
        };
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.unread_from = ended.is_err().then_some(records.offset());
        }
        ended
    }
}

/// The result of reading a segment.
#[derive(Debug, Default)]
struct Scanned {
    /// The number of spans that wait.
    spans: u64,
    /// The fault at which reading ended, and the number of bytes from there to the end.
    fault: Option<(SegmentError, u64)>,
    left_alone: Option<NoSegment>,
}

impl Scanned {
    fn report(&self, path: &Path, metrics: &Metrics) {
        let path = path.display();
        if let Some((fault, bytes)) = self.fault {
            metrics.spool_fault(fault.into());
            match fault {
                SegmentError::Torn => {
                    tracing::warn!(%path, bytes, "A segment of the spool ends within a record, which is lost.");
                }
                SegmentError::Corrupt => {
                    tracing::error!(%path, bytes, "The rest of a segment of the spool is corrupt and lost.");
                }
            }
        }
        if let Some(reason) = self.left_alone {
            metrics.spool_fault(DiskFault::Foreign);
            tracing::warn!(%path, "A segment of the spool is left alone: {reason}");
        }
    }
}
