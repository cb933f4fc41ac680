//! The encoding of one span: its own bytes, with some fields removed and some added.

use std::borrow::Cow;

use super::SPAN_BYTES_MAX;
use super::trim::{SPAN, trimmed};
use crate::otlp::TraceId;
use crate::otlp::altered::Alteration;
use crate::otlp::fields::{any_value, key_value, link as link_fields, scope_spans, span as span_fields};
use crate::otlp::text::mended_span;
use crate::otlp::trace_state;
use crate::otlp::view::{AnyValue, submessages};
use crate::otlp::wire::{Reader, WireError, WireValue};
use crate::otlp::write;
use crate::sampling::Threshold;
use crate::sampling::annotation;
use crate::sampling::threshold::randomness;
use crate::sampling::tracestate::{passed as passed_by, with_threshold};

/// Appends the span as the field `spans` of a `ScopeSpans`. `annotations` are encoded attributes that replace
/// attributes of the same keys; if they are empty, no attribute is replaced. Returns the other alterations of the span.
pub(super) fn write(
    span: &[u8],
    threshold: Threshold,
    annotations: &[u8],
    out: &mut Vec<u8>,
) -> Result<Alteration, WireError> {
    let sent = trimmed(span, SPAN_BYTES_MAX, SPAN);
    let mended = mended_span(&sent)?;
    let span = trimmed(&mended, SPAN_BYTES_MAX, SPAN);
    let mut cut = Ok(false);
    write::message(out, scope_spans::SPANS, |out| cut = fields(&span, threshold, annotations, out));
    let is_changed = |message: &Cow<'_, [u8]>| matches!(message, Cow::Owned(_));
    let cut = cut? || is_changed(&sent) || is_changed(&span);
    Ok(Alteration { utf8: is_changed(&mended), cut, ..Alteration::default() })
}

/// Appends an attribute of a span.
pub(super) fn attribute(out: &mut Vec<u8>, key: &str, value: AnyValue<'_>) {
    write::message(out, span_fields::ATTRIBUTES, |out| {
        write::bytes(out, key_value::KEY, key.as_bytes());
        write::message(out, key_value::VALUE, |out| match value {
            AnyValue::String(text) => write::bytes(out, any_value::STRING_VALUE, text),
            AnyValue::Int(number) => write::varint(out, any_value::INT_VALUE, number.cast_unsigned()),
            AnyValue::Double(number) => write::double(out, any_value::DOUBLE_VALUE, number),
            // Annotations have no other types.
            _ => {}
        });
    });
}

/// The fields that were removed from a span, to be written anew.
#[derive(Default)]
struct Cut<'a> {
    trace_state: &'a [u8],
    links_count: u64,
    dropped_links_count: u64,
}

/// Appends the fields of a `Span`. Fields that need not change are copied; the changed ones follow at the end, because
/// the order of fields is free. Returns true if links were left out.
fn fields(span: &[u8], threshold: Threshold, annotations: &[u8], out: &mut Vec<u8>) -> Result<bool, WireError> {
    let mut cut = Cut::default();
    let mut trace_id = TraceId([0; 16]);
    let mut reader = Reader::new(span);
    let (mut copied, mut start) = (0, 0);
    while let Some((number, value)) = reader.field()? {
        let stays = match (number, value) {
            (span_fields::TRACE_ID, WireValue::Len(id)) => {
                trace_id = id.try_into().map_or(trace_id, TraceId);
                true
            }
            (span_fields::TRACE_STATE, WireValue::Len(trace_state)) => {
                cut.trace_state = trace_state;
                false
            }
            (span_fields::ATTRIBUTES, WireValue::Len(pair)) => annotations.is_empty() || !is_annotation(pair),
            (span_fields::LINKS, WireValue::Len(link)) => {
                let stays = has_ids(link);
                cut.links_count += u64::from(!stays);
                stays
            }
            (span_fields::DROPPED_LINKS_COUNT, WireValue::Varint(count)) => {
                cut.dropped_links_count = count;
                false
            }
            _ => true,
        };
        if !stays {
            out.extend_from_slice(&span[copied..start]);
            copied = reader.position();
        }
        start = reader.position();
    }
    out.extend_from_slice(&span[copied..]);
    cut.replace(threshold, trace_id, out);
    out.extend_from_slice(annotations);
    Ok(cut.links_count > 0)
}

impl Cut<'_> {
    /// Appends the new tracestate and the new count of dropped links.
    fn replace(&self, threshold: Threshold, trace_id: TraceId, out: &mut Vec<u8>) {
        let randomness = trace_state::randomness(self.trace_state).unwrap_or_else(|| randomness(trace_id));
        // The span has been mended, so its tracestate is UTF-8.
        let trace_state = std::str::from_utf8(self.trace_state).unwrap_or_default();
        let trace_state = with_threshold(trace_state, threshold, randomness);
        if !trace_state.is_empty() {
            write::bytes(out, span_fields::TRACE_STATE, trace_state.as_bytes());
        }
        let dropped = (self.dropped_links_count + self.links_count).min(u64::from(u32::MAX));
        write::int(out, span_fields::DROPPED_LINKS_COUNT, dropped);
    }
}

/// Returns the threshold that the span has passed in total: `threshold` here, combined with the one in its tracestate.
pub(super) fn passed(span: &[u8], threshold: Threshold) -> Threshold {
    let last = |number| submessages(span, number).last().unwrap_or_default();
    // The scan has checked the length of the id.
    let trace_id = TraceId(last(span_fields::TRACE_ID).try_into().unwrap_or_default());
    passed_by(last(span_fields::TRACE_STATE), threshold, trace_id)
}

/// Returns true if the key of a `KeyValue` is one of the annotations' keys.
pub(super) fn is_annotation(pair: &[u8]) -> bool {
    annotation::is_key(submessages(pair, key_value::KEY).last().unwrap_or_default())
}

/// Returns true if each id of a link has the right length or is left out. The Collector's parser refuses the whole
/// request if an id has another length. All-zero ids are valid (specification/trace/api.md, "Link").
fn has_ids(link: &[u8]) -> bool {
    let is = |number, len| submessages(link, number).all(|id| id.is_empty() || id.len() == len);
    is(link_fields::TRACE_ID, 16) && is(link_fields::SPAN_ID, 8)
}
