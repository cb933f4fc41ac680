//! Leaves out or replaces attributes of a request, by their keys.

use thiserror::Error;

use super::fields::{any_value, key_value};
use super::schema::{self, Message, SchemaField};
use super::wire::{Reader, WireError, WireValue};
use super::write::{self, OpenSubmessage};

/// The change to an attribute, or to an entry of a map within one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeChange {
    /// It stays as it is. If its value is a map, the entries are asked for, too.
    Stays,
    /// It is left out.
    LeftOut,
    /// This text takes the place of its value.
    Replaced(String),
}

/// The reason why a request is not changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RedactError {
    /// The bytes are malformed. The scan does not accept such bytes.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The changed request has more bytes than it may have.
    #[error("the request is too large once its attributes are changed")]
    TooLarge,
}

/// The changes to make, and the bytes to which `out` may grow.
struct Changes<'c> {
    change: &'c mut dyn FnMut(&[u8], &[u8]) -> AttributeChange,
    end_max: usize,
}

/// Appends the request `body` to `out`, with the attributes of resources, scopes, spans, events and links changed as
/// `change` says of their keys and of their values (`AnyValue`). Also leaves out all fields that this program does not
/// know: they may have anything in them.
///
/// Stops soon after it has appended more than `bytes_max`: a replaced value can be longer than it was.
///
/// # Errors
/// See [`RedactError`]. `out` may have a part of the request then.
pub fn redact(
    body: &[u8],
    change: &mut dyn FnMut(&[u8], &[u8]) -> AttributeChange,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), RedactError> {
    let end_max = out.len().saturating_add(bytes_max);
    message(&schema::REQUEST, body, &mut Changes { change, end_max }, out)
}

/// Appends a message, field by field. The recursion is bounded, because the scan limits how deep messages nest.
fn message(
    known: &'static Message,
    bytes: &[u8],
    changes: &mut Changes<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RedactError> {
    let mut reader = Reader::new(bytes);
    let mut start = 0;
    while let Some((number, value)) = reader.field()? {
        let raw = &bytes[start..reader.position()];
        start = reader.position();
        match (value, known.field(number)) {
            (WireValue::Len(content), Some(SchemaField::Message(child))) => {
                let change_of =
                    if schema::is_attribute(child) { attribute(content, changes)? } else { AttributeChange::Stays };
                match change_of {
                    AttributeChange::Stays => submessage(number, child, content, changes, out)?,
                    AttributeChange::LeftOut => {}
                    AttributeChange::Replaced(text) => replaced(number, content, &text, out)?,
                }
            }
            (_, Some(_)) => out.extend_from_slice(raw),
            (_, None) => {}
        }
        if out.len() > changes.end_max {
            return Err(RedactError::TooLarge);
        }
    }
    Ok(())
}

/// Returns the change to an attribute. If it has several keys, which no sender writes, the strictest change to any of
/// them.
fn attribute(bytes: &[u8], changes: &mut Changes<'_>) -> Result<AttributeChange, WireError> {
    let last_value = last(bytes, key_value::VALUE)?;
    let mut strictest = AttributeChange::Stays;
    let (mut reader, mut has_key) = (Reader::new(bytes), false);
    while let Some((number, value)) = reader.field()? {
        let (key_value::KEY, WireValue::Len(key)) = (number, value) else { continue };
        has_key = true;
        match (changes.change)(key, last_value) {
            AttributeChange::LeftOut => return Ok(AttributeChange::LeftOut),
            AttributeChange::Replaced(text) => strictest = AttributeChange::Replaced(text),
            AttributeChange::Stays => {}
        }
    }
    // An empty key is not written.
    Ok(if has_key { strictest } else { (changes.change)(&[], last_value) })
}

/// Returns the last content of a field; empty if there is none.
fn last(bytes: &[u8], wanted: u32) -> Result<&[u8], WireError> {
    let mut found: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.field()? {
        if let (true, WireValue::Len(content)) = (number == wanted, value) {
            found = content;
        }
    }
    Ok(found)
}

/// Appends an attribute with the last of its keys and with `text` as its value.
fn replaced(number: u32, bytes: &[u8], text: &str, out: &mut Vec<u8>) -> Result<(), WireError> {
    let key = last(bytes, key_value::KEY)?;
    write::message(out, number, |out| {
        write::bytes(out, key_value::KEY, key);
        write::short_message(out, key_value::VALUE, |out| {
            write::bytes(out, any_value::STRING_VALUE, text.as_bytes());
        });
    });
    Ok(())
}

/// Appends a submessage. As much room as its length takes now is reserved, so that its contents are seldom moved.
fn submessage(
    number: u32,
    known: &'static Message,
    content: &[u8],
    changes: &mut Changes<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RedactError> {
    match write::varint_len(content.len() as u64) {
        1 => within::<1>(number, known, content, changes, out),
        2 => within::<2>(number, known, content, changes, out),
        3 => within::<3>(number, known, content, changes, out),
        _ => within::<4>(number, known, content, changes, out),
    }
}

fn within<const RESERVED: usize>(
    number: u32,
    known: &'static Message,
    content: &[u8],
    changes: &mut Changes<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RedactError> {
    let open = OpenSubmessage::<RESERVED>::new(out, number);
    message(known, content, changes, out)?;
    open.close(out);
    Ok(())
}

#[cfg(test)]
mod tests;
