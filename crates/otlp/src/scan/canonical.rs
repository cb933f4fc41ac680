//! Merges singular submessages that were sent in several parts
//! (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
//!
//! The body is rewritten field by field. All that need not be merged is copied unchanged, so strings that are not UTF-8
//! and unknown fields survive. The memory is in proportion to the body ([`bytes_max`]). Decoded messages could take a
//! hundred times its size.

use crate::schema::{self, Message};
use crate::wire::{Reader, WireError};
use crate::write;

/// Returns the most memory in bytes that [`request`] takes for a body of `len` bytes. That is the canonical form, and
/// 16 bytes for each part, which is at least 3 bytes long. The list of the parts is counted three times, because it
/// doubles when it is full, and the old and the new list then exist together.
pub(super) fn bytes_max(len: usize) -> usize {
    len + 3 * size_of::<&[u8]>() * (len / 3 + 1)
}

/// Returns the canonical form of the request in `body`.
///
/// # Errors
/// A [`WireError`] if `body` is malformed. There is no error if [`Message::check`] has accepted `body`.
pub(super) fn request(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(body.len());
    merge(&schema::REQUEST, &[body], &mut out)?;
    Ok(out)
}

/// Appends the message whose content was sent in `parts`.
fn merge(message: &Message, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), WireError> {
    // The number of the field of `message.single` that was read last, and the parts of that field.
    let mut single = 0;
    let mut single_parts = Vec::new();
    for part in parts {
        let mut reader = Reader::new(part);
        let mut start = 0;
        while let Some((number, value)) = reader.field()? {
            let raw = &part[start..reader.position()];
            start = reader.position();
            let child = message.submessage(number);
            let bytes = if child.is_some() { value.len_delimited()? } else { raw };
            if !message.single.contains(&number) {
                append(number, child, &[bytes], out)?;
                continue;
            }
            // Another member of the oneof, or another scalar, replaces the earlier value.
            if number != single || child.is_none() {
                single = number;
                single_parts.clear();
            }
            if !bytes.is_empty() || single_parts.is_empty() {
                single_parts.push(bytes);
            }
        }
    }
    if single_parts.is_empty() { Ok(()) } else { append(single, message.submessage(single), &single_parts, out) }
}

/// Appends a field: the submessage `child` whose content was sent in `parts`, or the raw field if it has no `child`.
fn append(number: u32, child: Option<&Message>, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), WireError> {
    let Some(child) = child else {
        parts.iter().for_each(|raw| out.extend_from_slice(raw));
        return Ok(());
    };
    let open = write::OpenSubmessage::<1>::new(out, number);
    merge(child, parts, out)?;
    open.close(out);
    Ok(())
}
