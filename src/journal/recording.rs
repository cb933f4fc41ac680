//! Reads requests from segments without a daemon: a recording in a file, or a directory of segments, which is a recording
//! or a journal that no process has open.

mod blocks;
mod directory;
mod remark;
mod stream;

use std::fmt::Display;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use self::directory::DirectoryRecords;
pub use self::remark::{REMARK_BYTES_MAX, Remark, Remarks};
pub use self::stream::{BODY_BYTES_MAX, StreamRecord, StreamRecords};
use super::format::NoSegment;
use crate::segment::SegmentError;

/// A recorded request, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The time of arrival, in nanoseconds of Unix time.
    pub unix_nano: u64,
    /// The body: an `ExportTraceServiceRequest` in protobuf.
    pub body: Bytes,
}

/// A fault of a recording. What can be read beside it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, the place in it, and the fault, in one line.
    pub text: String,
    /// What is used all the same, and the remedy.
    pub help: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The help for a record that was not written as it is.
const DAMAGED_HELP: &str = "it is left out, and the records before and after it are used; the file has changed since it was \
                            written: copy it again if the original is whole";
/// The help for a file that has no more records that can be read.
const END_HELP: &str =
    "the requests before it, and those of other files, are used; copy the file again if the original is whole";
/// The help for a file of a directory that is not a segment.
const FOREIGN_HELP: &str = "the file is left out, and the other files of the directory are used";

/// The most faults that are noted. Further ones are of the same kind.
const FAULT_COUNT_MAX: usize = 100;

/// The requests of a recording, in the order of arrival. Reading a segment ends at a torn or corrupt record header. A
/// body that does not match its checksum is skipped, and so is a file of a directory that is not a segment.
pub struct Recording {
    source: Source,
    notes: Notes,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("notes", &self.notes).finish_non_exhaustive()
    }
}

enum Source {
    Directory(DirectoryRecords),
    Stream(StreamRecords<Box<dyn Read + Send>>, String),
    /// Nothing more can be read.
    End,
}

/// The findings beside the requests.
#[derive(Debug, Default)]
struct Notes {
    faults: Vec<Fault>,
    remarks: Remarks,
}

impl Notes {
    fn fault(&mut self, text: impl Display, help: &'static str) {
        if self.faults.len() < FAULT_COUNT_MAX {
            self.faults.push(Fault { text: text.to_string(), help });
        }
    }
}

impl Recording {
    /// Opens the recording in `directory`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let source = Source::Directory(DirectoryRecords::open(directory)?);
        Ok(Recording { source, notes: Notes::default() })
    }

    /// Opens the recording that `reader` gives: one segment, not compressed. Faults begin with `name`.
    ///
    /// # Errors
    /// The input cannot be read. The inner error says why it is not a segment.
    pub fn read(reader: Box<dyn Read + Send>, name: String) -> io::Result<Result<Self, NoSegment>> {
        let records = StreamRecords::read_ahead(reader)?;
        Ok(records.map(|records| Recording { source: Source::Stream(records, name), notes: Notes::default() }))
    }

    /// Returns what could not be read so far.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.notes.faults
    }

    /// Returns what the recording says of itself so far.
    #[must_use]
    pub fn remarks(&self) -> &Remarks {
        &self.notes.remarks
    }
}

impl Iterator for Recording {
    type Item = io::Result<Recorded>;

    /// Returns the next request. After an error, reading goes on with the next segment.
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next();
        if let Some(Ok(_)) = next {
            self.notes.remarks.count_request();
        }
        next
    }
}

impl Recording {
    fn read_next(&mut self) -> Option<io::Result<Recorded>> {
        match &mut self.source {
            Source::Directory(records) => records.next(&mut self.notes),
            Source::Stream(records, name) => {
                let next = next_of_stream(records, name, &mut self.notes);
                if !matches!(next, Ok(Some(_))) {
                    self.source = Source::End;
                }
                next.transpose()
            }
            Source::End => None,
        }
    }
}

fn next_of_stream(
    records: &mut StreamRecords<Box<dyn Read + Send>>,
    name: &str,
    notes: &mut Notes,
) -> io::Result<Option<Recorded>> {
    loop {
        let offset = records.offset();
        match records.next_record()? {
            Some(Ok(StreamRecord::Request(request))) => return Ok(Some(request)),
            Some(Ok(StreamRecord::Remark(remark))) => notes.remarks.add(remark),
            Some(Ok(StreamRecord::Damaged)) => {
                notes.fault(format_args!("{name}: {}", damaged_at(offset)), DAMAGED_HELP);
            }
            Some(Ok(StreamRecord::Other)) => {}
            Some(Err(fault)) => {
                notes.fault(format_args!("{name}: {}", end_at(fault, records.offset())), END_HELP);
                return Ok(None);
            }
            None => return Ok(None),
        }
    }
}

/// Returns the fault of a record that was not written as it is.
fn damaged_at(offset: u64) -> String {
    format!("the record at byte {offset} does not match its checksum, or is larger than such records are")
}

/// Returns the reason why nothing after `offset` can be read.
fn end_at(fault: SegmentError, offset: u64) -> String {
    let fault = match fault {
        SegmentError::Torn => "the file ends within the record",
        SegmentError::Corrupt => "the checksum does not match the record",
    };
    format!("{fault} at byte {offset}; nothing after it can be read")
}

#[cfg(test)]
mod tests;
