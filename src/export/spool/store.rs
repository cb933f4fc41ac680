//! The directory of the spool: appends batches, reads them back, and deletes files of settled ones. Does blocking I/O.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;

use super::format::{self, RecordHeader, SEGMENT_HEADER_LEN};
use super::index::{Entry, Index, RecordId};
use crate::budget::Share;
use crate::export::batch::{Batch, Form};
use crate::segment::directory::Directory;
use crate::segment::file::SegmentFile;

/// The size at which a segment is closed, in bytes. It is small, so that delivered spans release disk space soon, and
/// large enough that a gigabyte has only 64 files. A larger record gets a segment of its own.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// The largest number of waiting records. Each takes about 70 B of memory. With one batch a second, the lowest rate at
/// the default of `export.batch.max_delay`, one project fills the index in a day and a half.
pub const RECORDS_MAX: usize = 1 << 17;
/// Bytes of memory for each record in the index: an entry, and spare capacity of its queue.
pub(super) const RECORD_MEMORY_BYTES: usize = size_of::<Entry>() * 3 / 2;
/// The number of consecutive read failures after which all records of a segment are set aside for a while. A bad sector
/// must not delay the delivery of other records in the file, and a completely unreadable file must not delay other
/// files.
const FAILURES_MAX: u32 = 8;

/// The reason why a batch was not appended. No part of it is on the disk then.
#[derive(Debug, Error)]
pub enum AppendError {
    /// `max_bytes` or [`RECORDS_MAX`] is reached. There is room again after some spans are delivered.
    #[error("the spool is full (export.spool.max_bytes)")]
    Full,
    /// The disk failed.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// The reason why no record was read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk failed. The record waits until `Store::maintain` allows another attempt.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// The file was deleted by another program. The records of this many spans are lost.
    #[error("the file with {0} spans was deleted")]
    Gone(u64),
}

/// A record that was read.
#[derive(Debug)]
pub struct StoredBatch {
    /// The position of the record. It is valid until [`Store::done`].
    pub id: RecordId,
    /// The id of its project.
    pub project: Arc<str>,
    /// The number of spans; at least 1.
    pub span_count: u32,
    /// The time at which the last of its spans was kept. For spans of an earlier process, the time at which this
    /// process opened the store.
    pub since: Instant,
    /// The message of the batch; `None` if it differs from what was written.
    pub message: Option<Bytes>,
}

/// A segment with records that are not settled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// The number of records that are not settled, including those that were read.
    pub(super) live: usize,
    /// The offset at which reading the headers failed. The records from there on are not known yet.
    pub(super) unread_from: Option<u64>,
    /// The number of read failures since the last success.
    pub(super) failures: u32,
}

impl Segment {
    /// Returns true if the file is not needed any more.
    pub(super) fn is_settled(&self) -> bool {
        self.live == 0 && self.unread_from.is_none()
    }
}

/// The segment to which records are appended.
#[derive(Debug)]
struct Open {
    number: u64,
    file: SegmentFile,
}

