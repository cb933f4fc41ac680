//! The bytes of a file: how far they are read, how they are compressed, and whether they are a recording.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flate2::read::MultiGzDecoder;

/// The first bytes of a segment of a recording.
const SEGMENT_MAGIC: &[u8] = b"SPANJRNL";
/// The first bytes of gzip (RFC 1952).
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
/// The first bytes of zstd (RFC 8878).
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// The largest window of zstd, as a power of two: 8 MiB, which every decoder should support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// The position up to which a file is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    read: Arc<AtomicU64>,
    len: u64,
}

impl Position {
    /// Returns the beginning of a file of `len` bytes.
    pub(super) fn within(len: u64) -> Self {
        Position { len, ..Position::default() }
    }

    pub(super) fn counted(&self, file: File) -> impl Read + Send + 'static {
        Counted { file, read: Arc::clone(&self.read) }
    }

    pub(super) fn get(&self) -> (u64, u64) {
        (self.read.load(Relaxed), self.len)
    }
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

/// Inflated bytes.
pub(super) enum Contents {
    /// A segment of a recording.
    Segment(Box<dyn Read + Send>),
    /// Something else.
    Other(Box<dyn Read + Send>),
}

/// Finds out what the bytes of `reader` are.
pub(super) fn contents(reader: Box<dyn Read + Send>) -> io::Result<Contents> {
    let (first, reader) = peek(reader)?;
    let is_gzip = first.starts_with(GZIP_MAGIC);
    let is_compressed = is_gzip || first.starts_with(ZSTD_MAGIC);
    let (first, reader) = if is_gzip {
        peek(Box::new(Inflating(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, reader)))))?
    } else if is_compressed {
        let mut decoder = zstd::stream::read::Decoder::new(reader)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        peek(Box::new(Inflating(decoder)))?
    } else {
        (first, reader)
    };
    if first == SEGMENT_MAGIC {
        // Decoders have buffers of their own.
        let buffered = |reader| Box::new(BufReader::with_capacity(BUFFER_BYTES, reader));
        return Ok(Contents::Segment(if is_compressed { reader } else { buffered(reader) }));
    }
    // No text and no message of protobuf begins with a zero. A long file of them is not read to its end.
    let is_zero = first.first() == Some(&0);
    Ok(Contents::Other(if is_zero { Box::new(Cursor::new(first)) } else { reader }))
}

/// Returns the first bytes, as many as the magic bytes of a segment, and a reader of all bytes.
fn peek(mut reader: Box<dyn Read + Send>) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut first = Vec::with_capacity(SEGMENT_MAGIC.len());
    #[expect(clippy::disallowed_methods, reason = "bounded by `take`")]
    (&mut reader).take(SEGMENT_MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok((first.clone(), Box::new(Cursor::new(first).chain(reader))))
}

/// A decoder whose errors say what is wrong with the file.
struct Inflating<R>(R);

impl<R: Read> Read for Inflating<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the compressed body ends too early"),
            _ => io::Error::new(io::ErrorKind::InvalidData, format!("the compressed body is damaged: {error}")),
        })
    }
}
