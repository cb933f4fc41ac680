//! Inflates a whole compressed body under a cap. Pure: it asks the caller for memory before it allocates.

use flate2::{Decompress, FlushDecompress, Status};
use thiserror::Error;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

mod lz4;
mod snappy;

/// Largest zstd window that is accepted, as a power of two: 8 MiB. Every decoder should support it, and no encoder
/// should exceed it (RFC 8878, 3.1.1.1.2). It bounds the memory of one inflation apart from its output.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes of the largest zstd block (RFC 8878, 3.1.1.2.4). The decoder holds two of them beside a window.
const ZSTD_BLOCK_BYTES: usize = 128 << 10;

/// Largest number of gzip members in one body. Each member needs a new decoder, so a body of empty members (20 bytes
/// each) would cost far more than its size. Writers that concatenate members (blocked gzip: 64 KiB each) stay far
/// below.
const GZIP_MEMBERS_MAX: usize = 1024;

/// Largest expansion of deflate (<https://www.zlib.net/zlib_tech.html>). A stated size beyond it cannot be true.
const DEFLATE_RATIO_MAX: u64 = 1032;

/// Ratio by which telemetry usually shrinks, at the least. It gives the first guess if the body does not state its
/// size.
const RATIO_GUESS: usize = 4;

/// Bytes of the first allocation if nothing is known about the size.
const OUTPUT_BYTES_MIN: usize = 4 << 10;

/// A compression that senders use: `Content-Encoding` (RFC 9110, 8.4.1) and `grpc-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952 with any number of members.
    Gzip,
    /// RFC 8878 with any number of frames.
    Zstd,
    /// RFC 1950. HTTP calls it `deflate` (RFC 9110, 8.4.1.2), and the Collector also `zlib`. The bare stream of RFC
    /// 1951 is not accepted.
    Deflate,
    /// One Snappy block or a framed Snappy stream. Senders use this name for both.
    Snappy,
    /// A framed Snappy stream only.
    SnappyFramed,
    /// Any number of LZ4 frames.
    Lz4,
}

impl Coding {
    /// All codings.
    pub const ALL: [Coding; 6] =
        [Coding::Gzip, Coding::Zstd, Coding::Deflate, Coding::Snappy, Coding::SnappyFramed, Coding::Lz4];

    /// Names for `Accept-Encoding`: those of the Collector's `confighttp`.
    pub const HTTP_NAMES: &str = "gzip, zstd, deflate, zlib, snappy, x-snappy-framed, lz4";

    /// Names for `grpc-accept-encoding`: those of the Collector's `configgrpc`, and deflate, which gRPC's C core
    /// supports.
    pub const GRPC_NAMES: &str = "gzip, zstd, deflate, snappy";

    /// Returns the coding that `Content-Encoding` calls `name`. The comparison ignores case; `x-gzip` is gzip (RFC
    /// 9110, 8.4.1.3).
    #[must_use]
    pub fn from_http_name(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Coding); 8] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("deflate", Coding::Deflate),
            ("zlib", Coding::Deflate),
            ("snappy", Coding::Snappy),
            ("x-snappy-framed", Coding::SnappyFramed),
            ("lz4", Coding::Lz4),
        ];
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, coding)| *coding)
    }

    /// Returns the coding that `grpc-encoding` calls `name`.
    #[must_use]
    pub fn from_grpc_name(name: &[u8]) -> Option<Self> {
        match Self::from_http_name(name)? {
            Coding::SnappyFramed | Coding::Lz4 => None,
            coding => Some(coding),
        }
    }
}

/// Reason why a body was not inflated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InflateError {
    /// The output would exceed the cap. It was not produced.
    #[error("the inflated body is too large")]
    TooLarge,
    /// The caller granted no memory. This is the only error for which a retry can help.
    #[error("no memory to inflate the body")]
    NoRoom,
    /// The input ends inside a member or frame.
    #[error("the compressed body ends too early")]
    Truncated,
    /// The input is not valid in its coding, or further bytes follow it.
    #[error("the compressed body is damaged: {0}")]
    Damaged(&'static str),
}

