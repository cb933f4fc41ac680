//! Snappy: one block (<https://github.com/google/snappy/blob/main/format_description.txt>), or a stream of them
//! (<https://github.com/google/snappy/blob/main/framing_format.txt>).

use std::io::{ErrorKind, Read};

use super::{InflateError, InflatedOutput, RATIO_GUESS};

/// First chunk of every stream: the type 0xff, three bytes of length, `sNaPpY`.
const STREAM_HEAD: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Largest inflated size of a stream chunk (framing format, 4.2).
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Largest expansion of a block: three bytes copy at most 64.
const RATIO_MAX: usize = 22;

const DAMAGED: InflateError = InflateError::Damaged("not snappy, or its checksum is wrong");

/// Inflates a block or a stream, because senders call both `snappy`: the Collector sent streams under this name before
/// it sent blocks, and gRPC senders still do.
pub(super) fn unsnap<G: FnMut(usize) -> bool>(
    input: &[u8],
    output: &mut InflatedOutput<G>,
) -> Result<(), InflateError> {
    if input.starts_with(STREAM_HEAD) { stream(input, output) } else { block(input, output) }
}

fn block<G: FnMut(usize) -> bool>(input: &[u8], output: &mut InflatedOutput<G>) -> Result<(), InflateError> {
    if input.is_empty() {
        return Err(InflateError::Truncated);
    }
    let size = snap::raw::decompress_len(input).map_err(|_| DAMAGED)?;
    if size > output.cap {
        return Err(InflateError::TooLarge);
    }
    if size > input.len() * RATIO_MAX {
        return Err(DAMAGED);
    }
    if size > 0 {
        output.grow(size)?;
    }
    output.bytes.resize(size, 0);
    let written = snap::raw::Decoder::new().decompress(input, &mut output.bytes).map_err(|_| DAMAGED)?;
    if written == size { Ok(()) } else { Err(DAMAGED) }
}

/// Inflates a stream. Beside the output, the decoder holds one compressed and one inflated chunk: about 200 KiB in all.
pub(super) fn stream<G: FnMut(usize) -> bool>(
    input: &[u8],
    output: &mut InflatedOutput<G>,
) -> Result<(), InflateError> {
    if !input.starts_with(STREAM_HEAD) {
        return Err(if STREAM_HEAD.starts_with(input) { InflateError::Truncated } else { DAMAGED });
    }
    output.grow(input.len().saturating_mul(RATIO_GUESS))?;
    let mut decoder = snap::read::FrameDecoder::new(input);
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    loop {
        match decoder.read(&mut chunk).map_err(|error| stream_error(error.kind()))? {
            0 => return Ok(()),
            read => output.append(&chunk[..read])?,
        }
    }
}

fn stream_error(kind: ErrorKind) -> InflateError {
    if kind == ErrorKind::UnexpectedEof { InflateError::Truncated } else { DAMAGED }
}
