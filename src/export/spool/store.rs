//! The spool's directory: appends batches, gives them back, forgets what is settled. Does blocking I/O.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::format::{self, RecordHeader, SEGMENT_HEADER_LEN};
use super::index::{Entry, Index, RecordId};
use crate::export::batch::{Batch, Form};
use crate::segment::directory::Directory;
use crate::tail::budget::Share;

/// A segment is closed when it is this large. Small enough that delivered spans give their disk back soon, large enough
/// that a gigabyte is 64 files; a larger record has a segment of its own.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// Records that may wait: each takes some 70 B of memory. At a batch a second, the least that waits for
/// `cloud_trace.batch.max_delay`, they are a day and a half of a project.
pub const RECORDS_MAX: usize = 1 << 17;
/// What the index takes of memory for a record: an entry, and the slack of its queue.
pub(super) const RECORD_MEMORY_BYTES: usize = size_of::<Entry>() * 3 / 2;

/// Why a batch was not appended. Nothing of it is on the disk then.
#[derive(Debug, Error)]
pub enum AppendError {
    /// `max_bytes` or [`RECORDS_MAX`] is reached: there is room again when spans have been delivered.
    #[error("it is full (cloud_trace.spool.max_bytes)")]
    Full,
    /// The disk.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// A record that was read.
#[derive(Debug)]
pub struct Stored {
    /// Where it is, until [`Store::done`].
    pub id: RecordId,
    /// The id of its project.
    pub project: Arc<str>,
    /// At least 1.
    pub span_count: u32,
    /// When the last of its spans was kept, in milliseconds of Unix time.
    pub since_unix_ms: u64,
    /// The batch's message; `None` if it is not what was written.
    pub message: Option<Bytes>,
}

/// A segment with records that are not settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Records that are not settled, those that were read included.
    pub(super) live: usize,
}

/// The segment that is written.
#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
}

/// The records of a directory, which no other process has open.
#[derive(Debug)]
pub struct Store {
    pub(super) directory: Directory,
    pub(super) form: Form,
    pub(super) max_bytes: u64,
    /// Of all segments, also of those that are left alone.
    pub(super) bytes: u64,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) index: Index,
    /// The index's share of the memory budget.
    pub(super) memory: Share,
    pub(super) next_number: u64,
    open: Option<Open>,
}

impl Store {
    pub(super) fn empty(directory: Directory, form: Form, max_bytes: u64, memory: Share) -> Self {
        Store {
            directory,
            form,
            max_bytes,
            bytes: 0,
            segments: BTreeMap::new(),
            index: Index::default(),
            memory,
            next_number: 1,
            open: None,
        }
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a batch of the store's form, whose last span was kept at `since_unix_ms`.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(&mut self, batch: &Batch, since_unix_ms: u64) -> Result<(), AppendError> {
        let message = batch.message();
        let body_len = message.len().try_into().map_err(io::Error::other)?;
        let header = RecordHeader {
            done: false,
            body_len,
            body_checksum: crc32fast::hash(message),
            span_count: batch.span_count(),
            since_unix_ms,
            project: batch.project().to_string(),
        };
        let head = header.encode().map_err(io::Error::other)?;
        let record_len = (head.len() + message.len()) as u64;
        if self.index.len() >= RECORDS_MAX || self.bytes + SEGMENT_HEADER_LEN as u64 + record_len > self.max_bytes {
            return Err(AppendError::Full);
        }
        self.roll_before(record_len)?;
        let id = self.write(&head, message)?;
        self.insert(id, &header);
        Ok(())
    }

    /// Closes the open segment if the next record would make it too large.
    fn roll_before(&mut self, record_len: u64) -> io::Result<()> {
        let open_bytes = self.open.as_ref().and_then(|open| self.segments.get(&open.number)).map(|open| open.bytes);
        if open_bytes.is_some_and(|bytes| bytes + record_len > SEGMENT_BYTES) {
            self.sync()?;
            self.open = None;
        }
        Ok(())
    }

