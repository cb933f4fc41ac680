//! Merges singular submessages that came in several parts
//! (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
//!
//! The body is rewritten field by field: what need not be merged is copied as it stands, so strings that are not UTF-8
//! and unknown fields survive. Memory stays in proportion to the body ([`bytes_max`]), where decoded messages could take a
//! hundred times its size.

use prost::encoding::{WireType, encode_key, encode_varint};

use crate::otlp::schema::{self, Message};
use crate::otlp::wire::{Reader, WireError};

/// The most memory that [`request`] takes for a body of `len` bytes: the canonical form, and 16 bytes for each part of at least 3,
/// in vectors that double and are copied then.
pub(super) fn bytes_max(len: usize) -> usize {
    len + 3 * size_of::<&[u8]>() * (len / 3 + 1)
}

/// The canonical form of the request in `body`.
///
/// # Errors
/// None if [`Message::check`] has accepted `body`.
pub(super) fn request(body: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(body.len());
    merge(&schema::REQUEST, &[body], &mut out)?;
    Ok(out)
}

/// Appends the message whose content came in `parts`.
fn merge(message: &Message, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), WireError> {
    // The last field of `message.single`, and its parts.
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
            // Another member of the oneof, or another scalar, takes the place of what came before.
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

/// Appends a field: the submessage `child` whose content came in `parts`, or as it stood on the wire.
fn append(number: u32, child: Option<&Message>, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), WireError> {
    let Some(child) = child else {
        parts.iter().for_each(|raw| out.extend_from_slice(raw));
        return Ok(());
    };
    encode_key(number, WireType::LengthDelimited, out);
    let start = out.len();
    merge(child, parts, out)?;
    // The length is known only now.
    let end = out.len();
    encode_varint((end - start) as u64, out);
    out[start..].rotate_left(end - start);
    Ok(())
}