/// The records in a directory. No other process has the directory open.
#[derive(Debug)]
pub struct Store {
    pub(super) directory: Directory,
    pub(super) form: Form,
    pub(super) max_bytes: u64,
    /// Bytes of all segments, including those of other formats.
    pub(super) bytes: u64,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) index: Index,
    /// Settled records that are not yet marked on the disk.
    pub(super) unmarked: Vec<RecordId>,
    /// True if an operation of the disk failed that `Store::maintain` has to repeat.
    pub(super) unfinished: bool,
    /// The share of the memory budget for the index.
    memory: Share,
    open: Option<Open>,
    /// The last segment that was abandoned without a sync.
    unsynced: Option<u64>,
    opened_at: Instant,
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
            unmarked: Vec::new(),
            unfinished: false,
            memory,
            open: None,
            unsynced: None,
            opened_at: Instant::now(),
        }
    }

    /// Returns the bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns true if an operation of the disk failed that `Store::maintain` has to repeat.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Returns true if records are appended to this segment at present.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.number == number)
    }

    /// Returns true if the segment of a record exists.
    #[must_use]
    pub fn has(&self, id: RecordId) -> bool {
        self.segments.contains_key(&id.segment)
    }

    /// Appends a batch. Its last span was kept at `since`, which is `since_unix_ms` in Unix time.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(&mut self, batch: &Batch, since: Instant, since_unix_ms: u64) -> Result<RecordId, AppendError> {
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
        self.insert(id, &header, self.ms_after_opening(since));
        Ok(id)
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

    /// Appends a record to the open segment. After an error, a partly written record is cut off.
    fn write(&mut self, head: &[u8], message: &[u8]) -> io::Result<RecordId> {
        let mut open = match self.open.take() {
            Some(open) if open.file.is_in_place() => open,
            removed => {
                self.unsynced = removed.map(|open| open.number).or(self.unsynced);
                self.create()?
            }
        };
        let segment = self.segments.entry(open.number).or_default();
        let id = RecordId { segment: open.number, offset: segment.bytes };
        let written = open.file.append(head).and_then(|()| open.file.append(message));
        if let Err(error) = written {
            // The segment is abandoned. If the partial record cannot be cut off, it stays at the end of the file.
            if open.file.cut(id.offset).is_err() {
                let tail = open.file.size().unwrap_or_default().saturating_sub(segment.bytes);
                segment.bytes += tail;
                self.bytes += tail;
            }
            if open.file.sync().is_err() {
                self.unsynced = Some(open.number);
            }
            if segment.is_settled() {
                // If the file cannot be deleted, `Store::maintain` tries again.
                let _ = self.remove(open.number);
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
        let (number, file) = self.directory.create(&format::segment_header(self.form))?;
        let bytes = SEGMENT_HEADER_LEN as u64;
        self.segments.insert(number, Segment { bytes, ..Segment::default() });
        self.bytes += bytes;
        Ok(Open { number, file })
    }

    /// Adds the record `id` to the index. Its last span was kept `since_ms` after the store was opened.
    pub(super) fn insert(&mut self, id: RecordId, header: &RecordHeader, since_ms: i64) {
        let entry = Entry {
            id,
            body_offset: id.offset + header.header_len(),
            body_len: header.body_len,
            body_checksum: header.body_checksum,
            span_count: header.span_count,
            since_ms,
        };
        self.index.push(&header.project, entry);
        if let Some(segment) = self.segments.get_mut(&id.segment) {
            segment.live += 1;
        }
        self.count_memory();
    }

    /// Returns the milliseconds from the opening of the store to `at`. Ages are measured with the clock of the process,
    /// because the wall clock may be changed.
    fn ms_after_opening(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.opened_at) {
            Some(after) => after.as_millis() as i64,
            None => -((self.opened_at - at).as_millis() as i64),
        }
    }

    fn instant(&self, ms_after_opening: i64) -> Instant {
        let distance = Duration::from_millis(ms_after_opening.unsigned_abs());
        let at = if ms_after_opening < 0 {
            self.opened_at.checked_sub(distance)
        } else {
            self.opened_at.checked_add(distance)
        };
        at.unwrap_or(self.opened_at)
    }

    fn count_memory(&mut self) {
        let unmarked_bytes = self.unmarked.len() * size_of::<RecordId>();
        self.memory.resize(self.index.len() * RECORD_MEMORY_BYTES + unmarked_bytes);
    }

    /// Returns true if a record of the `wanted` projects waits.
    pub fn has_waiting(&self, wanted: impl Fn(&Arc<str>) -> bool) -> bool {
        self.index.has(wanted)
    }

    /// Reads the oldest waiting record of the `wanted` projects. It stays on the disk until [`Store::done`].
    ///
    /// # Errors
    /// The record cannot be read. Other records may be readable.
    pub fn next(&mut self, wanted: impl Fn(&Arc<str>) -> bool) -> Result<Option<StoredBatch>, ReadError> {
        let Some((project, entry)) = self.index.pop(wanted) else { return Ok(None) };
        let message = match self.read(&entry) {
            Ok(message) => message,
            Err(error) => {
                self.index.push_aside(project, entry);
                return Err(self.unreadable(entry.id.segment, error));
            }
        };
        self.count_memory();
        if let Some(segment) = self.segments.get_mut(&entry.id.segment) {
            segment.failures = 0;
        }
        let (id, span_count, since) = (entry.id, entry.span_count, self.instant(entry.since_ms));
        Ok(Some(StoredBatch { id, project, span_count, since, message }))
    }

    /// Reads the message of a record. Returns `None` if it differs from what was written.
    fn read(&self, entry: &Entry) -> io::Result<Option<Bytes>> {
        let mut message = vec![0; entry.body_len as usize];
        match self.directory.open_segment(entry.id.segment)?.read_at(&mut message, entry.body_offset) {
            // Another program has shortened the file.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok((crc32fast::hash(&message) == entry.body_checksum).then(|| message.into())),
        }
    }

    /// Records that a record of a segment could not be read, and sets aside as few other records as possible.
    fn unreadable(&mut self, number: u64, error: io::Error) -> ReadError {
        self.unfinished = true;
        if self.directory.check().is_err() {
            self.index.set_aside(|_| true);
        } else if error.kind() == io::ErrorKind::NotFound {
            return ReadError::Gone(self.forget(number));
        } else if let Some(segment) = self.segments.get_mut(&number) {
            segment.failures = segment.failures.saturating_add(1);
            if segment.failures >= FAILURES_MAX {
                self.index.set_aside(|id| id.segment == number);
            }
        }
        ReadError::Disk(error)
    }

    /// Records that every span of the record `id`, which was returned by [`Store::next`], is settled. The record is
    /// never delivered again. With the last record of a segment, the file is deleted.
    ///
    /// # Errors
    /// The record cannot be marked now. `Store::maintain` tries again.
    pub fn done(&mut self, id: RecordId) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&id.segment) else { return Ok(()) };
        segment.live = segment.live.saturating_sub(1);
        if !segment.is_settled() {
            return self.mark(id);
        }
        let removed = self.remove(id.segment);
        if removed.is_err() {
            // The file stays, so the mark prevents a later process from delivering the record again.
            let _ = self.mark(id);
        }
        removed
    }

    /// Marks a record as settled on the disk.
    pub(super) fn mark(&mut self, id: RecordId) -> io::Result<()> {
        let file = self.directory.segment_path(id.segment).open_to_change();
        let marked = file.and_then(|file| file.write_at(&[format::DONE], id.offset));
        match marked {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.directory.check().is_ok() => Ok(()),
            Err(error) => {
                self.unfinished = true;
                self.unmarked.push(id);
                self.count_memory();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Deletes a segment. Its bytes count until it is deleted.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.open.take_if(|open| open.number == number);
        if let Err(error) = self.directory.remove(number) {
            self.unfinished = true;
            return Err(error);
        }
        self.forget(number);
        Ok(())
    }

    /// Removes a segment whose file is gone, and returns the number of spans that waited in it.
    pub(super) fn forget(&mut self, number: u64) -> u64 {
        self.open.take_if(|open| open.number == number);
        let segment = self.segments.remove(&number).unwrap_or_default();
        self.bytes -= segment.bytes;
        self.unmarked.retain(|id| id.segment != number);
        let (_, spans) = self.index.remove(|id| id.segment == number);
        self.count_memory();
        spans
    }

    /// Syncs the open segment, so that its records survive a loss of power.
    ///
    /// # Errors
    /// The sync failed, or the file was removed. Nothing more is appended to this segment. A loss of power may destroy
    /// the records since the last sync, and the operating system reports that only once.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(Open { number, file }) = &self.open else { return Ok(()) };
        let synced = file.sync().and_then(|()| file.check_place());
        if synced.is_err() {
            self.unsynced = Some(*number);
            self.unfinished = true;
            self.open = None;
        }
        synced
    }

    /// Returns true if the record `id` survives a loss of power. It must have been appended after the last
    /// [`Store::sync`] but one.
    #[must_use]
    pub fn is_synced(&self, id: RecordId) -> bool {
        self.unsynced != Some(id.segment)
    }

    /// Removes the records of a segment from `from` on.
    pub fn take_back(&mut self, from: RecordId) {
        self.open.take_if(|open| open.number == from.segment);
        let (count, _) = self.index.remove(|id| id.segment == from.segment && id >= from);
        self.count_memory();
        let cut = self.directory.segment_path(from.segment).open_to_change().and_then(|file| file.cut(from.offset));
        let Some(segment) = self.segments.get_mut(&from.segment) else { return };
        segment.live -= count;
        // If the file cannot be cut, its records are delivered a second time after a restart. A loss would be worse.
        if cut.is_ok() {
            self.bytes -= segment.bytes - from.offset;
            segment.bytes = from.offset;
        }
        if segment.is_settled() {
            // If the file cannot be deleted, `Store::maintain` tries again.
            let _ = self.remove(from.segment);
        }
    }
}

#[cfg(test)]
mod tests;
