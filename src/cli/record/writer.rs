//! Reads the answer of a daemon record by record, and writes the records to a compressed file.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;
use zstd::stream::write::Encoder;

use super::file::PartialFile;
use crate::cli::progress::Progress;
use crate::journal::format::{RecordKind, put_record, segment_header};
use crate::journal::recording::{Recorded, Remark, StreamRecord, StreamRecords};
use crate::settings::units::{display_bytes, grouped};

/// The level of the compression: fast enough for 100 MB a second on a core.
const LEVEL: i32 = 3;
/// The window of the compression, as a power of two: 1 MiB, which fits into the processor's cache when the recording is read.
/// The file is 4 % larger than with the 2 MiB of the level.
const WINDOW_LOG: u32 = 20;
/// The bytes that may be inside the encoder before they count as bytes of the file.
const UNFLUSHED_BYTES_MAX: u64 = 4 << 20;
/// Bytes at the end of the file, such as the last block's head.
const END_BYTES: u64 = 64;

/// The reason why a recording was not written.
#[derive(Debug, Error)]
pub(super) enum WriterError {
    /// The disk refuses.
    #[error(
        "cannot write {}: {cause}; what was recorded until then is there, and can be read up to its last request",
        path.display()
    )]
    Disk {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
    /// The operator does not wait for the disk.
    #[error("{} is not whole: the disk had not taken all of it; it can be read up to its last request", path.display())]
    Abandoned {
        /// The file.
        path: PathBuf,
    },
    /// Nothing came.
    #[error("nothing was recorded: the daemon has sent nothing")]
    Nothing,
    /// The file may not have as many bytes as one request.
    #[error(
        "nothing was recorded: --max-bytes {} has no room for a request; the first one takes up to {}: give --max-bytes \
         more",
        display_bytes(*bytes_max), display_bytes(*needed_bytes)
    )]
    NoRoom {
        /// The most bytes of the file.
        bytes_max: u64,
        /// The bytes of a file with the first record that does not fit.
        needed_bytes: u64,
    },
    /// The bytes are not a recording.
    #[error("the answer is not a recording: {0}")]
    Foreign(String),
    /// The thread has ended.
    #[error("the recording ended unexpectedly: {0}")]
    Ended(String),
}

/// A part of what the writer gets.
#[derive(Debug)]
pub(super) enum Piece {
    /// A part of the answer.
    Bytes(Bytes),
    /// The time of the recording is over. Requests that follow do not belong to it; remarks tell of requests that did.
    Over,
}

/// The written part of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Recorded requests.
    pub(super) requests: u64,
    /// Requests that the daemon left out.
    pub(super) left_out: u64,
    /// Bytes of the records.
    pub(super) received_bytes: u64,
    /// Bytes of the file.
    pub(super) file_bytes: u64,
}

/// A recording that is being written.
pub(super) struct Recorder {
    file: PartialFile,
    bytes_max: u64,
    written: Written,
    /// True after [`Piece::Over`].
    is_over: Rc<Cell<bool>>,
    progress: Progress,
    begin: Instant,
}

/// The result of writing a record.
enum Fit {
    Written,
    /// The file has no room for it: it would need so many bytes.
    Full(u64),
}

impl Recorder {
    pub(super) fn new(file: PartialFile, bytes_max: u64, begin: Instant) -> Self {
        let (written, is_over) = (Written::default(), Rc::default());
        Recorder { file, bytes_max, written, is_over, progress: Progress::begin(), begin }
    }

    /// Writes the records in `pieces` until they end or the file is full, and finishes the file.
    pub(super) fn write(mut self, pieces: mpsc::Receiver<Piece>) -> Result<Written, WriterError> {
        let is_over = Rc::clone(&self.is_over);
        let mut records = match StreamRecords::open(Pieces { pieces, piece: Bytes::new(), is_over }) {
            Ok(Ok(records)) => records,
            Ok(Err(crate::journal::format::NoSegment::Short)) => return Err(WriterError::Nothing),
            Ok(Err(fault)) => return Err(WriterError::Foreign(fault.to_string())),
            Err(error) => return Err(WriterError::Foreign(error.to_string())),
        };
        match self.records(&mut records) {
            Ok(()) => {}
            Err(WriterError::Disk { path, cause }) => {
                self.file.leave();
                return Err(WriterError::Disk { path, cause });
            }
            Err(error) => return Err(error),
        }
        self.progress.clear();
        let path = self.file.partial().to_owned();
        self.file.finish().map_err(|cause| WriterError::Disk { path, cause })?;
        Ok(self.written)
    }

