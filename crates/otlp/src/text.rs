//! Mends text that is not UTF-8. A proto3 parser may refuse the whole request for one such string
//! (<https://protobuf.dev/programming-guides/proto3/#scalar>), and many do.

use std::borrow::Cow;

use super::schema::{self, Message, SchemaField};
use super::wire::{Reader, WireError, WireValue};
use super::write;

/// Returns the message `Span` with U+FFFD in place of bytes that are not UTF-8, in all its strings.
///
/// # Errors
/// A [`WireError`] if the bytes are malformed. The scan does not accept such bytes.
pub fn mended_span(span: &[u8]) -> Result<Cow<'_, [u8]>, WireError> {
    mended(&schema::SPAN, span)
}

/// Does the same as [`mended_span`] for the message `InstrumentationScope`.
///
/// # Errors
/// See [`mended_span`].
pub fn mended_scope(scope: &[u8]) -> Result<Cow<'_, [u8]>, WireError> {
    mended(&schema::SCOPE, scope)
}

/// Does the same as [`mended_span`] for the message `Resource`.
///
/// # Errors
/// See [`mended_span`].
pub fn mended_resource(resource: &[u8]) -> Result<Cow<'_, [u8]>, WireError> {
    mended(&schema::RESOURCE, resource)
}

/// Returns one string with U+FFFD in place of bytes that are not UTF-8.
#[must_use]
pub fn mended_string(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn mended<'a>(message: &Message, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, WireError> {
    if is_text(message, bytes)? {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut lens = Vec::new();
    let len = mended_len(message, bytes, &mut lens)?;
    let mut out = Vec::with_capacity(len);
    mend(message, bytes, &mut lens.into_iter(), &mut out)?;
    Ok(Cow::Owned(out))
}

/// Returns true if all strings are UTF-8. The recursion is bounded, because the scan limits how deep messages nest.
fn is_text(message: &Message, bytes: &[u8]) -> Result<bool, WireError> {
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.field()? {
        let WireValue::Len(content) = value else { continue };
        let good = match message.field(number) {
            Some(SchemaField::Text) => is_utf8(content),
            // If all bytes are ASCII, all strings in them are. This holds for most attributes.
            Some(SchemaField::Message(child)) => content.is_ascii() || is_text(child, content)?,
            _ => true,
        };
        if !good {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns true if all strings in `content` are UTF-8. It is the content of field `number` of a `Span`. Malformed content
/// has none that are known to be.
#[must_use]
pub fn is_text_of_span(number: u32, content: &[u8]) -> bool {
    match schema::SPAN.field(number) {
        Some(SchemaField::Text) => is_utf8(content),
        Some(SchemaField::Message(child)) => content.is_ascii() || is_text(child, content).unwrap_or(false),
        _ => true,
    }
}

/// Returns true if `text` is UTF-8. It checks for ASCII first, because nearly all text is ASCII and that check is
/// faster.
#[must_use]
#[inline]
pub fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

/// Returns the length of the mended message in bytes. Appends the mended lengths of its submessages to `lens`, each one
/// before those of its own submessages. With these lengths, [`mend`] writes a deeply nested message once and does not
/// copy it for each level.
fn mended_len(message: &Message, bytes: &[u8], lens: &mut Vec<usize>) -> Result<usize, WireError> {
    let mut reader = Reader::new(bytes);
    let (mut start, mut total) = (0, 0);
    while let Some((number, value)) = reader.field()? {
        let raw_len = reader.position() - start;
        start = reader.position();
        total += match (value, message.field(number)) {
            (WireValue::Len(content), Some(SchemaField::Text)) => {
                write::field_len(number, mended_string(content).len())
            }
            (WireValue::Len(content), Some(SchemaField::Message(child))) => {
                let place = lens.len();
                lens.push(0);
                lens[place] = mended_len(child, content, lens)?;
                write::field_len(number, lens[place])
            }
            _ => raw_len,
        };
    }
    Ok(total)
}

/// Appends the mended message, field by field. `lens` are the lengths that [`mended_len`] found, in the same order.
fn mend(
    message: &Message,
    bytes: &[u8],
    lens: &mut impl Iterator<Item = usize>,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let mut reader = Reader::new(bytes);
    let mut start = 0;
    while let Some((number, value)) = reader.field()? {
        let raw = &bytes[start..reader.position()];
        start = reader.position();
        match (value, message.field(number)) {
            (WireValue::Len(content), Some(SchemaField::Text)) => {
                let text = mended_string(content);
                write::bytes(out, number, text.as_bytes());
            }
            (WireValue::Len(content), Some(SchemaField::Message(child))) => {
                write::header(out, number, lens.next().unwrap_or_default());
                mend(child, content, lens, out)?;
            }
            _ => out.extend_from_slice(raw),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
