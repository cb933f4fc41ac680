//! The spool's directory: appends batches, gives them back, forgets what is settled. Does blocking I/O.

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

/// A segment is closed when it is this large. Small enough that delivered spans give their disk back soon, large enough
/// that a gigabyte is 64 files; a larger record has a segment of its own.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// Records that may wait: each takes some 70 B of memory. At a batch a second, the least that waits for
/// `export.batch.max_delay`, they are a day and a half of a project.
pub const RECORDS_MAX: usize = 1 << 17;
/// What the index takes of memory for a record: an entry, and the slack of its queue.
pub(super) const RECORD_MEMORY_BYTES: usize = size_of::<Entry>() * 3 / 2;
/// Records of a segment that cannot be read one after the other, until none of it is tried for a while: a bad sector must not
/// keep its neighbours from being delivered, and a file that is all bad not the other files.
const FAILURES_MAX: u32 = 8;

/// Why a batch was not appended. Nothing of it is on the disk then.
#[derive(Debug, Error)]
pub enum AppendError {
    /// `max_bytes` or [`RECORDS_MAX`] is reached: there is room again when spans have been delivered.
    #[error("it is full (export.spool.max_bytes)")]
    Full,
    /// The disk.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Why a record was not given out.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk. The record waits until `Store::maintain` lets it be tried again.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// Its file was deleted by somebody else: the records of so many spans are lost.
    #[error("the file of {0} spans is gone")]
    Gone(u64),
}

/// A record that was read.
#[derive(Debug)]
pub struct StoredBatch {
    /// Where it is, until [`Store::done`].
    pub id: RecordId,
    /// The id of its project.
    pub project: Arc<str>,
    /// At least 1.
    pub span_count: u32,
    /// When the last of its spans was kept; of an earlier process's spans, when this one opened the store.
    pub since: Instant,
    /// The batch's message; `None` if it is not what was written.
    pub message: Option<Bytes>,
}

/// A segment with records that are not settled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Records that are not settled, those that were read included.
    pub(super) live: usize,
    /// Where reading the headers failed: from there on, its records are not known yet.
    pub(super) unread_from: Option<u64>,
    /// Records that could not be read since one could.
    pub(super) failures: u32,
}

impl Segment {
    /// Whether the file is not needed any more.
    pub(super) fn is_settled(&self) -> bool {
        self.live == 0 && self.unread_from.is_none()
    }
}

/// The segment that is written.
#[derive(Debug)]
struct Open {
    number: u64,
    file: SegmentFile,
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
    /// Settled records without a mark on the disk.
    pub(super) unmarked: Vec<RecordId>,
    /// The disk has refused something that `Store::maintain` is to try again.
    pub(super) unfinished: bool,
    /// The index's share of the memory budget.
    memory: Share,
    open: Option<Open>,
    /// The last segment that was given up without having been synced.
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

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the disk has refused something that `Store::maintain` is to try again.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Whether this segment is the one that is written.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.number == number)
    }

    /// Whether the segment of a record is there.
    #[must_use]
    pub fn has(&self, id: RecordId) -> bool {
        self.segments.contains_key(&id.segment)
    }

    /// Appends a batch of the store's form, whose last span was kept at `since`, which is `since_unix_ms` of Unix time.
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

    /// Writes a record at the end of the open segment. What an error leaves half written is cut off.
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
            // The segment is given up, so that a tail that cannot be cut off stays its last one.
            if open.file.cut(id.offset).is_err() {
                let tail = open.file.size().unwrap_or_default().saturating_sub(segment.bytes);
                segment.bytes += tail;
                self.bytes += tail;
            }
            if open.file.sync().is_err() {
                self.unsynced = Some(open.number);
            }
            if segment.is_settled() {
                // If it stays, it is tried again.
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

    /// Lets the record `id` wait, whose last span was kept `since_ms` after the store was opened.
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

    /// The wall clock may have been set since: ages are those of the process's own clock.
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

    /// Whether a project that `wanted` names has a record that waits.
    pub fn has_waiting(&self, wanted: impl Fn(&Arc<str>) -> bool) -> bool {
        self.index.has(wanted)
    }

    /// Takes the oldest waiting record of a project that `wanted` names. It stays on the disk until it is
    /// [`Store::done`].
    ///
    /// # Errors
    /// It cannot be read; others may be.
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

    /// The message of a record, if it is what was written.
    fn read(&self, entry: &Entry) -> io::Result<Option<Bytes>> {
        let mut message = vec![0; entry.body_len as usize];
        match self.directory.open_segment(entry.id.segment)?.read_at(&mut message, entry.body_offset) {
            // Somebody has cut the file off.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok((crc32fast::hash(&message) == entry.body_checksum).then(|| message.into())),
        }
    }

    /// Takes note that a record of a segment could not be read, and lets as few others as possible wait for it.
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

    /// Every span of the record `id`, which was given out by [`Store::next`], is settled: it is never delivered again,
    /// and the last one of a segment takes the file with it.
    ///
    /// # Errors
    /// It cannot be noted down now; `Store::maintain` tries it again.
    pub fn done(&mut self, id: RecordId) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&id.segment) else { return Ok(()) };
        segment.live = segment.live.saturating_sub(1);
        if !segment.is_settled() {
            return self.mark(id);
        }
        let removed = self.remove(id.segment);
        if removed.is_err() {
            // As the file stays, a later process must not deliver the record again.
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

    /// Deletes a segment. Its bytes count as long as it is there.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.open.take_if(|open| open.number == number);
        if let Err(error) = self.directory.remove(number) {
            self.unfinished = true;
            return Err(error);
        }
        self.forget(number);
        Ok(())
    }

    /// Forgets a segment whose file is gone; returns the number of spans that waited in it.
    pub(super) fn forget(&mut self, number: u64) -> u64 {
        self.open.take_if(|open| open.number == number);
        let segment = self.segments.remove(&number).unwrap_or_default();
        self.bytes -= segment.bytes;
        self.unmarked.retain(|id| id.segment != number);
        let (_, spans) = self.index.remove(|id| id.segment == number);
        self.count_memory();
        spans
    }

    /// Makes sure that what was appended outlives a loss of power.
    ///
    /// # Errors
    /// The disk's, or the file was removed. Nothing is appended to this segment any more: what was appended since the last sync
    /// may be lost at a loss of power, and the system does not say so again.
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

    /// Whether the record `id`, which was appended since the [`Store::sync`] before the last one, outlives a loss of power.
    #[must_use]
    pub fn is_synced(&self, id: RecordId) -> bool {
        self.unsynced != Some(id.segment)
    }

    /// Takes the records of a segment back that were appended at `from` and behind it.
    pub fn take_back(&mut self, from: RecordId) {
        self.open.take_if(|open| open.number == from.segment);
        let (count, _) = self.index.remove(|id| id.segment == from.segment && id >= from);
        self.count_memory();
        let cut = self.directory.segment_path(from.segment).open_to_change().and_then(|file| file.cut(from.offset));
        let Some(segment) = self.segments.get_mut(&from.segment) else { return };
        segment.live -= count;
        // Those that stay in the file are delivered a second time after a start, which is harmless.
        if cut.is_ok() {
            self.bytes -= segment.bytes - from.offset;
            segment.bytes = from.offset;
        }
        if segment.is_settled() {
            // If it stays, it is tried again.
            let _ = self.remove(from.segment);
        }
    }
}

#[cfg(test)]
mod tests;