    fn records(&mut self, records: &mut StreamRecords<Pieces>) -> Result<(), WriterError> {
        let path = self.file.partial().to_owned();
        let disk = |cause| WriterError::Disk { path: path.clone(), cause };
        let file = self.file.file.try_clone().map_err(disk)?;
        let mut out = BoundedEncoder::new(file, self.bytes_max).map_err(disk)?;
        let mut sequence = 0;
        loop {
            let record = match records.next_record() {
                // The answer ends between two records, or within one that is then left out.
                Ok(None | Some(Err(crate::segment::SegmentError::Torn))) => break,
                Ok(Some(Ok(record))) => record,
                Ok(Some(Err(crate::segment::SegmentError::Corrupt))) => {
                    return Err(WriterError::Foreign(format!("there is no record at byte {}", records.offset())));
                }
                Err(error) => return Err(WriterError::Foreign(error.to_string())),
            };
            match self.record(&record, &mut sequence, &mut out).map_err(disk)? {
                Fit::Written => self.show(out.file_bytes()),
                Fit::Full(needed_bytes) if self.written.requests == 0 => {
                    return Err(WriterError::NoRoom { bytes_max: self.bytes_max, needed_bytes });
                }
                Fit::Full(_) => break,
            }
        }
        self.written.file_bytes = out.finish().map_err(disk)?;
        Ok(())
    }

    fn record(&mut self, record: &StreamRecord, sequence: &mut u64, out: &mut BoundedEncoder) -> io::Result<Fit> {
        if self.is_over.get() && !matches!(record, StreamRecord::Remark(_)) {
            return Ok(Fit::Written);
        }
        let mut bytes = Vec::new();
        match record {
            StreamRecord::Request(Recorded { unix_nano, body }) => {
                *sequence += 1;
                put_record(&mut bytes, RecordKind::Request, *sequence, *unix_nano, body);
            }
            StreamRecord::Remark(remark) if !remark.is_empty() => {
                put_record(&mut bytes, RecordKind::Remark, 0, 0, &remark.encode());
            }
            // A damaged record did not come as the daemon has sent it.
            StreamRecord::Damaged => {
                let remark = Remark { requests_left_out: 1, ..Remark::default() };
                put_record(&mut bytes, RecordKind::Remark, 0, 0, &remark.encode());
            }
            StreamRecord::Remark(_) | StreamRecord::Other => return Ok(Fit::Written),
        }
        if !out.has_room_for(bytes.len() as u64)? {
            return Ok(Fit::Full(out.bytes_with(bytes.len() as u64)));
        }
        out.write(&bytes)?;
        self.written.received_bytes += bytes.len() as u64;
        match record {
            StreamRecord::Request(_) => self.written.requests += 1,
            StreamRecord::Remark(remark) => self.written.left_out += remark.requests_left_out,
            _ => self.written.left_out += 1,
        }
        Ok(Fit::Written)
    }

    fn show(&mut self, file_bytes: u64) {
        let Written { requests, left_out, .. } = self.written;
        let begin = self.begin;
        self.progress.show(|| {
            let left_out = if left_out > 0 { format!(", {} left out", grouped(left_out)) } else { String::new() };
            format!(
                "recording for {} s: {} requests{left_out}, {:.1} MiB",
                begin.elapsed().as_secs(),
                grouped(requests),
                file_bytes as f64 / f64::from(1 << 20)
            )
        });
    }
}

/// An encoder whose file never has more than a number of bytes.
struct BoundedEncoder {
    encoder: Encoder<'static, Counting>,
    bytes_max: u64,
    /// Bytes that the encoder has taken since it was last flushed.
    unflushed: u64,
}

impl BoundedEncoder {
    fn new(file: File, bytes_max: u64) -> io::Result<Self> {
        let mut encoder = Encoder::new(Counting { file, bytes: 0 }, LEVEL)?;
        // No checksum of zstd: each record has its own.
        encoder.window_log(WINDOW_LOG)?;
        let mut bounded = BoundedEncoder { encoder, bytes_max, unflushed: 0 };
        bounded.write(&segment_header())?;
        Ok(bounded)
    }

    fn file_bytes(&self) -> u64 {
        self.encoder.get_ref().bytes
    }

    /// Returns true if `bytes` more fit, even if they cannot be compressed.
    fn has_room_for(&mut self, bytes: u64) -> io::Result<bool> {
        if self.unflushed > UNFLUSHED_BYTES_MAX || self.bytes_with(bytes) > self.bytes_max {
            self.encoder.flush()?;
            self.unflushed = 0;
        }
        Ok(self.bytes_with(bytes) <= self.bytes_max)
    }

    /// Returns the most bytes of the file with `bytes` more.
    fn bytes_with(&self, bytes: u64) -> u64 {
        let more = self.unflushed + bytes;
        // What cannot be compressed grows by three bytes for each block of 128 KiB.
        self.file_bytes() + more + more / 1_024 + END_BYTES
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unflushed += bytes.len() as u64;
        self.encoder.write_all(bytes)
    }

    /// Ends the file. Returns the number of its bytes.
    fn finish(self) -> io::Result<u64> {
        self.encoder.finish().map(|counting| counting.bytes)
    }
}

struct Counting {
    file: File,
    bytes: u64,
}

impl Write for Counting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The pieces of an answer as one input. It ends when the sender does.
struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    is_over: Rc<Cell<bool>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::Over) => self.is_over.set(true),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
