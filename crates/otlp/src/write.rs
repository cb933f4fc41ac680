//! Appends protobuf fields to a buffer, with the shortest keys and varints
//! (<https://protobuf.dev/programming-guides/encoding/>). All encoders use it.

#[cfg(test)]
mod tests;

use super::wire::WireType::{self, Fixed32, Fixed64, Len, Varint};
use super::wire::key as key_of;

/// Returns the number of bytes that `value` takes as a varint, from 1 to 10.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Returns the number of bytes that the key of field `number` takes.
#[inline]
pub const fn key_len(number: u32) -> usize {
    varint_len(key_of(number, Varint) as u64)
}

/// Returns the number of bytes that a varint field takes.
#[inline]
pub const fn varint_field_len(number: u32, value: u64) -> usize {
    key_len(number) + varint_len(value)
}

/// Returns the number of bytes that a length-delimited field with `len` bytes of content takes.
#[inline]
pub const fn field_len(number: u32, len: usize) -> usize {
    key_len(number) + varint_len(len as u64) + len
}

/// Appends a varint without a key.
#[inline]
pub fn raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the key of a field. The caller appends the value.
#[inline]
fn key(out: &mut Vec<u8>, number: u32, wire_type: WireType) {
    raw_varint(out, key_of(number, wire_type).into());
}

/// Appends the key and length of a length-delimited field. The caller appends the `len` bytes of content.
#[inline]
pub fn header(out: &mut Vec<u8>, number: u32, len: usize) {
    if let (Ok(key @ 0..0x80), 0..0x80) = (u8::try_from(key_of(number, Len)), len) {
        return out.extend_from_slice(&[key, len as u8]);
    }
    key(out, number, Len);
    raw_varint(out, len as u64);
}

/// Appends a string, bytes or submessage field.
#[inline]
pub fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    header(out, number, content.len());
    out.extend_from_slice(content);
}

/// Appends a varint field, also if the value is zero. The members of a oneof need this.
#[inline]
pub fn varint(out: &mut Vec<u8>, number: u32, value: u64) {
    key(out, number, Varint);
    raw_varint(out, value);
}

/// Appends an integer field. As in proto3, a zero is left out.
#[inline]
pub fn int(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        varint(out, number, value);
    }
}

/// Appends a fixed32 field, also if the value is zero.
#[inline]
pub fn fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    key(out, number, Fixed32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a fixed64 field, also if the value is zero.
#[inline]
pub fn fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    key(out, number, Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a double field, also if the value is zero.
#[inline]
pub fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    fixed64(out, number, value.to_bits());
}

/// Appends a count of lost items as an `int32` field. A larger count is written as the largest `int32`.
#[inline]
pub fn count(out: &mut Vec<u8>, number: u32, value: u64) {
    int(out, number, clamped(value));
}

/// Returns `count`, but at most the largest `int32`.
pub fn clamped(count: u64) -> u64 {
    count.min(i32::MAX as u64)
}

/// Appends a submessage whose content `write` appends. It is fastest for a content of 128 bytes to 16 KiB, which is
/// nearly always the case.
pub fn message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let open = OpenSubmessage::<2>::new(out, number);
    write(out);
    open.close(out);
}

/// Appends a submessage. It is fastest for a content under 128 bytes.
pub fn short_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let open = OpenSubmessage::<1>::new(out, number);
    write(out);
    open.close(out);
}

/// A submessage whose content is being appended: the position of its first byte. `RESERVED` bytes before it are for its
/// length, which is known only at the end.
pub struct OpenSubmessage<const RESERVED: usize>(usize);

impl<const RESERVED: usize> OpenSubmessage<RESERVED> {
    /// Begins field `number`.
    #[inline]
    pub fn new(out: &mut Vec<u8>, number: u32) -> Self {
        key(out, number, Len);
        out.extend_from_slice(&[0; RESERVED]);
        OpenSubmessage(out.len())
    }

    /// Ends the field: writes its length. If the length takes another number of bytes than `RESERVED`, the content is
    /// moved.
    #[inline]
    pub fn close(self, out: &mut Vec<u8>) {
        let OpenSubmessage(start) = self;
        let len = out.len() - start;
        if varint_len(len as u64) == RESERVED {
            for (i, byte) in out[start - RESERVED..start].iter_mut().enumerate() {
                *byte = length_byte(len, i, RESERVED);
            }
        } else {
            self.close_moved(out, len);
        }
    }

    fn close_moved(self, out: &mut Vec<u8>, len: usize) {
        let OpenSubmessage(start) = self;
        let count = varint_len(len as u64);
        out.splice(start - RESERVED..start, (0..count).map(|i| length_byte(len, i, count)));
    }
}

/// Returns byte `i` of `len` as a varint of `count` bytes.
#[inline]
fn length_byte(len: usize, i: usize, count: usize) -> u8 {
    let more = if i + 1 < count { 0x80 } else { 0 };
    (len >> (7 * i)) as u8 & 0x7f | more
}

/// Returns an id in lower-case hex digits, the form of Cloud Trace. `D` must be twice `N`.
pub fn hex<const N: usize, const D: usize>(id: [u8; N]) -> [u8; D] {
    const { assert!(D == 2 * N) };
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; D];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(id) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    }
    digits
}
