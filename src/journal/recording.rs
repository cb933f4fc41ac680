//! Reads requests from a directory of segments without a daemon: a recording, or a journal that no process has open.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{FORM, JournalRecords, RecordKind};
use super::open::OWNER;
use crate::segment::SegmentError;
use crate::segment::file::open_regular;

/// A recorded request, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The time of arrival, in nanoseconds of Unix time.
    pub unix_nano: u64,
    /// The body: an `ExportTraceServiceRequest` in protobuf.
    pub body: Bytes,
}

/// The most faults that are noted. Further ones are of the same kind.
const FAULT_COUNT_MAX: usize = 100;

/// The requests of a directory, in the order of arrival. Reading a segment ends at a torn or corrupt record header. A
/// body that does not match its checksum is skipped, and so is a file that is not a segment.
#[derive(Debug)]
pub struct Recording {
    segments: std::vec::IntoIter<(u64, PathBuf)>,
    records: Option<JournalRecords<File>>,
    /// The segment that is read.
    path: PathBuf,
    faults: Vec<String>,
}

impl Recording {
    /// Opens the recording in `directory`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let segments = OWNER.segments(directory)?.into_iter();
        Ok(Recording { segments, records: None, path: PathBuf::new(), faults: Vec::new() })
    }

    /// Returns what could not be read so far, one line for each fault.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn note_fault(&mut self, fault: impl Display) {
        if self.faults.len() < FAULT_COUNT_MAX {
            self.faults.push(format!("{}: {fault}", self.path.display()));
        }
    }

    fn read_next(&mut self) -> io::Result<Option<Recorded>> {
        loop {
            let Some(records) = &mut self.records else {
                let Some((_, path)) = self.segments.next() else { return Ok(None) };
                let file = open_regular(&path)?;
                let len = file.metadata()?.len();
                self.path = path;
                match JournalRecords::open(file, len, FORM)? {
                    Ok(records) => self.records = Some(records),
                    Err(fault) => self.note_fault(fault),
                }
                continue;
            };
            match records.next_record()? {
                Some(Ok(header)) if header.kind == RecordKind::Request => {
                    if let Some(body) = records.body(&header)? {
                        return Ok(Some(Recorded { unix_nano: header.unix_nano, body: body.into() }));
                    }
                    self.note_fault("a request does not match its checksum");
                }
                Some(Ok(_)) => {}
                Some(Err(fault)) => {
                    let offset = records.offset();
                    self.records = None;
                    let fault = match fault {
                        SegmentError::Torn => "the file ends within the record",
                        SegmentError::Corrupt => "the checksum does not match the record",
                    };
                    self.note_fault(format_args!("{fault} at byte {offset}; nothing after it can be read"));
                }
                None => self.records = None,
            }
        }
    }
}

impl Iterator for Recording {
    type Item = io::Result<Recorded>;

    /// Returns the next request. After an error, reading goes on with the next segment.
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next();
        if next.is_err() {
            self.records = None;
        }
        next.transpose()
    }
}