    /// Writes a record at the end of the open segment. What an error leaves half written is cut off.
    fn write(&mut self, head: &[u8], message: &[u8]) -> io::Result<RecordId> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let segment = self.segments.entry(open.number).or_insert(Segment { bytes: 0, live: 0 });
        let id = RecordId { segment: open.number, offset: segment.bytes };
        let written = open.file.write_all(head).and_then(|()| open.file.write_all(message));
        if let Err(error) = written {
            // The segment is given up, so that a tail that cannot be cut off stays its last one.
            let _ = open.file.set_len(id.offset);
            if segment.live == 0 {
                self.remove(open.number)?;
            }
            return Err(error);
        }
        let record_len = (head.len() + message.len()) as u64;
        segment.bytes += record_len;
        self.bytes += record_len;
        self.open = Some(open);
        Ok(id)
    }

    fn create(&mut self) -> io::Result<Open> {
        let number = self.next_number;
        let mut file = self.directory.create(number)?;
        self.next_number += 1;
        if let Err(error) = file.write_all(&format::segment_header(self.form)) {
            let _ = fs::remove_file(self.path(number));
            return Err(error);
        }
        let bytes = SEGMENT_HEADER_LEN as u64;
        self.segments.insert(number, Segment { bytes, live: 0 });
        self.bytes += bytes;
        Ok(Open { number, file })
    }

    /// Lets the record `id` wait.
    pub(super) fn insert(&mut self, id: RecordId, header: &RecordHeader) {
        let entry = Entry {
            id,
            body_offset: id.offset + header.header_len(),
            body_len: header.body_len,
            body_checksum: header.body_checksum,
            span_count: header.span_count,
            since_unix_ms: header.since_unix_ms,
        };
        self.index.push(&header.project, entry);
        if let Some(segment) = self.segments.get_mut(&id.segment) {
            segment.live += 1;
        }
        self.memory.resize(self.index.len() * RECORD_MEMORY_BYTES);
    }

    /// Whether a project that `wanted` names has a record that waits.
    pub fn has_waiting(&self, wanted: impl Fn(&Arc<str>) -> bool) -> bool {
        self.index.has(wanted)
    }

    /// Takes the oldest waiting record of a project that `wanted` names. It stays on the disk until it is
    /// [`Store::done`].
    ///
    /// # Errors
    /// It cannot be read now: it waits again, behind the others of its project.
    pub fn next(&mut self, wanted: impl Fn(&Arc<str>) -> bool) -> io::Result<Option<Stored>> {
        let Some((project, entry)) = self.index.pop(wanted) else { return Ok(None) };
        self.memory.resize(self.index.len() * RECORD_MEMORY_BYTES);
        let mut message = vec![0; entry.body_len as usize];
        let read = File::open(self.path(entry.id.segment))
            .and_then(|file| file.read_exact_at(&mut message, entry.body_offset));
        if let Err(error) = read {
            self.index.push(&project, entry);
            return Err(error);
        }
        let sound = crc32fast::hash(&message) == entry.body_checksum;
        Ok(Some(Stored {
            id: entry.id,
            project,
            span_count: entry.span_count,
            since_unix_ms: entry.since_unix_ms,
            message: sound.then(|| message.into()),
        }))
    }

    /// Every span of the record `id`, which was given out by [`Store::next`], is settled: it is never delivered again,
    /// and the last one of a segment takes the file with it.
    ///
    /// # Errors
    /// It cannot be noted down, so that a later process may deliver it again.
    pub fn done(&mut self, id: RecordId) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&id.segment) else { return Ok(()) };
        segment.live -= 1;
        if segment.live > 0 {
            let file = OpenOptions::new().write(true).open(self.path(id.segment))?;
            return file.write_all_at(&[format::DONE], id.offset);
        }
        self.open.take_if(|open| open.number == id.segment);
        self.remove(id.segment)
    }

    /// Deletes a segment. Its bytes count as long as it is there.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        let segment = self.segments.remove(&number);
        fs::remove_file(self.path(number))?;
        self.bytes -= segment.map_or(0, |segment| segment.bytes);
        Ok(())
    }

    /// Makes sure that what was appended outlives a loss of power.
    ///
    /// # Errors
    /// The disk's. What the process wrote is with the system nevertheless.
    pub fn sync(&mut self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.segment(number)
    }
}

#[cfg(test)]
mod tests;
