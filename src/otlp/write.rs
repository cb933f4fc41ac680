//! Appends protobuf fields to a buffer, with the shortest varints
//! (<https://protobuf.dev/programming-guides/encoding/>). Field numbers must be below 16, so that a key is one byte.

/// Returns the key of a length-delimited field.
pub(crate) const fn len_key(number: u8) -> u8 {
    number << 3 | 2
}

/// Returns the key of a varint field.
pub(crate) const fn varint_key(number: u8) -> u8 {
    number << 3
}

/// Returns the key of a fixed64 or double field.
pub(crate) const fn fixed64_key(number: u8) -> u8 {
    number << 3 | 1
}

/// Returns the number of bytes that `value` takes as a varint, from 1 to 10.
pub(crate) const fn varint_len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Returns the number of bytes that a length-delimited field with `len` bytes of content takes.
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

/// Appends the key and length of a length-delimited field. The caller appends the `len` bytes of content.
#[inline]
pub(crate) fn header(out: &mut Vec<u8>, number: u8, len: usize) {
    if len < 0x80 {
        return out.extend_from_slice(&[len_key(number), len as u8]);
    }
    out.push(len_key(number));
    varint(out, len as u64);
}

/// Appends a string or bytes field.
#[inline]
pub(crate) fn bytes(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    header(out, number, content.len());
    out.extend_from_slice(content);
}

/// Appends an integer field. As in proto3, a zero is left out.
#[inline]
pub(crate) fn int(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push(varint_key(number));
        varint(out, value);
    }
}

/// Appends a count of lost items as an `int32` field. A larger count is written as the largest `int32`.
#[inline]
pub(crate) fn count(out: &mut Vec<u8>, number: u8, value: u64) {
    int(out, number, clamped(value));
}

/// Returns `count`, but at most the largest `int32`.
pub(crate) fn clamped(count: u64) -> u64 {
    count.min(i32::MAX as u64)
}

/// Appends a submessage whose content `write` appends. The length is written afterwards, into two reserved bytes. They
/// are right for a content of 128 bytes to 16 KiB, which is nearly always the case. Otherwise the content is moved.
pub(crate) fn message(out: &mut Vec<u8>, number: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[len_key(number), 0, 0]);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    let prefix_len = varint_len(len as u64);
    let more = |i| if i + 1 < prefix_len { 0x80 } else { 0 };
    out.splice(start - 2..start, (0..prefix_len).map(|i| (len >> (7 * i)) as u8 & 0x7f | more(i)));
}

/// Appends a submessage that is certain to be under 128 bytes.
pub(crate) fn short_message(out: &mut Vec<u8>, number: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[len_key(number), 0]);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    debug_assert!(len < 0x80);
    out[start - 1] = len as u8;
}

/// Appends a `google.protobuf.Timestamp` for a time in nanoseconds since 1970.
pub(crate) fn timestamp(out: &mut Vec<u8>, number: u8, unix_nano: u64) {
    const NANOS: u64 = 1_000_000_000;
    short_message(out, number, |out| {
        int(out, 1, unix_nano / NANOS);
        int(out, 2, unix_nano % NANOS);
    });
}

/// Returns an id in lower-case hex digits, the form of Cloud Trace. `D` must be twice `N`.
pub(crate) fn hex<const N: usize, const D: usize>(id: [u8; N]) -> [u8; D] {
    const { assert!(D == 2 * N) };
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; D];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(id) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    }
    digits
}
