//! What the answers of the engine say. They are read as bytes: other programs may have written to the keys, and one value that
//! is not text must not hide the others.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::{BATCH_FIELD, Entry, RECEIVED_BYTES_MAX, Received};
use spansieve_core::fleet::MemberFacts;

/// Returns the members of a list, without entries that are not valid.
pub(super) fn listed(reply: Value) -> Vec<MemberFacts> {
    let entries = items(reply).into_iter().map(bytes);
    entries.filter_map(|entry| Entry::read(std::str::from_utf8(&entry).ok()?)).collect()
}

/// Returns the entries of a stream: the reply is nil, or has one stream with its key and its entries. An entry has its place,
/// and fields with their values.
pub(super) fn received(reply: Value) -> Vec<Received> {
    let entries = items(reply).into_iter().filter_map(|stream| items(stream).into_iter().nth(1)).flat_map(items);
    let received = entries.filter_map(|entry| {
        let mut entry = items(entry).into_iter();
        // The server makes the place, so it is text.
        let place = String::from_utf8(bytes(entry.next()?)).ok()?;
        Some(Received { place, batch: batch(entry.next().map(items).unwrap_or_default()) })
    });
    received.collect()
}

/// Returns the batch of an entry; an empty one, which is not valid, if there is none, or one that no member sends.
fn batch(fields: Vec<Value>) -> Bytes {
    let mut fields = fields.into_iter().map(bytes);
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        if field == BATCH_FIELD.as_bytes() {
            return if value.len() <= RECEIVED_BYTES_MAX { value.into() } else { Bytes::new() };
        }
    }
    Bytes::new()
}

/// Returns the time since 1970 that `TIME` has answered: seconds, and microseconds.
pub(super) fn time(reply: Value) -> Option<Duration> {
    let seconds = items(reply).into_iter().next().map(bytes)?;
    std::str::from_utf8(&seconds).ok()?.parse().ok().map(Duration::from_secs)
}

fn items(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value { items } else { Vec::new() }
}

/// Returns the text of a value, or its bytes.
pub(super) fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        Value::VerbatimString { text, .. } => text.into_bytes(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
