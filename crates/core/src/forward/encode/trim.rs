//! Messages cut to a size. The fields that fit stay in their order; attributes, events and links that do not fit are
//! counted.

use std::borrow::Cow;

use crate::otlp::fields::{instrumentation_scope, resource, span};
use crate::otlp::wire::{Reader, WireValue};
use crate::otlp::write;

/// A repeated field, together with the field that counts its dropped entries. Both are field numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountedList {
    field: u32,
    dropped_count: u32,
}

/// The attributes, events and links of a `Span`.
pub(super) const SPAN: &[CountedList] = &[
    counted(span::ATTRIBUTES, span::DROPPED_ATTRIBUTES_COUNT),
    counted(span::EVENTS, span::DROPPED_EVENTS_COUNT),
    counted(span::LINKS, span::DROPPED_LINKS_COUNT),
];
/// The attributes of a `Resource`.
pub(super) const RESOURCE: &[CountedList] = &[counted(resource::ATTRIBUTES, resource::DROPPED_ATTRIBUTES_COUNT)];
/// The attributes of an `InstrumentationScope`.
pub(super) const SCOPE: &[CountedList] =
    &[counted(instrumentation_scope::ATTRIBUTES, instrumentation_scope::DROPPED_ATTRIBUTES_COUNT)];

/// The bytes that the repeated fields leave free for the other fields: ids, times and a name of a reasonable length.
const OTHERS_BYTES: usize = 4 << 10;

const fn counted(field: u32, dropped_count: u32) -> CountedList {
    CountedList { field, dropped_count }
}

/// Returns `message` cut to at most `max` bytes (plus the counts). Fields that do not fit are left out. Left out
/// entries of the `counted` fields are added to the dropped counts of the message. If the last field is incomplete, it
/// counts as an entry of the first of them.
pub(super) fn trimmed<'a>(message: &'a [u8], max: usize, counted: &[CountedList]) -> Cow<'a, [u8]> {
    if message.len() <= max {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::new();
    // For each of `counted`: the entries that the sender dropped, and the entries that are dropped here.
    let (mut sent, mut dropped) = ([0; 3], [0; 3]);
    let mut reader = Reader::new(message);
    let mut start = 0;
    loop {
        let (number, value) = match reader.field() {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(_) => {
                dropped[0] += 1;
                break;
            }
        };
        let field = &message[start..reader.position()];
        start = reader.position();
        if let Some(i) = counted.iter().position(|counted| counted.field == number) {
            if out.len() + field.len() <= max.saturating_sub(OTHERS_BYTES) {
                out.extend_from_slice(field);
            } else {
                dropped[i] += 1;
            }
            continue;
        }
        let counts = |counted: &CountedList| counted.dropped_count == number;
        if let (Some(i), WireValue::Varint(count)) = (counted.iter().position(counts), value) {
            sent[i] = count & u64::from(u32::MAX);
        } else if out.len() + field.len() <= max {
            out.extend_from_slice(field);
        }
    }
    for (i, counted) in counted.iter().enumerate() {
        write::int(&mut out, counted.dropped_count, (sent[i] + dropped[i]).min(u64::from(u32::MAX)));
    }
    Cow::Owned(out)
}
