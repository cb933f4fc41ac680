//! Appends requests and notes to the journal's directory, and deletes segments whose requests are all released. Does
//! blocking I/O.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::format::{self, PolicyMarks, RECORD_HEADER_LEN, RecordKind, SEGMENT_HEADER_LEN};
use crate::segment::directory::Directory;
use crate::segment::file::{SegmentFile, SegmentPath};
use crate::tail::journal_hold::{Note, Sequence};

/// The size at which a segment is closed: small enough that its disk space is free soon after its requests are
/// released. A larger group of requests gets a segment of its own.
pub(super) const SEGMENT_BYTES: u64 = 16 << 20;
/// The most bytes of notes that wait for a failing disk: the notes of a few minutes. If there are more, the notes are
/// forgotten. After a kill, the traces in them would be decided again, and their spans exported twice.
const NOTES_BYTES_MAX: usize = 8 << 20;
/// The capacity of the group's buffer that is kept for the next group.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// The most bytes of a probe of a disk that has failed. A probe writes as much as the group that failed, because a full
/// disk often has room for a few bytes.
const PROBE_BYTES_MAX: usize = 1 << 20;
/// The first request number of a process has the number of its first segment in the bits above these. So no number is
/// given twice, even if an earlier segment cannot be read: no segment has room for 4 billion requests.
const SEQUENCE_BITS: u32 = 32;

/// A request to be appended.
#[derive(Clone, Debug)]
pub(super) struct JournalEntry {
    pub(super) sequence: Sequence,
    pub(super) unix_nano: u64,
    pub(super) body: Bytes,
}

/// A file of the journal. Files are deleted in the order in which they were written, so that a note outlives every
/// request that it may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalSegment {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// The numbers of its first and last requests, if it has any.
    pub(super) sequences: Option<(Sequence, Sequence)>,
    /// The number of its requests that are not released.
    pub(super) live: u64,
    /// True if the segment has a request that this process cannot take. The file stays for the next process.
    left: bool,
}

impl JournalSegment {
    pub(super) fn new(number: u64, bytes: u64) -> Self {
        JournalSegment { number, bytes, sequences: None, live: 0, left: false }
    }

    pub(super) fn add(&mut self, sequence: Sequence) {
        self.sequences = Some(self.sequences.map_or((sequence, sequence), |(first, _)| (first, sequence)));
        self.live += 1;
    }

    fn contains(&self, sequence: Sequence) -> bool {
        self.sequences.is_some_and(|(first, last)| (first..=last).contains(&sequence))
    }
}

/// Returns the first request number of a process whose first segment is `number`.
pub(super) fn first_sequence(number: u64) -> Sequence {
    number << SEQUENCE_BITS
}

/// Requests and notes that are written together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) requests: Vec<JournalEntry>,
    pub(super) notes: Vec<Note>,
    /// The requests of an earlier process that this process cannot take.
    pub(super) left: Vec<Sequence>,
}

/// The segments of a directory.
#[derive(Debug)]
pub(super) struct JournalStore {
    directory: Directory,
    policies: PolicyMarks,
    /// The segments, oldest first.
    segments: VecDeque<JournalSegment>,
    /// The bytes of the files that are left alone.
    foreign_bytes: u64,
    /// The last segment, if it can take more.
    open: Option<SegmentFile>,
    /// The encoded notes that are not written to a file yet.
    notes: Vec<u8>,
    /// True if bytes were written after the last sync.
    unsynced: bool,
    /// The bytes of the group that failed, after a failure. The disk works again once as many bytes are synced.
    failed_bytes: Option<usize>,
    buffer: Vec<u8>,
}

impl JournalStore {
    pub(super) fn new(directory: Directory, policies: PolicyMarks) -> Self {
        JournalStore {
            directory,
            policies,
            segments: VecDeque::new(),
            foreign_bytes: 0,
            open: None,
            notes: Vec::new(),
            unsynced: false,
            failed_bytes: None,
            buffer: Vec::new(),
        }
    }

