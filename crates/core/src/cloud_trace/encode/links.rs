//! Links. The type of a link stays unspecified, because OTLP does not define types of links.

use super::attributes::{Scratch, attribute_map};
use super::fields as v2;
use super::names::KeyNames;
use super::span::{Repeated, id};
use super::{LINKS_MAX, write};
use crate::otlp::altered::Alteration;
use crate::otlp::fields::{link as sent, span};
use crate::otlp::view::{self, Attributes};
use crate::otlp::wire::{Reader, WireValue};

/// Writes `Links` with the first valid links of the OTLP span `span`.
pub(super) fn write(out: &mut Vec<u8>, span: &[u8], links: Repeated, names: &KeyNames, scratch: &mut Scratch) {
    if links.is_none() {
        return;
    }
    write::message(out, v2::span::LINKS, |out| {
        let mut written = 0;
        for link in view::submessages(span, span::LINKS).filter_map(EncodedLink::read).take(LINKS_MAX) {
            let start = out.len();
            write::message(out, v2::links::LINK, |out| link.write(out, names, scratch));
            if !scratch.has_room_or_cut(out, start) {
                break;
            }
            written += 1;
        }
        scratch.renderer.note(Alteration { cut: written < links.count, ..Alteration::default() });
        write::count(out, v2::links::DROPPED_LINKS_COUNT, links.lost_count(written));
    });
}

struct EncodedLink<'a> {
    message: &'a [u8],
    trace_id: [u8; 16],
    span_id: [u8; 8],
    dropped_count: u32,
}

impl<'a> EncodedLink<'a> {
    /// Reads the message `Span.Link`. Returns `None` if an id is not valid, because Cloud Trace would refuse the whole
    /// batch for such a link.
    fn read(message: &'a [u8]) -> Option<Self> {
        let (mut trace_id, mut span_id, mut dropped_count) = (&[][..], &[][..], 0);
        let mut reader = Reader::new(message);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (sent::TRACE_ID, WireValue::Len(v)) => trace_id = v,
                (sent::SPAN_ID, WireValue::Len(v)) => span_id = v,
                (sent::DROPPED_ATTRIBUTES_COUNT, WireValue::Varint(v)) => dropped_count = v as u32,
                _ => {}
            }
        }
        Some(EncodedLink { message, trace_id: id(trace_id)?, span_id: id(span_id)?, dropped_count })
    }

    /// Writes the fields of a `Link`.
    fn write(&self, out: &mut Vec<u8>, names: &KeyNames, scratch: &mut Scratch) {
        write::bytes(out, v2::link::TRACE_ID, &write::hex::<16, 32>(self.trace_id));
        write::bytes(out, v2::link::SPAN_ID, &write::hex::<8, 16>(self.span_id));
        let attributes = Attributes::of_link(self.message);
        attribute_map(out, v2::link::ATTRIBUTES, attributes, self.dropped_count, names, scratch);
    }
}
