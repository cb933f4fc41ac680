//! Events. Each becomes an annotation. The message events of Cloud Trace are not used: they have fewer fields, and OTLP
//! has no such events.

use super::attributes::{Scratch, attribute_map, truncatable_string};
use super::fields as v2;
use super::names::KeyNames;
use super::span::{Repeated, timestamp};
use super::{EVENT_LEAD_NANOS_MAX, EVENTS_MAX, NAME_BYTES_MAX, write};
use crate::otlp::altered::Alteration;
use crate::otlp::fields::{event as sent, span};
use crate::otlp::view::{self, Attributes};
use crate::otlp::wire::{Reader, WireValue};

/// Writes `TimeEvents` with the first events of the OTLP span `span`, which starts at `span_start` (nanoseconds since
/// 1970).
pub(super) fn write(
    out: &mut Vec<u8>,
    span: &[u8],
    events: Repeated,
    span_start: u64,
    names: &KeyNames,
    scratch: &mut Scratch,
) {
    if events.is_none() {
        return;
    }
    let cut = events.count > EVENTS_MAX;
    scratch.renderer.note(Alteration { cut, ..Alteration::default() });
    write::message(out, v2::span::TIME_EVENTS, |out| {
        let mut written = 0;
        for event in view::submessages(span, span::EVENTS).take(EVENTS_MAX) {
            let start = out.len();
            write::message(out, v2::time_events::TIME_EVENT, |out| time_event(out, event, span_start, names, scratch));
            if !scratch.has_room_or_cut(out, start) {
                break;
            }
            written += 1;
        }
        write::count(out, v2::time_events::DROPPED_ANNOTATIONS_COUNT, events.lost_count(written));
    });
}

/// Writes the fields of a `TimeEvent`.
fn time_event(out: &mut Vec<u8>, event: &[u8], span_start: u64, names: &KeyNames, scratch: &mut Scratch) {
    let (mut time, mut name, mut dropped_count) = (0, &[][..], 0);
    let mut reader = Reader::new(event);
    while let Ok(Some(field)) = reader.field() {
        match field {
            (sent::TIME_UNIX_NANO, WireValue::Fixed64(v)) => time = v,
            (sent::NAME, WireValue::Len(v)) => name = v,
            (sent::DROPPED_ATTRIBUTES_COUNT, WireValue::Varint(v)) => dropped_count = v as u32,
            _ => {}
        }
    }
    let mended = mended_time(time, span_start);
    scratch.renderer.note(Alteration { times: mended != time, ..Alteration::default() });
    timestamp(out, v2::time_event::TIME, mended);
    write::message(out, v2::time_event::ANNOTATION, |out| {
        truncatable_string(out, v2::annotation::DESCRIPTION, scratch.renderer.string(name, NAME_BYTES_MAX));
        attribute_map(out, v2::annotation::ATTRIBUTES, Attributes::of_event(event), dropped_count, names, scratch);
    });
}

/// Returns the time to write for an event. It is the start of the span if the event has no time, or a time that is so
/// early that the API would refuse it.
fn mended_time(time: u64, span_start: u64) -> u64 {
    let is_possible = time != 0 && span_start.saturating_sub(time) <= EVENT_LEAD_NANOS_MAX;
    if is_possible { time } else { span_start }
}