    /// Takes over a segment of an earlier process. The caller passes the segments oldest first.
    pub(super) fn adopt(&mut self, segment: JournalSegment) {
        self.segments.push_back(segment);
    }

    /// Counts the bytes of a file that is left alone, because it is not a segment of this journal or cannot be read.
    pub(super) fn leave_alone(&mut self, bytes: u64) {
        self.foreign_bytes += bytes;
    }

    /// Returns the first request number of this process. It is greater than that of any request in the directory.
    pub(super) fn first_sequence(&self) -> Sequence {
        first_sequence(self.directory.next_number())
    }

    /// Returns the handle with which tests plan faults of the disk.
    #[cfg(test)]
    pub(super) fn faults(&self) -> crate::segment::file::Faults {
        self.directory.faults().clone()
    }

    /// Returns the path of the segment `number`.
    pub(super) fn segment_path(&self, number: u64) -> SegmentPath {
        self.directory.segment_path(number)
    }

    /// Returns the bytes of all files, including those that are left alone.
    pub(super) fn bytes(&self) -> u64 {
        self.foreign_bytes + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Appends the requests of `group` and its notes, and syncs the requests, so that they outlive a loss of power.
    /// Returns the duration of the sync, if there was one. After a failure it succeeds only once the disk has taken and
    /// synced as many bytes as it refused.
    ///
    /// # Errors
    /// The disk fails. None of the requests is in the journal then; the notes are written with the next group.
    pub(super) fn write(&mut self, group: &Group) -> io::Result<Option<Duration>> {
        for &note in &group.notes {
            format::put_note(&mut self.notes, note, &self.policies);
        }
        let written = self.append(&group.requests);
        if written.is_ok() {
            self.notes.clear();
            self.failed_bytes = None;
        } else if self.notes.len() > NOTES_BYTES_MAX {
            tracing::error!(
                "The journal forgets which spans were exported. After a kill, they would be exported again."
            );
            self.notes.clear();
        }
        for note in &group.notes {
            if let Note::Released(request) = note {
                self.release(*request);
            }
        }
        group.left.iter().for_each(|&request| self.leave(request));
        written
    }

    fn append(&mut self, requests: &[JournalEntry]) -> io::Result<Option<Duration>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for entry in requests {
            format::put_record(&mut buffer, RecordKind::Request, entry.sequence, entry.unix_nano, &entry.body);
        }
        if !self.notes.is_empty() {
            format::put_record(&mut buffer, RecordKind::Notes, 0, 0, &self.notes);
        }
        if let Some(missing) = self.failed_bytes.and_then(|failed| failed.checked_sub(buffer.len())) {
            // Pads the group with zeros: a tag of zero ends the reading of notes.
            let padding = vec![0; missing.saturating_sub(RECORD_HEADER_LEN)];
            format::put_record(&mut buffer, RecordKind::Notes, 0, 0, &padding);
        }
        let written = if buffer.is_empty() { Ok(None) } else { self.append_group(&buffer, requests) };
        if written.is_err() {
            self.failed_bytes = Some(buffer.len().min(PROBE_BYTES_MAX));
        }
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.buffer = buffer;
        written
    }

    /// Writes at the end of the open segment. After an error, cuts off the incomplete records and gives up the segment,
    /// because it is unknown which pages the system dropped at a failed sync.
    fn append_group(&mut self, group: &[u8], requests: &[JournalEntry]) -> io::Result<Option<Duration>> {
        let mut file = self.open_for(group.len() as u64)?;
        let Some(segment) = self.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let must_sync = !requests.is_empty() || self.failed_bytes.is_some();
        let written = file.append(group).and_then(|()| sync(&file, must_sync));
        match written {
            Ok(_) => {
                segment.bytes += group.len() as u64;
                requests.iter().for_each(|entry| segment.add(entry.sequence));
                self.unsynced = !must_sync;
                self.open = Some(file);
            }
            Err(_) => self.give_up(&file),
        }
        written
    }

