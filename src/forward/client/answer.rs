//! A parser of `ExportTraceServiceResponse` that reads as far as it can. An answer may be cut or unreadable, but the
//! sink has accepted the spans in any case.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::export::sink::Written;
use crate::otlp::fields::{export_trace_partial_success, export_trace_service_response};

/// The value of a field. The bytes may be fewer than the field's length says, because the answer may be cut.
enum AnswerValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Returns the fields of a message up to its end or up to the first field that cannot be read.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u32, AnswerValue<'_>)> {
    std::iter::from_fn(move || {
        let (number, wire_type) = decode_key(&mut rest).ok()?;
        let value = decode_varint(&mut rest).ok()?;
        match wire_type {
            WireType::Varint => Some((number, AnswerValue::Varint(value))),
            WireType::LengthDelimited => {
                let (bytes, tail) = rest.split_at(rest.len().min(usize::try_from(value).unwrap_or(usize::MAX)));
                rest = tail;
                Some((number, AnswerValue::Bytes(bytes)))
            }
            _ => None,
        }
    })
}

/// Reads the number of rejected spans and the message from an answer.
pub(crate) fn partial_success(answer: &[u8]) -> Written {
    let mut written = Written::default();
    for (number, value) in fields(answer) {
        if let (export_trace_service_response::PARTIAL_SUCCESS, AnswerValue::Bytes(partial)) = (number, value) {
            fields(partial).for_each(|field| match field {
                (export_trace_partial_success::REJECTED_SPANS, AnswerValue::Varint(spans)) => {
                    // The field is an int64; a negative number counts as 0.
                    written.rejected_spans = u32::try_from((spans as i64).max(0)).unwrap_or(u32::MAX);
                }
                (export_trace_partial_success::ERROR_MESSAGE, AnswerValue::Bytes(text)) => {
                    written.message = String::from_utf8_lossy(text).into_owned();
                }
                _ => {}
            });
        }
    }
    written
}

#[cfg(test)]
mod tests;