/// Inflates `input` into at most `cap` bytes. Calls `grant(n)` before it allocates `n` more bytes. The sum of the
/// grants is at least the capacity of the result. Calls `grant_window(n)` before the decoder allocates `n` more bytes
/// for a window, which it holds until this function returns.
///
/// # Errors
/// See [`InflateError`].
pub fn inflate(
    coding: Coding,
    input: &[u8],
    cap: usize,
    grant: impl FnMut(usize) -> bool,
    grant_window: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, InflateError> {
    let mut output = InflatedOutput { bytes: Vec::new(), cap, grant };
    match coding {
        Coding::Gzip => gunzip(input, &mut output)?,
        Coding::Zstd => unzstd(input, &mut output, grant_window)?,
        Coding::Deflate => unzlib(input, &mut output)?,
        Coding::Snappy => snappy::unsnap(input, &mut output)?,
        Coding::SnappyFramed => snappy::stream(input, &mut output)?,
        Coding::Lz4 => lz4::unlz4(input, &mut output)?,
    }
    Ok(output.bytes)
}

/// Inflated bytes. Decoders write only into spare capacity, so this type alone decides how much is allocated.
struct InflatedOutput<G> {
    bytes: Vec<u8>,
    cap: usize,
    grant: G,
}

impl<G: FnMut(usize) -> bool> InflatedOutput<G> {
    /// Makes room for `expected` bytes in all. If that is not more than now, doubles the room.
    fn grow(&mut self, expected: usize) -> Result<(), InflateError> {
        let (len, held) = (self.bytes.len(), self.bytes.capacity());
        if held >= self.cap {
            return Err(InflateError::TooLarge);
        }
        let wanted = if expected > held { expected } else { held.saturating_mul(2).max(OUTPUT_BYTES_MIN) };
        let wanted = wanted.min(self.cap);
        if !(self.grant)(wanted - held) {
            return Err(InflateError::NoRoom);
        }
        self.bytes.reserve_exact(wanted - len);
        Ok(())
    }

    /// Appends `bytes` without decoding them.
    fn append(&mut self, bytes: &[u8]) -> Result<(), InflateError> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.cap {
            return Err(InflateError::TooLarge);
        }
        if needed > self.bytes.capacity() {
            self.grow(needed.max(self.bytes.capacity().saturating_mul(2)))?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Decodes one member or frame from `input` and returns the rest. `step` decodes into spare capacity. It returns
    /// the number of bytes that it read and true if the member or frame has ended.
    fn fill<'a>(
        &mut self,
        mut input: &'a [u8],
        mut step: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(usize, bool), InflateError>,
    ) -> Result<&'a [u8], InflateError> {
        loop {
            let before = self.bytes.len();
            let (read, ended) = step(input, &mut self.bytes)?;
            input = input.get(read..).unwrap_or_default();
            if ended {
                return Ok(input);
            }
            // Only a step without any progress shows that the decoder needs room: it reads checksums without any.
            if read == 0 && self.bytes.len() == before {
                if self.bytes.len() < self.bytes.capacity() {
                    return Err(InflateError::Truncated);
                }
                self.grow(0)?;
            }
        }
    }
}

fn gunzip<G: FnMut(usize) -> bool>(input: &[u8], output: &mut InflatedOutput<G>) -> Result<(), InflateError> {
    let stated = gzip_size(input);
    // The size of the last member, modulo 2^32. Either it is true, or the body is damaged.
    if stated.is_some_and(|size| size > output.cap) {
        return Err(InflateError::TooLarge);
    }
    output.grow(stated.unwrap_or(input.len().saturating_mul(RATIO_GUESS)))?;
    let mut rest = input;
    for _ in 0..GZIP_MEMBERS_MAX {
        // 15 means deflate's largest window, 32 KiB.
        rest = deflated(Decompress::new_gzip(15), "not gzip, or its checksum is wrong", rest, output)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(InflateError::Damaged("too many gzip members"))
}

fn unzlib<G: FnMut(usize) -> bool>(input: &[u8], output: &mut InflatedOutput<G>) -> Result<(), InflateError> {
    output.grow(input.len().saturating_mul(RATIO_GUESS))?;
    let rest = deflated(Decompress::new(true), "not zlib, or its checksum is wrong", input, output)?;
    if rest.is_empty() { Ok(()) } else { Err(InflateError::Damaged("something follows the zlib stream")) }
}

/// Inflates one deflate stream in the wrapper that `decoder` expects. Returns the bytes after it.
fn deflated<'a, G: FnMut(usize) -> bool>(
    mut decoder: Decompress,
    damage: &'static str,
    input: &'a [u8],
    output: &mut InflatedOutput<G>,
) -> Result<&'a [u8], InflateError> {
    output.fill(input, |input, output| {
        let before = decoder.total_in();
        let status =
            decoder.decompress_vec(input, output, FlushDecompress::None).map_err(|_| InflateError::Damaged(damage))?;
        Ok(((decoder.total_in() - before) as usize, status == Status::StreamEnd))
    })
}

