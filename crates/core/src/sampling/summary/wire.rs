//! The form of a summary in messages between instances; docs/fleet.md specifies it.

use super::{Candidate, Summary};
use crate::sampling::keys::KEYS_MAX;

/// The most spans and bytes of spans that a summary may say. Sums over the members of a fleet do not overflow.
const SPAN_BYTES_MAX: u64 = 1 << 48;

const HAS_ROOT: u8 = 1;
const HAS_START: u8 = 2;
const HAS_RANDOMNESS: u8 = 4;
/// The end is stored as the time since the start.
const HAS_DURATION: u8 = 8;

const KEY_PRESENT: u8 = 1;
const KEY_SECOND: u8 = 2;

/// Bytes of a randomness: 56 bits.
const RANDOMNESS_BYTES: usize = 7;

impl Summary {
    /// Appends the summary, without its generation.
    pub fn put(&self, out: &mut Vec<u8>) {
        let has_start = self.start_unix_nano != u64::MAX;
        let duration = has_start.then(|| self.end_unix_nano.checked_sub(self.start_unix_nano)).flatten();
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let has_randomness = self.randomness != u64::MAX;
        out.push(
            flag(self.has_root, HAS_ROOT)
                | flag(has_start, HAS_START)
                | flag(has_randomness, HAS_RANDOMNESS)
                | flag(duration.is_some(), HAS_DURATION),
        );
        put_varint(out, self.bits);
        if has_start {
            out.extend_from_slice(&self.start_unix_nano.to_le_bytes());
        }
        put_varint(out, duration.unwrap_or(self.end_unix_nano).into());
        if has_randomness {
            out.extend_from_slice(&self.randomness.to_le_bytes()[..RANDOMNESS_BYTES]);
        }
        put_varint(out, self.span_count.into());
        put_varint(out, self.span_bytes.into());
        let keys = self.keys.as_deref().map_or(&[][..], |keys| keys);
        put_varint(out, keys.len() as u128);
        keys.iter().for_each(|key| put_candidate(out, key.as_ref()));
    }

    /// Takes a summary from the front of `input`, as one of policies of this generation. Returns `None` if it is not
    /// valid.
    pub fn take(input: &mut &[u8], generation: u16) -> Option<Self> {
        let flags = take_byte(input)?;
        let has = |flag: u8| flags & flag != 0;
        let mut summary = Summary { generation, has_root: has(HAS_ROOT), ..Summary::default() };
        summary.bits = take_varint(input)?;
        if has(HAS_START) {
            summary.start_unix_nano = take_u64(input)?;
        }
        let end = u64::try_from(take_varint(input)?).ok()?;
        let is_duration = has(HAS_START) && has(HAS_DURATION);
        summary.end_unix_nano = if is_duration { summary.start_unix_nano.checked_add(end)? } else { end };
        if has(HAS_RANDOMNESS) {
            let mut bytes = [0; 8];
            bytes[..RANDOMNESS_BYTES].copy_from_slice(&take_array::<RANDOMNESS_BYTES>(input)?);
            summary.randomness = u64::from_le_bytes(bytes);
        }
        summary.span_count = u32::try_from(take_varint(input)?).ok()?;
        summary.span_bytes = u64::try_from(take_varint(input)?).ok().filter(|&bytes| bytes <= SPAN_BYTES_MAX)?;
        let keys = usize::try_from(take_varint(input)?).ok().filter(|&keys| keys <= KEYS_MAX)?;
        for slot in 0..keys {
            take_candidate(input)?.into_iter().for_each(|candidate| summary.propose(slot, candidate));
        }
        Some(summary)
    }
}

fn put_candidate(out: &mut Vec<u8>, candidate: Option<&Candidate>) {
    let Some(Candidate { second, start_unix_nano, hash, duration_ms }) = candidate else { return out.push(0) };
    out.push(KEY_PRESENT | if *second { KEY_SECOND } else { 0 });
    out.extend_from_slice(&start_unix_nano.to_le_bytes());
    out.extend_from_slice(&hash.to_le_bytes());
    put_varint(out, (*duration_ms).into());
}

/// Takes the candidate of one slot. The outer `None` says that it is not valid.
#[expect(clippy::option_option, reason = "not valid, and absent")]
fn take_candidate(input: &mut &[u8]) -> Option<Option<Candidate>> {
    let flags = take_byte(input)?;
    if flags & KEY_PRESENT == 0 {
        return Some(None);
    }
    let (start_unix_nano, hash) = (take_u64(input)?, take_u64(input)?);
    let duration_ms = u64::try_from(take_varint(input)?).ok()?;
    Some(Some(Candidate { second: flags & KEY_SECOND != 0, start_unix_nano, hash, duration_ms }))
}

/// Appends a number in groups of 7 bits, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number in groups of 7 bits. Returns `None` if it ends too early or has more than 128 bits.
pub(crate) fn take_varint(input: &mut &[u8]) -> Option<u128> {
    let mut value = 0;
    for shift in (0..u128::BITS).step_by(7) {
        let byte = take_byte(input)?;
        let group = u128::from(byte & 0x7f);
        if (group << shift) >> shift != group {
            return None;
        }
        value |= group << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn take_byte(input: &mut &[u8]) -> Option<u8> {
    take_array::<1>(input).map(|[byte]| byte)
}

pub(crate) fn take_u64(input: &mut &[u8]) -> Option<u64> {
    take_array(input).map(u64::from_le_bytes)
}

pub(crate) fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}
