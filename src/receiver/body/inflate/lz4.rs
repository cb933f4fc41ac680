//! LZ4 frames (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>), any number of them.
//!
//! `lz4_flex` also has a frame reader. It allocates two blocks of the size that the head announces, up to 8 MiB each,
//! before a byte of them has arrived. Here every block is decompressed directly into the output.

use std::hash::Hasher;

use lz4_flex::block::{DecompressError, decompress_into_with_dict};
use twox_hash::XxHash32;

use super::{InflateError, InflatedOutput, RATIO_GUESS};

const MAGIC: u32 = 0x184D_2204;
/// Base of the 16 magic numbers of skippable frames, which hold user data. The low 4 bits are free.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;

/// Flag in a block's size: the block is stored uncompressed.
const STORED: u32 = 1 << 31;

/// Distance that a block may refer back, in bytes.
const WINDOW_BYTES: usize = 64 << 10;

/// Largest expansion of LZ4: one byte of a length stands for at most 255 bytes.
const RATIO_MAX: u64 = 255;

const DAMAGED: InflateError = InflateError::Damaged("not LZ4, or its checksum is wrong");

/// Contents of a frame's head.
struct Head {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_bytes_max: usize,
}

pub(super) fn unlz4<G: FnMut(usize) -> bool>(input: &[u8], output: &mut InflatedOutput<G>) -> Result<(), InflateError> {
    let mut rest = input;
    let mut first = true;
    while first || !rest.is_empty() {
        let magic = u32_le(&mut rest)?;
        if magic & !0xf == SKIPPABLE_MAGIC {
            let len = u32_le(&mut rest)? as usize;
            take(&mut rest, len)?;
        } else if magic == MAGIC {
            let head = head(&mut rest)?;
            reserve(&head, input.len(), output)?;
            frame(&head, &mut rest, output)?;
        } else {
            return Err(DAMAGED);
        }
        first = false;
    }
    Ok(())
}

/// Makes room for a frame whose head states its size. Refuses a size that `input_len` bytes cannot expand to.
fn reserve<G: FnMut(usize) -> bool>(
    head: &Head,
    input_len: usize,
    output: &mut InflatedOutput<G>,
) -> Result<(), InflateError> {
    let Some(size) = head.content_size else { return Ok(()) };
    if size > (output.cap - output.bytes.len()) as u64 {
        return Err(InflateError::TooLarge);
    }
    if size > input_len as u64 * RATIO_MAX {
        return Err(DAMAGED);
    }
    let wanted = output.bytes.len() + size as usize;
    if wanted > output.bytes.capacity() { output.grow(wanted) } else { Ok(()) }
}

fn head(rest: &mut &[u8]) -> Result<Head, InflateError> {
    let descriptor = *rest;
    let &[flags, block] = take(rest, 2)? else { return Err(DAMAGED) };
    let has = |bit: u8| flags & 1 << bit != 0;
    // The version must be 1 and the reserved bits 0. Dictionaries are not supported, because both sides would have to
    // agree on one.
    if flags >> 6 != 1 || has(1) || has(0) || block & 0x8f != 0 {
        return Err(DAMAGED);
    }
    let content_size = if has(3) {
        let size = take(rest, 8)?;
        size.first_chunk().map(|size| u64::from_le_bytes(*size))
    } else {
        None
    };
    let descriptor = &descriptor[..descriptor.len() - rest.len()];
    let &[checksum] = take(rest, 1)? else { return Err(DAMAGED) };
    if checksum != (hash(descriptor) >> 8) as u8 {
        return Err(DAMAGED);
    }
    let block_bytes_max = match block >> 4 {
        size @ 4..=7 => 1 << (8 + 2 * size),
        _ => return Err(DAMAGED),
    };
    Ok(Head { linked: !has(5), block_checksums: has(4), content_checksum: has(2), content_size, block_bytes_max })
}

/// Decodes the blocks of a frame and checks its content size and checksum.
fn frame<G: FnMut(usize) -> bool>(
    head: &Head,
    rest: &mut &[u8],
    output: &mut InflatedOutput<G>,
) -> Result<(), InflateError> {
    let start = output.bytes.len();
    loop {
        let size = u32_le(rest)?;
        if size == 0 {
            break;
        }
        let block = take(rest, (size & !STORED) as usize)?;
        if head.block_checksums && u32_le(rest)? != hash(block) {
            return Err(DAMAGED);
        }
        let before = output.bytes.len();
        if size & STORED != 0 {
            output.append(block)?;
        } else {
            let window = if head.linked { start.max(before.saturating_sub(WINDOW_BYTES)) } else { before };
            decompress(block, window, head.block_bytes_max, output)?;
        }
        if output.bytes.len() - before > head.block_bytes_max {
            return Err(DAMAGED);
        }
    }
    let content = &output.bytes[start..];
    if head.content_size.is_some_and(|size| size != content.len() as u64)
        || head.content_checksum && u32_le(rest)? != hash(content)
    {
        return Err(DAMAGED);
    }
    Ok(())
}

/// Decompresses one block. It may refer to the output from `window` on. A block does not state its inflated size. If
/// the block does not fit, the room for it is doubled, so that the work stays proportional to the output.
fn decompress<G: FnMut(usize) -> bool>(
    block: &[u8],
    window: usize,
    block_bytes_max: usize,
    output: &mut InflatedOutput<G>,
) -> Result<(), InflateError> {
    let before = output.bytes.len();
    let mut room = block.len().saturating_mul(RATIO_GUESS).clamp(1, block_bytes_max);
    loop {
        let held = output.bytes.capacity();
        let tried = room.min(held - before);
        // The decoder needs initialized bytes.
        output.bytes.resize(before + tried, 0);
        let (done, spare) = output.bytes.split_at_mut(before);
        let result = decompress_into_with_dict(block, spare, &done[window..]);
        output.bytes.truncate(before + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(_) => return Ok(()),
            // First try the room that is there. It may be just enough, because the head may have stated the size.
            Err(DecompressError::OutputTooSmall { .. }) if tried < room => {
                output.grow((before + room).max(held.saturating_mul(2)))?;
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < block_bytes_max => {
                room = (room * 2).min(block_bytes_max);
            }
            Err(_) => return Err(DAMAGED),
        }
    }
}

fn hash(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish() as u32
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], InflateError> {
    let (taken, left) = rest.split_at_checked(len).ok_or(InflateError::Truncated)?;
    *rest = left;
    Ok(taken)
}

fn u32_le(rest: &mut &[u8]) -> Result<u32, InflateError> {
    let bytes = take(rest, 4)?;
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or(InflateError::Truncated)
}