/// Returns the size that the last member states (RFC 1952, 2.3.1: ISIZE), if it can be true. It is only a hint.
fn gzip_size(input: &[u8]) -> Option<usize> {
    let size = u32::from_le_bytes(*input.last_chunk()?);
    (u64::from(size) <= input.len() as u64 * DEFLATE_RATIO_MAX).then_some(size as usize)
}

fn unzstd<G: FnMut(usize) -> bool>(
    input: &[u8],
    output: &mut InflatedOutput<G>,
    mut grant_window: impl FnMut(usize) -> bool,
) -> Result<(), InflateError> {
    let mut decoder = DCtx::try_create().ok_or(InflateError::NoRoom)?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(zstd_error)?;
    let (mut rest, mut held_bytes) = (input, 0);
    loop {
        make_room(rest, output)?;
        let window_bytes = zstd_window_bytes(rest);
        if window_bytes > held_bytes && !grant_window(window_bytes - held_bytes) {
            return Err(InflateError::NoRoom);
        }
        held_bytes = held_bytes.max(window_bytes);
        rest = output.fill(rest, |input, output| {
            let mut source = InBuffer::around(input);
            let filled = output.len();
            let mut sink = OutBuffer::around_pos(output, filled);
            let pending = decoder.decompress_stream(&mut sink, &mut source).map_err(zstd_error)?;
            Ok((source.pos(), pending == 0))
        })?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Makes room for the zstd frame at the beginning of `input`. A frame that states its size then needs no window.
fn make_room<G: FnMut(usize) -> bool>(input: &[u8], output: &mut InflatedOutput<G>) -> Result<(), InflateError> {
    let filled = output.bytes.len();
    match zstd_safe::get_frame_content_size(input) {
        Ok(Some(size)) if size > (output.cap - filled) as u64 => Err(InflateError::TooLarge),
        Ok(Some(size)) => {
            let (needed, capacity) = (filled + size as usize, output.bytes.capacity());
            match needed > capacity {
                // Doubles the room at the least, so that many small frames do not move the output many times.
                true => output.grow(if filled == 0 { needed } else { needed.max(capacity.saturating_mul(2)) }),
                false => Ok(()),
            }
        }
        Ok(None) if filled == 0 => output.grow(input.len().saturating_mul(RATIO_GUESS)),
        Ok(None) => Ok(()),
        Err(_) => Err(InflateError::Damaged("not zstd")),
    }
}

/// Returns the bytes that the decoder needs beside its output for the zstd frame at the beginning of `input`. The
/// decoder refuses larger windows than [`ZSTD_WINDOW_LOG_MAX`].
fn zstd_window_bytes(input: &[u8]) -> usize {
    let stated = zstd_safe::get_frame_content_size(input).ok().flatten();
    // The library decodes a whole frame of known size straight into the output.
    if stated.is_some() && zstd_safe::find_frame_compressed_size(input).is_ok() {
        return 0;
    }
    // RFC 8878, 3.1.1.1: magic number, descriptor, and unless the Single_Segment_flag is set, the window. With the flag,
    // the window is the content.
    let window_bytes = match input {
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, window, ..] if descriptor & 0x20 == 0 => {
            let base = 1 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }
        _ => stated.unwrap_or(0),
    };
    let window_bytes = window_bytes.min(1 << ZSTD_WINDOW_LOG_MAX) as usize;
    window_bytes + 2 * window_bytes.min(ZSTD_BLOCK_BYTES)
}

fn zstd_error(code: usize) -> InflateError {
    InflateError::Damaged(zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests;
