//! Converts the fields of one span from OTLP to Cloud Trace.

use std::ops::RangeInclusive;

use super::attributes::{AttributeList, Scratch, truncatable_string};
use super::fields as v2;
use super::names::KeyNames;
use super::resource::EncodedResource;
use super::{EncodeError, NAME_BYTES_MAX, VALUE_BYTES_MAX, events, links, write};
use crate::otlp::TraceId;
use crate::otlp::altered::Alteration;
use crate::otlp::fields::span as sent;
use crate::otlp::view::{self, StatusCode};
use crate::otlp::wire::{Reader, WireValue};
use crate::sampling::{Threshold, tracestate};

/// The name of a span that was sent without a name. In OTLP an empty name means an unknown name, and Cloud Trace
/// requires a name.
const UNNAMED: &[u8] = b"unknown";

/// Bits of `Span.flags` (opentelemetry-proto trace.proto, `SpanFlags`).
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
const FLAG_IS_REMOTE: u32 = 0x200;

/// `google.rpc.Code.UNKNOWN`.
const RPC_UNKNOWN: u64 = 2;

/// The fields of an OTLP span without its attributes, which are collected in an [`AttributeList`].
#[derive(Debug)]
pub(super) struct EncodedFieldsOfSpan<'a> {
    message: &'a [u8],
    trace_id: [u8; 16],
    span_id: [u8; 8],
    trace_state: &'a [u8],
    parent_span_id: &'a [u8],
    name: &'a [u8],
    kind: u32,
    start: u64,
    end: u64,
    /// True if the start or the end differs from what the sender sent.
    times_mended: bool,
    events: Repeated,
    links: Repeated,
    status: &'a [u8],
    flags: u32,
}

/// The number of events or links that were sent, and the number that the sender had dropped before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Repeated {
    pub(super) count: usize,
    pub(super) dropped_count: u32,
}

impl Repeated {
    pub(super) fn is_none(self) -> bool {
        self.count == 0 && self.dropped_count == 0
    }

    /// Returns the number of lost items if `written` items are written. It includes those that the sender dropped.
    pub(super) fn lost_count(self, written: usize) -> u64 {
        u64::from(self.dropped_count) + (self.count - written) as u64
    }
}

