//! Requests out of a directory of segments, without a daemon: a recording, or a journal that nobody has open.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{Kind, Records};
use super::open::OWNER;
use crate::segment::file::open_regular;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When, in nanoseconds of Unix time.
    pub unix_nano: u64,
    /// An `ExportTraceServiceRequest` in protobuf.
    pub body: Bytes,
}

/// The requests of a directory in the order in which they came. A segment ends where it is torn or corrupt; a body that
/// has gone bad is skipped, and so are files that are no segments.
#[derive(Debug)]
pub struct Recording {
    segments: std::vec::IntoIter<(u64, PathBuf)>,
    records: Option<Records<File>>,
}

impl Recording {
    /// The recording in `directory`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Ok(Recording { segments: OWNER.segments(directory)?.into_iter(), records: None })
    }

    fn read_next(&mut self) -> io::Result<Option<Recorded>> {
        loop {
            let Some(records) = &mut self.records else {
                let Some((_, path)) = self.segments.next() else { return Ok(None) };
                let file = open_regular(&path)?;
                let len = file.metadata()?.len();
                self.records = Records::open(file, len)?.ok();
                continue;
            };
            match records.next_record()? {
                Some(Ok(header)) if header.kind == Kind::Request => {
                    if let Some(body) = records.body(&header)? {
                        return Ok(Some(Recorded { unix_nano: header.unix_nano, body: body.into() }));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => self.records = None,
            }
        }
    }
}

impl Iterator for Recording {
    type Item = io::Result<Recorded>;

    /// After an error the next segment follows.
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next();
        if next.is_err() {
            self.records = None;
        }
        next.transpose()
    }
}
