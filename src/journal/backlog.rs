//! What an earlier process left in the journal: read back request by request, oldest first. Does blocking I/O.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::format::{Kind, RecordHeader, Records};
use crate::otlp::TraceId;
use crate::sampling::Keep;
use crate::tail::budget::Share;
use crate::tail::hold::Sequence;

/// A segment with requests that are not released.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) path: PathBuf,
    /// In their order.
    pub(super) requests: Vec<Sequence>,
    pub(super) bytes: u64,
}

/// The segment that is read.
#[derive(Debug)]
struct Reading {
    records: Records<File>,
    unread: Unread,
}

/// A request that an earlier process did not release.
#[derive(Debug)]
pub struct Unreleased {
    /// Its number, which it keeps.
    pub sequence: Sequence,
    /// Bytes of its body.
    pub body_len: usize,
    /// The traces whose spans in it are settled: they are not to be exported again.
    pub settled: Vec<TraceId>,
    header: RecordHeader,
}

/// The requests that an earlier process did not release.
#[derive(Debug)]
pub struct Backlog {
    segments: VecDeque<Unread>,
    reading: Option<Reading>,
    settled: HashMap<Sequence, Vec<TraceId>>,
    kept: Vec<(TraceId, Keep)>,
    sequence_max: Sequence,
    /// Bytes of segments that are not read yet.
    left_bytes: Arc<AtomicU64>,
    /// What is remembered here; given back as a whole.
    _memory: Share,
}

impl Backlog {
    pub(super) fn new(
        segments: Vec<Unread>,
        settled: HashMap<Sequence, Vec<TraceId>>,
        kept: Vec<(TraceId, Keep)>,
        sequence_max: Sequence,
        memory: Share,
    ) -> Self {
        let left_bytes = segments.iter().map(|segment| segment.bytes).sum();
        Backlog {
            segments: segments.into(),
            reading: None,
            settled,
            kept,
            sequence_max,
            left_bytes: Arc::new(AtomicU64::new(left_bytes)),
            _memory: memory,
        }
    }

    /// Whether nothing was left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.reading.is_none()
    }

    /// Bytes of segments that are to be read. Shared, to be watched.
    #[must_use]
    pub fn left_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.left_bytes)
    }

    /// Takes the verdicts by which traces were kept, oldest first.
    pub fn take_kept(&mut self) -> Vec<(TraceId, Keep)> {
        std::mem::take(&mut self.kept)
    }

    /// The greatest number of a request.
    pub(super) fn sequence_max(&self) -> Sequence {
        self.sequence_max
    }

    /// The next request; `None` behind the last one.
    ///
    /// # Errors
    /// The rest of a segment cannot be read now. It stays; call again for the next one.
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
                Ok(None) => self.end_segment(),
                Err(error) => {
                    self.end_segment();
                    return Err(error);
                }
            }
        }
    }

    /// The body of the request that was given out last; `None` if it is not what was written.
    ///
    /// # Errors
    /// It cannot be read now.
    pub fn body(&mut self, request: &Unreleased) -> io::Result<Option<Bytes>> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        Ok(reading.records.body(&request.header)?.map(Bytes::from))
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let Some(unread) = self.segments.pop_front() else { return Ok(false) };
        let bytes = unread.bytes;
        let opened = File::open(&unread.path).and_then(|file| Records::open(file, bytes));
        match opened {
            Ok(Ok(records)) => self.reading = Some(Reading { records, unread }),
            // It was one a moment ago.
            Ok(Err(reason)) => return self.unreadable(bytes, io::Error::other(reason)),
            Err(error) => return self.unreadable(bytes, error),
        }
        Ok(true)
    }

    fn unreadable<T>(&mut self, bytes: u64, error: io::Error) -> io::Result<T> {
        self.left_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(error)
    }

    fn end_segment(&mut self) {
        let bytes = self.reading.take().map_or(0, |reading| reading.unread.bytes);
        self.left_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Reading {
    fn next_request(&mut self) -> io::Result<Option<RecordHeader>> {
        while let Some(Ok(header)) = self.records.next_record()? {
            let is_unreleased = self.unread.requests.binary_search(&header.sequence).is_ok();
            if header.kind == Kind::Request && is_unreleased {
                return Ok(Some(header));
            }
        }
        // What is wrong with the rest was said when the journal was opened.
        Ok(None)
    }
}