impl<'a> EncodedFieldsOfSpan<'a> {
    /// Reads the message `Span` and appends its attributes to `attributes`.
    pub(super) fn read(message: &'a [u8], attributes: &mut AttributeList<'a>) -> Result<Self, EncodeError> {
        let (mut trace_id, mut span_id) = (&[][..], &[][..]);
        let mut dropped_attributes = 0;
        let mut span = EncodedFieldsOfSpan {
            message,
            trace_id: [0; 16],
            span_id: [0; 8],
            trace_state: &[],
            parent_span_id: &[],
            name: &[],
            kind: 0,
            start: 0,
            end: 0,
            times_mended: false,
            events: Repeated::default(),
            links: Repeated::default(),
            status: &[],
            flags: 0,
        };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field {
                (sent::TRACE_ID, WireValue::Len(v)) => trace_id = v,
                (sent::SPAN_ID, WireValue::Len(v)) => span_id = v,
                (sent::TRACE_STATE, WireValue::Len(v)) => span.trace_state = v,
                (sent::PARENT_SPAN_ID, WireValue::Len(v)) => span.parent_span_id = v,
                (sent::NAME, WireValue::Len(v)) => span.name = v,
                (sent::KIND, WireValue::Varint(v)) => span.kind = v as u32,
                (sent::START_TIME_UNIX_NANO, WireValue::Fixed64(v)) => span.start = v,
                (sent::END_TIME_UNIX_NANO, WireValue::Fixed64(v)) => span.end = v,
                (sent::ATTRIBUTES, WireValue::Len(v)) => {
                    let (key, value) = view::key_value(v);
                    attributes.push(key, value);
                }
                (sent::DROPPED_ATTRIBUTES_COUNT, WireValue::Varint(v)) => dropped_attributes = v as u32,
                (sent::EVENTS, WireValue::Len(_)) => span.events.count += 1,
                (sent::DROPPED_EVENTS_COUNT, WireValue::Varint(v)) => span.events.dropped_count = v as u32,
                (sent::LINKS, WireValue::Len(_)) => span.links.count += 1,
                (sent::DROPPED_LINKS_COUNT, WireValue::Varint(v)) => span.links.dropped_count = v as u32,
                (sent::STATUS, WireValue::Len(v)) => span.status = v,
                (sent::FLAGS, WireValue::Fixed32(v)) => span.flags = v,
                _ => {}
            }
        }
        attributes.add_dropped(dropped_attributes);
        span.trace_id = id(trace_id).ok_or(EncodeError::TraceId)?;
        span.span_id = id(span_id).ok_or(EncodeError::SpanId)?;
        span.mend_times();
        Ok(span)
    }

    /// Sets a missing start to the end, and an end that is missing or before the start to the start. Clocks are
    /// sometimes set back, and Cloud Trace would refuse the whole batch for one impossible interval.
    fn mend_times(&mut self) {
        let sent = (self.start, self.end);
        if self.start == 0 {
            self.start = self.end;
        }
        self.end = self.end.max(self.start);
        self.times_mended = sent != (self.start, self.end);
    }

    /// Returns the changes that were made to the span when it was read.
    pub(super) fn altered(&self) -> Alteration {
        Alteration { times: self.times_mended, ..Alteration::default() }
    }

    /// Returns the threshold that the span has passed, here and at earlier samplers.
    pub(super) fn passed(&self, threshold: Threshold) -> Threshold {
        tracestate::passed(self.trace_state, threshold, TraceId(self.trace_id))
    }

    /// Refuses a span whose times are outside of `taken`. A span whose clock is days off cannot be mended, because the
    /// real time is not known.
    pub(super) fn check_times(&self, taken: &RangeInclusive<u64>) -> Result<(), EncodeError> {
        if self.start < *taken.start() {
            return Err(EncodeError::Past);
        }
        if self.end > *taken.end() {
            return Err(EncodeError::Future);
        }
        Ok(())
    }

    /// Writes all fields before the attributes.
    pub(super) fn write_head(&self, out: &mut Vec<u8>, resource: &EncodedResource, scratch: &mut Scratch) {
        let (trace_id, span_id) = (write::hex::<16, 32>(self.trace_id), write::hex::<8, 16>(self.span_id));
        let name_parts = [resource.name_prefix.as_bytes(), &trace_id, b"/spans/", &span_id];
        write::header(out, v2::span::NAME, name_parts.iter().map(|part| part.len()).sum());
        for part in name_parts {
            out.extend_from_slice(part);
        }
        write::bytes(out, v2::span::SPAN_ID, &span_id);
        if let Some(parent) = self.parent() {
            write::bytes(out, v2::span::PARENT_SPAN_ID, &write::hex::<8, 16>(parent));
        }
        let name = if self.name.is_empty() { UNNAMED } else { self.name };
        truncatable_string(out, v2::span::DISPLAY_NAME, scratch.renderer.string(name, NAME_BYTES_MAX));
        timestamp(out, v2::span::START_TIME, self.start);
        timestamp(out, v2::span::END_TIME, self.end);
    }

    /// Writes all fields after the attributes.
    pub(super) fn write_tail(&self, out: &mut Vec<u8>, names: &KeyNames, scratch: &mut Scratch) {
        events::write(out, self.message, self.events, self.start, names, scratch);
        links::write(out, self.message, self.links, names, scratch);
        self.write_status(out, scratch);
        if let Some(same_process) = self.same_process_as_parent() {
            write::short_message(out, v2::span::SAME_PROCESS_AS_PARENT_SPAN, |out| {
                write::int(out, v2::bool_value::VALUE, u64::from(same_process));
            });
        }
        write::int(out, v2::span::SPAN_KIND, kind(self.kind));
    }

    /// Returns the id of the parent. There is none if the id is not eight bytes, is all zero, or is the id of the span.
    fn parent(&self) -> Option<[u8; 8]> {
        id(self.parent_span_id).filter(|parent| *parent != self.span_id)
    }

    /// Returns the sender's statement that the parent is in the same process (true) or in another (false). Returns
    /// `None` if there is no parent or no statement.
    fn same_process_as_parent(&self) -> Option<bool> {
        let known = self.flags & FLAG_HAS_IS_REMOTE != 0 && self.parent().is_some();
        known.then_some(self.flags & FLAG_IS_REMOTE == 0)
    }

    /// Writes the status. Writes nothing if it is not set. The message is written only for an error.
    fn write_status(&self, out: &mut Vec<u8>, scratch: &mut Scratch) {
        match view::status(self.status) {
            (StatusCode::Unset, _) => {}
            (StatusCode::Ok, _) => write::short_message(out, v2::span::STATUS, |_| {}),
            (StatusCode::Error, text) => write::message(out, v2::span::STATUS, |out| {
                write::int(out, v2::status::CODE, RPC_UNKNOWN);
                let text = scratch.renderer.string(text, VALUE_BYTES_MAX).bytes;
                if !text.is_empty() {
                    write::bytes(out, v2::status::MESSAGE, text);
                }
            }),
        }
    }
}

/// Returns the span kind of Cloud Trace. UNSPECIFIED and unknown kinds become INTERNAL. All others have the same
/// number.
fn kind(otlp: u32) -> u64 {
    const INTERNAL: u64 = 1;
    match otlp {
        2..=5 => u64::from(otlp),
        _ => INTERNAL,
    }
}

/// Appends a `google.protobuf.Timestamp` for a time in nanoseconds since 1970.
pub(super) fn timestamp(out: &mut Vec<u8>, number: u32, unix_nano: u64) {
    const NANOS: u64 = 1_000_000_000;
    write::short_message(out, number, |out| {
        write::int(out, v2::timestamp::SECONDS, unix_nano / NANOS);
        write::int(out, v2::timestamp::NANOS, unix_nano % NANOS);
    });
}

/// Returns the id if it is `N` bytes that are not all zero.
pub(super) fn id<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    raw.try_into().ok().filter(|id| *id != [0; N])
}
