//! Repeats operations of the disk that failed: reading headers and records, marking records, deleting files.

use std::io;

use super::job::JobError;
use super::store::Store;
use crate::telemetry::Metrics;

/// The result of the repeated operations.
#[derive(Debug, Default)]
pub(super) struct MaintenanceReport {
    /// The number of spans of an earlier process that were found and wait from now on.
    pub(super) found_spans: u64,
    /// The number of spans whose files are gone.
    pub(super) gone_spans: u64,
    pub(super) errors: Vec<JobError>,
}

impl Store {
    /// Repeats the operations that failed since the last time. Records that could not be read may be read again.
    pub(super) fn maintain(&mut self, metrics: &Metrics) -> MaintenanceReport {
        let mut report = MaintenanceReport::default();
        if let Err(cause) = self.directory.check() {
            report.errors.push(JobError::Read(cause));
            return report;
        }
        self.unfinished = false;
        report.gone_spans = self.forget_gone();
        report.found_spans = self.scan_unread(metrics, &mut report.errors);
        self.index.put_back();
        let unmarked = std::mem::take(&mut self.unmarked);
        let marked = unmarked.into_iter().filter_map(|id| self.mark(id).err());
        report.errors.extend(marked.map(JobError::Cleanup));
        report.errors.extend(self.remove_settled().map(JobError::Cleanup));
        report
    }

    /// Removes the segments whose files another program has deleted. Returns the number of spans that waited in them.
    pub(super) fn forget_gone(&mut self) -> u64 {
        let numbers: Vec<u64> = self.segments.keys().copied().collect();
        let gone = numbers.into_iter().filter(|&number| self.directory.is_gone(number)).collect::<Vec<_>>();
        gone.into_iter().map(|number| self.forget(number)).sum()
    }

    fn scan_unread(&mut self, metrics: &Metrics, errors: &mut Vec<JobError>) -> u64 {
        let unread = self.segments.iter().filter(|(_, segment)| segment.unread_from.is_some());
        let numbers: Vec<u64> = unread.map(|(&number, _)| number).collect();
        let mut spans = 0;
        for number in numbers {
            let (found, failure) = self.scan(number, metrics);
            spans += found;
            errors.extend(failure.map(JobError::Read));
        }
        spans
    }

    /// Deletes the files that are not needed any more. Returns the first error.
    fn remove_settled(&mut self) -> Option<io::Error> {
        let settled = self.segments.iter().filter(|(number, segment)| segment.is_settled() && !self.is_open(**number));
        let numbers: Vec<u64> = settled.map(|(&number, _)| number).collect();
        numbers.into_iter().fold(None, |first, number| first.or(self.remove(number).err()))
    }
}
