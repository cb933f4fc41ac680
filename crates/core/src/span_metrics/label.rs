//! The values of labels: valid text of bounded length.

use crate::otlp::text::is_utf8;

/// The most bytes of a value. Longer ones are cut.
pub(super) const VALUE_BYTES_MAX: usize = 128;

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Appends `value` with its length in one byte before it: at most [`VALUE_BYTES_MAX`] bytes of it, with U+FFFD for bytes
/// that are not UTF-8. So two values that look the same are the same.
#[inline]
pub(super) fn write_value(value: &[u8], out: &mut Vec<u8>) {
    with_length(out, |out| write_text(value, out));
}

/// Appends what `write` appends, cut to [`VALUE_BYTES_MAX`] bytes, with its length in one byte before it.
#[inline]
pub(super) fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    write(out);
    let written = &out[at + 1..];
    let len = first_bytes(written, VALUE_BYTES_MAX).len();
    out.truncate(at + 1 + len);
    out[at] = len as u8;
}

/// Returns the first `max` bytes, or a few fewer, so that no character of a valid text is cut.
pub(super) fn first_bytes(text: &[u8], max: usize) -> &[u8] {
    if text.len() <= max {
        return text;
    }
    let is_start = |&at: &usize| text[at] & 0xc0 != 0x80;
    // A character has four bytes at most.
    &text[..(max.saturating_sub(3)..=max).rev().find(is_start).unwrap_or(max)]
}

/// Appends `value` as valid UTF-8. Reads a few bytes more than [`VALUE_BYTES_MAX`], because the caller cuts the text.
pub(super) fn write_text(value: &[u8], out: &mut Vec<u8>) {
    let value = &value[..value.len().min(VALUE_BYTES_MAX + 4)];
    if is_utf8(value) {
        return out.extend_from_slice(value);
    }
    for chunk in value.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }
}

/// Returns the first value in `bytes` with its length before it, as [`with_length`] has written it, and the rest. Returns
/// an empty value if there is none.
pub(super) fn split_written(bytes: &[u8]) -> (&[u8], &[u8]) {
    let len = bytes.first().map_or(0, |&len| 1 + usize::from(len));
    bytes.split_at_checked(len).filter(|(value, _)| !value.is_empty()).unwrap_or((&[0], &[]))
}

/// Returns the first value in `bytes`, which [`write_value`] has written, and the rest.
pub(super) fn split_value(bytes: &[u8]) -> (&str, &[u8]) {
    let Some((&len, rest)) = bytes.split_first() else { return ("", &[]) };
    let (value, rest) = rest.split_at_checked(usize::from(len)).unwrap_or((rest, &[]));
    (std::str::from_utf8(value).unwrap_or_default(), rest)
}

/// Returns the name of the label for an attribute: `_` in place of all characters but letters and digits, and before a
/// digit at the start.
pub(super) fn label_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let begins_with_digit = key.starts_with(|c: char| c.is_ascii_digit());
    let first = begins_with_digit.then_some('_');
    first.into_iter().chain(key.chars().map(plain)).collect()
}
