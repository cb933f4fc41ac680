//! The journal's directory: appends requests and notes, and deletes segments whose requests are all released. Does
//! blocking I/O.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::format::{self, Kind, PolicyMarks, SEGMENT_HEADER_LEN};
use crate::segment::directory::Directory;
use crate::tail::hold::{Note, Sequence};

/// A segment is closed when it is this large: small enough that what is settled gives its disk back soon. A larger group
/// of requests has a segment of its own.
pub(super) const SEGMENT_BYTES: u64 = 16 << 20;
/// Notes that wait for a disk that fails; those of minutes. Beyond it they are forgotten: what they were about is decided
/// again after a kill, and exported twice.
const NOTES_BYTES_MAX: usize = 8 << 20;
/// Of the buffer for a group, what is kept for the next one.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// A request to be appended.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) sequence: Sequence,
    pub(super) unix_nano: u64,
    pub(super) body: Bytes,
}

/// A file of the journal. They are deleted in the order in which they were written, so that a note outlives every
/// request that it may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// The requests in it, if there are any.
    pub(super) sequences: Option<(Sequence, Sequence)>,
    /// Requests that are not released.
    pub(super) live: u64,
}

impl Segment {
    pub(super) fn new(number: u64, bytes: u64) -> Self {
        Segment { number, bytes, sequences: None, live: 0 }
    }

    /// A request is in it.
    pub(super) fn add(&mut self, sequence: Sequence) {
        self.sequences = Some(self.sequences.map_or((sequence, sequence), |(first, _)| (first, sequence)));
        self.live += 1;
    }

    fn contains(&self, sequence: Sequence) -> bool {
        self.sequences.is_some_and(|(first, last)| (first..=last).contains(&sequence))
    }
}

/// The segments of a directory.
#[derive(Debug)]
pub(super) struct Store {
    directory: Directory,
    policies: PolicyMarks,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Files that are left alone.
    foreign_bytes: u64,
    next_number: u64,
    /// The last segment, if it can take more.
    open: Option<File>,
    /// Notes, encoded, that no file has yet.
    notes: Vec<u8>,
    /// What was written after the last sync.
    unsynced: bool,
    buffer: Vec<u8>,
}

impl Store {
    pub(super) fn new(directory: Directory, policies: PolicyMarks) -> Self {
        Store {
            directory,
            policies,
            segments: VecDeque::new(),
            foreign_bytes: 0,
            next_number: 1,
            open: None,
            notes: Vec::new(),
            unsynced: false,
            buffer: Vec::new(),
        }
    }

    /// Takes in a segment of an earlier process; segments come in their order.
    pub(super) fn adopt(&mut self, segment: Segment) {
        self.next_number = segment.number.saturating_add(1);
        self.segments.push_back(segment);
    }

    /// A file that is none of ours counts, and is left alone.
    pub(super) fn leave_alone(&mut self, number: u64, bytes: u64) {
        self.next_number = number.saturating_add(1);
        self.foreign_bytes += bytes;
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.foreign_bytes + self.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Appends `requests`, which outlive a loss of power when it returns, and `notes`. Returns how long the sync took, if
    /// there was one.
    ///
    /// # Errors
    /// The disk's. None of the requests is in the journal then; the notes are written the next time.
    pub(super) fn write(&mut self, requests: &[Entry], notes: &[Note]) -> io::Result<Option<Duration>> {
        for &note in notes {
            format::put_note(&mut self.notes, note, &self.policies);
        }
        let written = self.append(requests);
        if written.is_ok() {
            self.notes.clear();
        } else if self.notes.len() > NOTES_BYTES_MAX {
            tracing::error!("The journal forgets what was exported: after a kill those spans would be exported again.");
            self.notes.clear();
        }
        let released =
            notes.iter().filter_map(|note| if let Note::Released(request) = note { Some(*request) } else { None });
        released.for_each(|request| self.release(request));
        written
    }

    /// Finds out whether the disk takes anything.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        let file = self.open_for(0)?;
        sync(&file, true)?;
        self.open = Some(file);
        Ok(())
    }

    fn append(&mut self, requests: &[Entry]) -> io::Result<Option<Duration>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for entry in requests {
            format::put_record(&mut buffer, Kind::Request, entry.sequence, entry.unix_nano, &entry.body);
        }
        if !self.notes.is_empty() {
            format::put_record(&mut buffer, Kind::Notes, 0, 0, &self.notes);
        }
        let written =
            if buffer.is_empty() { self.probe().map(|()| None) } else { self.append_group(&buffer, requests) };
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.buffer = buffer;
        written
    }

    /// Writes at the end of the open segment. What an error leaves half written is cut off, and the segment given up:
    /// what a failed sync made of it nobody knows.
    fn append_group(&mut self, group: &[u8], requests: &[Entry]) -> io::Result<Option<Duration>> {
        let mut file = self.open_for(group.len() as u64)?;
        let Some(segment) = self.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let written = file.write_all(group).and_then(|()| sync(&file, !requests.is_empty()));
        match written {
            Ok(_) => {
                segment.bytes += group.len() as u64;
                requests.iter().for_each(|entry| segment.add(entry.sequence));
                self.unsynced = requests.is_empty();
                self.open = Some(file);
            }
            Err(_) => _ = file.set_len(segment.bytes),
        }
        written
    }

    /// The segment that takes `len` bytes more.
    fn open_for(&mut self, len: u64) -> io::Result<File> {
        let open_bytes = self.segments.back().map_or(0, |segment| segment.bytes);
        match self.open.take() {
            Some(file) if open_bytes + len <= SEGMENT_BYTES => Ok(file),
            Some(file) => {
                sync(&file, self.unsynced)?;
                self.create()
            }
            None => self.create(),
        }
    }

    fn create(&mut self) -> io::Result<File> {
        let number = self.next_number;
        let mut file = self.directory.create(number)?;
        self.next_number += 1;
        if let Err(error) = file.write_all(&format::segment_header()).and_then(|()| self.directory.sync()) {
            let _ = fs::remove_file(self.directory.segment(number));
            return Err(error);
        }
        self.segments.push_back(Segment::new(number, SEGMENT_HEADER_LEN as u64));
        Ok(file)
    }

    /// Nothing of this request is needed any more. One that could not be written is in no segment.
    fn release(&mut self, sequence: Sequence) {
        // The oldest requests are released first, mostly.
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.contains(sequence)) {
            segment.live -= 1;
        }
    }

    /// Deletes the oldest segments as far as their requests are released.
    ///
    /// # Errors
    /// The disk's; it is tried again the next time.
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
        let Some(oldest) = self.segments.front() else { return Ok(()) };
        match fs::remove_file(self.directory.segment(oldest.number)) {
            // Somebody else has deleted it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.segments.pop_front();
                Ok(())
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = &self.open {
            sync(file, self.unsynced)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Syncs what was written. A journal whose requests are all released leaves no segment.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.sync()?;
        self.open = None;
        self.delete_released()
    }
}

/// Makes what was written outlive a loss of power, if there is a `need`; how long it took.
fn sync(file: &File, need: bool) -> io::Result<Option<Duration>> {
    if !need {
        return Ok(None);
    }
    let started = Instant::now();
    file.sync_data()?;
    Ok(Some(started.elapsed()))
}

#[cfg(test)]
mod tests;
