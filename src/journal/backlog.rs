//! Reads back the requests that an earlier process left in the journal, one by one, oldest first. Does blocking I/O.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::format::{FORM, JournalRecordHeader, JournalRecords, RecordKind};
use crate::budget::Share;
use crate::otlp::TraceId;
use crate::sampling::Keep;
use crate::segment::file::{SegmentFile, SegmentPath};
use crate::tail::journal_hold::Sequence;

/// A segment that has unreleased requests.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) file: SegmentPath,
    /// The unreleased requests, in ascending order.
    pub(super) requests: Vec<Sequence>,
    pub(super) bytes: u64,
}

/// The segment that is being read.
#[derive(Debug)]
struct Reading {
    records: JournalRecords<SegmentFile>,
    unread: Unread,
    /// The number of requests given out from this segment.
    given_out: usize,
}

/// A request that an earlier process did not release.
#[derive(Debug)]
pub struct Unreleased {
    /// The number of the request, which stays the same.
    pub sequence: Sequence,
    /// The bytes of its body.
    pub body_len: usize,
    /// The traces whose spans in this request are settled. They must not be exported again.
    pub settled: Vec<TraceId>,
    header: JournalRecordHeader,
}

/// The requests that an earlier process did not release.
#[derive(Debug)]
pub struct Backlog {
    segments: VecDeque<Unread>,
    reading: Option<Reading>,
    settled: HashMap<Sequence, Vec<TraceId>>,
    kept: Vec<(TraceId, Keep)>,
    next_sequence: Sequence,
    /// The requests that could not be read.
    unreadable: Vec<Sequence>,
    /// The bytes of the segments that are not read to their end yet.
    left_bytes: Arc<AtomicU64>,
    /// The memory of all of this, given back when the backlog is dropped.
    _memory: Share,
}

impl Backlog {
    pub(super) fn new(
        segments: Vec<Unread>,
        settled: HashMap<Sequence, Vec<TraceId>>,
        kept: Vec<(TraceId, Keep)>,
        next_sequence: Sequence,
        memory: Share,
    ) -> Self {
        let left_bytes = segments.iter().map(|segment| segment.bytes).sum();
        Backlog {
            segments: segments.into(),
            reading: None,
            settled,
            kept,
            next_sequence,
            unreadable: Vec::new(),
            left_bytes: Arc::new(AtomicU64::new(left_bytes)),
            _memory: memory,
        }
    }

    /// Returns true if no request is left to give out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.reading.is_none()
    }

    /// Returns the counter of the bytes of the segments that are not read to their end yet. It is shared, so that
    /// callers can watch it.
    #[must_use]
    pub fn left_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.left_bytes)
    }

    /// Takes the verdicts that kept traces, oldest first.
    pub fn take_kept(&mut self) -> Vec<(TraceId, Keep)> {
        std::mem::take(&mut self.kept)
    }

    /// Returns the number of the next request that is appended.
    pub(super) fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    /// Takes the requests that have turned out to be unreadable since the last call.
    pub fn take_unreadable(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.unreadable)
    }

    /// Returns the next request, or `None` after the last one.
    ///
    /// # Errors
    /// The rest of a segment cannot be read now; see [`Backlog::take_unreadable`]. Call again for the next segment.
    pub fn next_request(&mut self) -> io::Result<Option<Unreleased>> {
        loop {
            let Some(reading) = &mut self.reading else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            match reading.next_request() {
                Ok(Some(header)) => {
                    let settled = self.settled.remove(&header.sequence).unwrap_or_default();
                    let (sequence, body_len) = (header.sequence, header.body_len as usize);
                    return Ok(Some(Unreleased { sequence, body_len, settled, header }));
                }
                Ok(None) => drop(self.end_segment()),
                Err(error) => {
                    let unreadable = self.end_segment();
                    self.unreadable.extend(unreadable);
                    return Err(error);
                }
            }
        }
    }

    /// Returns the body of the request that was given out last, or `None` if it does not match its checksum.
    ///
    /// # Errors
    /// The body cannot be read now.
    pub fn body(&mut self, request: &Unreleased) -> io::Result<Option<Bytes>> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        Ok(reading.records.body(&request.header)?.map(Bytes::from))
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let Some(unread) = self.segments.pop_front() else { return Ok(false) };
        let bytes = unread.bytes;
        let opened = unread.file.open().and_then(|file| JournalRecords::open(file, bytes, FORM));
        match opened {
            Ok(Ok(records)) => self.reading = Some(Reading { records, unread, given_out: 0 }),
            // The file was a valid segment when the journal was opened.
            Ok(Err(reason)) => return self.unopened(unread, io::Error::other(reason)),
            Err(error) => return self.unopened(unread, error),
        }
        Ok(true)
    }

    fn unopened<T>(&mut self, unread: Unread, error: io::Error) -> io::Result<T> {
        self.left_bytes.fetch_sub(unread.bytes, Ordering::Relaxed);
        self.unreadable.extend(unread.requests);
        Err(error)
    }

    /// Ends the segment that is being read. Returns the requests that were not given out.
    fn end_segment(&mut self) -> Vec<Sequence> {
        let Some(Reading { mut unread, given_out, .. }) = self.reading.take() else { return Vec::new() };
        self.left_bytes.fetch_sub(unread.bytes, Ordering::Relaxed);
        unread.requests.split_off(given_out.min(unread.requests.len()))
    }
}

impl Reading {
    fn next_request(&mut self) -> io::Result<Option<JournalRecordHeader>> {
        while let Some(Ok(header)) = self.records.next_record()? {
            let is_unreleased = self.unread.requests.binary_search(&header.sequence).is_ok();
            if header.kind == RecordKind::Request && is_unreleased {
                self.given_out += 1;
                return Ok(Some(header));
            }
        }
        // Faults in the rest of the file were logged when the journal was opened. Missing requests mean that it went
        // bad since.
        match self.unread.requests.len().saturating_sub(self.given_out) {
            0 => Ok(None),
            gone => Err(io::Error::other(format!("{gone} of its requests have become unreadable"))),
        }
    }
}
