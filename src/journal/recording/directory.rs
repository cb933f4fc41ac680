//! The requests in a directory of segments.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::remark::{REMARK_BYTES_MAX, Remark};
use super::{DAMAGED_HELP, END_HELP, FOREIGN_HELP, Notes, Recorded, damaged_at, end_at};
use crate::journal::format::{FORM, JournalRecords, RecordKind};
use crate::journal::open::OWNER;
use crate::segment::file::open_regular;

/// The records of all segments, in the order of their numbers.
#[derive(Debug)]
pub(super) struct DirectoryRecords {
    segments: std::vec::IntoIter<(u64, PathBuf)>,
    records: Option<JournalRecords<File>>,
    /// The segment that is read.
    path: PathBuf,
}

impl DirectoryRecords {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let segments = OWNER.segments(directory)?.into_iter();
        Ok(DirectoryRecords { segments, records: None, path: PathBuf::new() })
    }

    pub(super) fn next(&mut self, notes: &mut Notes) -> Option<io::Result<Recorded>> {
        let next = self.read_next(notes);
        if next.is_err() {
            self.records = None;
        }
        next.transpose()
    }

    fn fault(&self, notes: &mut Notes, fault: impl Display, help: &'static str) {
        notes.fault(format_args!("{}: {fault}", self.path.display()), help);
    }

    fn read_next(&mut self, notes: &mut Notes) -> io::Result<Option<Recorded>> {
        loop {
            let Some(records) = &mut self.records else {
                let Some((_, path)) = self.segments.next() else { return Ok(None) };
                let file = open_regular(&path)?;
                let len = file.metadata()?.len();
                self.path = path;
                match JournalRecords::open(file, len, FORM)? {
                    Ok(records) => self.records = Some(records),
                    Err(fault) => self.fault(notes, fault, FOREIGN_HELP),
                }
                continue;
            };
            let offset = records.offset();
            let header = match records.next_record()? {
                Some(Ok(header)) => header,
                Some(Err(fault)) => {
                    let fault = end_at(fault, records.offset());
                    self.records = None;
                    self.fault(notes, fault, END_HELP);
                    continue;
                }
                None => {
                    self.records = None;
                    continue;
                }
            };
            if header.kind == RecordKind::Notes {
                continue;
            }
            if header.kind == RecordKind::Remark && header.body_len > REMARK_BYTES_MAX {
                self.fault(notes, damaged_at(offset), DAMAGED_HELP);
                continue;
            }
            match records.body(&header)? {
                Some(body) if header.kind == RecordKind::Request => {
                    return Ok(Some(Recorded { unix_nano: header.unix_nano, body: body.into() }));
                }
                Some(body) => notes.remarks.add(Remark::decode(&body)),
                None => self.fault(notes, damaged_at(offset), DAMAGED_HELP),
            }
        }
    }
}
