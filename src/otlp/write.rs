//! Protobuf fields appended to a buffer, with the shortest varints
//! (<https://protobuf.dev/programming-guides/encoding/>). Field numbers are below 16, so that a key is one byte.

/// The key of a length-delimited field.
pub(crate) const fn len_key(number: u8) -> u8 {
    number << 3 | 2
}

/// The key of a varint field.
pub(crate) const fn varint_key(number: u8) -> u8 {
    number << 3
}

/// The key of a fixed64 or double field.
pub(crate) const fn fixed64_key(number: u8) -> u8 {
    number << 3 | 1
}

/// The bytes that `value` takes as a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// The bytes of a length-delimited field with `len` bytes of content.
pub(crate) const fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

#[inline]
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A length-delimited field's key and length; the caller appends `len` bytes.
#[inline]
pub(crate) fn header(out: &mut Vec<u8>, number: u8, len: usize) {
    if len < 0x80 {
        return out.extend_from_slice(&[len_key(number), len as u8]);
    }
    out.push(len_key(number));
    varint(out, len as u64);
}

/// A string or bytes field.
#[inline]
pub(crate) fn bytes(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    header(out, number, content.len());
    out.extend_from_slice(content);
}

/// An integer field; left out if zero, as proto3 does.
#[inline]
pub(crate) fn int(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push(varint_key(number));
        varint(out, value);
    }
}

/// An `int32` field that counts what was lost.
#[inline]
pub(crate) fn count(out: &mut Vec<u8>, number: u8, value: u64) {
    int(out, number, clamped(value));
}

/// A count as an `int32` can hold it.
pub(crate) fn clamped(count: u64) -> u64 {
    count.min(i32::MAX as u64)
}

/// A submessage whose content `write` appends. Its length is patched in afterwards: the room left for it is right
/// from 128 bytes to 16 KiB, which is nearly always; otherwise the content moves.
pub(crate) fn message(out: &mut Vec<u8>, number: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[len_key(number), 0, 0]);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    let prefix_len = varint_len(len as u64);
    let more = |i| if i + 1 < prefix_len { 0x80 } else { 0 };
    out.splice(start - 2..start, (0..prefix_len).map(|i| (len >> (7 * i)) as u8 & 0x7f | more(i)));
}

/// A submessage that is certain to be under 128 bytes.
pub(crate) fn short_message(out: &mut Vec<u8>, number: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[len_key(number), 0]);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    debug_assert!(len < 0x80);
    out[start - 1] = len as u8;
}

/// A `google.protobuf.Timestamp` of nanoseconds since 1970.
pub(crate) fn timestamp(out: &mut Vec<u8>, number: u8, unix_nano: u64) {
    const NANOS: u64 = 1_000_000_000;
    short_message(out, number, |out| {
        int(out, 1, unix_nano / NANOS);
        int(out, 2, unix_nano % NANOS);
    });
}

/// An id as Cloud Trace writes it: lower-case hex. `D` is twice `N`.
pub(crate) fn hex<const N: usize, const D: usize>(id: [u8; N]) -> [u8; D] {
    const { assert!(D == 2 * N) };
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; D];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(id) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    }
    digits
}
