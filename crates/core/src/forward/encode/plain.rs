//! The encoding of a plain span: its bytes stay as they are, and the tracestate and the annotations are appended. Nearly
//! all spans are plain. One pass over the bytes finds out.

use crate::otlp::TraceId;
use crate::otlp::fields::{scope_spans, span as span_fields};
use crate::otlp::text::{is_text_of_span, is_utf8};
use crate::otlp::view::{AnyValue, plain_key_value};
use crate::otlp::wire::WireType::{Len, Varint};
use crate::otlp::wire::{Reader, WireError, key};
use crate::otlp::write;
use crate::sampling::threshold::randomness;
use crate::sampling::tracestate::new_with_threshold;
use crate::sampling::{Threshold, annotation};

use super::SPAN_BYTES_MAX;
use super::span::is_annotation;

const TRACE_ID: u32 = key(span_fields::TRACE_ID, Len);
const TRACE_STATE: u32 = key(span_fields::TRACE_STATE, Len);
const NAME: u32 = key(span_fields::NAME, Len);
const ATTRIBUTES: u32 = key(span_fields::ATTRIBUTES, Len);
const EVENTS: u32 = key(span_fields::EVENTS, Len);
const LINKS: u32 = key(span_fields::LINKS, Len);
const DROPPED_LINKS_COUNT: u32 = key(span_fields::DROPPED_LINKS_COUNT, Varint);
const STATUS: u32 = key(span_fields::STATUS, Len);

/// A span of which nothing is removed or changed: all its text is UTF-8, it is not too large, and it has no tracestate, no
/// link and, if annotations are written, none of the sender's.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainSpan<'a> {
    span: &'a [u8],
    trace_id: TraceId,
}

impl<'a> PlainSpan<'a> {
    /// Reads a span. Returns `None` if it is not plain, or is malformed.
    pub(super) fn read(span: &'a [u8], is_annotated: bool) -> Option<Self> {
        if span.len() > SPAN_BYTES_MAX {
            return None;
        }
        let mut trace_id = TraceId([0; 16]);
        let mut reader = Reader::new(span);
        while let Some(key) = reader.key().ok()? {
            if !is_plain(key, &mut reader, is_annotated, &mut trace_id).ok()? {
                return None;
            }
        }
        Some(PlainSpan { span, trace_id })
    }

    /// Appends the span as the field `spans` of a `ScopeSpans`, with its tracestate and the encoded `annotations`.
    pub(super) fn write(self, threshold: Threshold, annotations: &[u8], out: &mut Vec<u8>) {
        let trace_state = new_with_threshold(threshold, randomness(self.trace_id));
        let trace_state_len =
            if trace_state.is_empty() { 0 } else { write::field_len(span_fields::TRACE_STATE, trace_state.len()) };
        write::header(out, scope_spans::SPANS, self.span.len() + trace_state_len + annotations.len());
        out.extend_from_slice(self.span);
        if !trace_state.is_empty() {
            write::bytes(out, span_fields::TRACE_STATE, &trace_state);
        }
        out.extend_from_slice(annotations);
    }
}

/// Reads the value of the field whose `key` was read last. Returns false if the field is not that of a plain span.
#[inline]
fn is_plain(key: u32, reader: &mut Reader<'_>, is_annotated: bool, trace_id: &mut TraceId) -> Result<bool, WireError> {
    Ok(match key {
        ATTRIBUTES => is_plain_attribute(reader.len_delimited()?, is_annotated),
        TRACE_ID => {
            *trace_id = reader.len_delimited()?.try_into().map_or(*trace_id, TraceId);
            true
        }
        NAME => is_utf8(reader.len_delimited()?),
        EVENTS | STATUS => is_text_of_span(key >> 3, reader.len_delimited()?),
        TRACE_STATE | LINKS | DROPPED_LINKS_COUNT => false,
        _ => reader.value(key).map(|_| true)?,
    })
}

#[inline]
fn is_plain_attribute(pair: &[u8], is_annotated: bool) -> bool {
    let Some((key, value)) = plain_key_value(pair) else {
        return !(is_annotated && is_annotation(pair)) && is_text_of_span(span_fields::ATTRIBUTES, pair);
    };
    let is_text = match value {
        AnyValue::String(text) => is_utf8(text),
        _ => true,
    };
    is_text && is_utf8(key) && !(is_annotated && annotation::is_key(key))
}

#[cfg(test)]
mod tests;