    /// Closes the newest segment after a failure. Deletes it if it has no record.
    fn give_up(&mut self, file: &SegmentFile) {
        let Some(segment) = self.segments.back_mut() else { return };
        if segment.bytes <= SEGMENT_HEADER_LEN as u64 {
            let number = segment.number;
            self.segments.pop_back();
            self.directory.discard(number);
        } else if file.cut(segment.bytes).is_err() {
            segment.bytes = file.size().unwrap_or_default().max(segment.bytes);
        }
    }

    /// Returns the file of the segment that takes `len` more bytes.
    fn open_for(&mut self, len: u64) -> io::Result<SegmentFile> {
        let open_bytes = self.segments.back().map_or(0, |segment| segment.bytes);
        match self.open.take() {
            Some(file) if !file.is_in_place() => {
                let requests = self.segments.back().map_or(0, |segment| segment.live);
                tracing::error!(
                    requests,
                    "A file of the journal was removed or moved. A kill would lose its requests that are not settled."
                );
                self.create()
            }
            Some(file) if open_bytes + len <= SEGMENT_BYTES => Ok(file),
            Some(file) => {
                sync(&file, self.unsynced)?;
                self.create()
            }
            None => self.create(),
        }
    }

    fn create(&mut self) -> io::Result<SegmentFile> {
        let (number, file) = self.directory.create(&format::segment_header())?;
        self.segments.push_back(JournalSegment::new(number, SEGMENT_HEADER_LEN as u64));
        Ok(file)
    }

    /// Returns the segment with this request. There is none if the request could not be written.
    fn segment_of(&mut self, sequence: Sequence) -> Option<&mut JournalSegment> {
        // Searches from the oldest segment on, because requests are mostly released in order.
        self.segments.iter_mut().find(|segment| segment.contains(sequence))
    }

    /// Counts a request as released: none of its spans is needed any more.
    fn release(&mut self, sequence: Sequence) {
        if let Some(segment) = self.segment_of(sequence) {
            segment.live = segment.live.saturating_sub(1);
        }
    }

    /// Leaves a request that this process cannot take: its file stays for the next process, but later files can be
    /// deleted.
    fn leave(&mut self, sequence: Sequence) {
        if let Some(segment) = self.segment_of(sequence) {
            segment.live = segment.live.saturating_sub(1);
            segment.left = true;
        }
    }

    /// Deletes the oldest segments, up to the first one with an unreleased request.
    ///
    /// # Errors
    /// The disk fails. The next call tries again.
    pub(super) fn delete_released(&mut self) -> io::Result<()> {
        while self.segments.front().is_some_and(|segment| segment.live == 0) {
            if self.segments.len() == 1 && self.open.is_some() {
                break;
            }
            self.sync()?;
            self.delete_oldest()?;
        }
        Ok(())
    }

    fn delete_oldest(&mut self) -> io::Result<()> {
        let Some(&JournalSegment { number, bytes, left, .. }) = self.segments.front() else { return Ok(()) };
        if left {
            self.foreign_bytes += bytes;
        } else {
            self.directory.remove(number)?;
        }
        self.segments.pop_front();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(file) = &self.open else { return Ok(()) };
        let synced = sync(file, self.unsynced);
        self.unsynced = false;
        if synced.is_err() {
            self.open = None;
        }
        synced.map(drop)
    }

    /// Syncs the written bytes. If all requests are released, no segment remains.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.sync()?;
        self.open = None;
        self.delete_released()
    }
}

/// Syncs the file if there is a `need`, so that its contents outlive a loss of power. Returns the duration of the sync.
fn sync(file: &SegmentFile, need: bool) -> io::Result<Option<Duration>> {
    if !need {
        return Ok(None);
    }
    let started = Instant::now();
    file.sync()?;
    file.check_place()?;
    Ok(Some(started.elapsed()))
}

#[cfg(test)]
mod tests;
