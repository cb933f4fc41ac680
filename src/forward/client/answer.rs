//! `ExportTraceServiceResponse`, read as far as it is there: an answer may be cut or unreadable, and the sink has the spans
//! all the same.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::export::sink::Written;

/// `ExportTraceServiceResponse.partial_success`.
const PARTIAL_SUCCESS_FIELD: u32 = 1;
/// `ExportTracePartialSuccess.rejected_spans`.
const REJECTED_SPANS_FIELD: u32 = 1;
/// `ExportTracePartialSuccess.error_message`.
const ERROR_MESSAGE_FIELD: u32 = 2;

/// A field's value; of a length-delimited one, what is there.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message up to its end, or to the first that cannot be read.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u32, Value<'_>)> {
    std::iter::from_fn(move || {
        let (number, wire_type) = decode_key(&mut rest).ok()?;
        let value = decode_varint(&mut rest).ok()?;
        match wire_type {
            WireType::Varint => Some((number, Value::Varint(value))),
            WireType::LengthDelimited => {
                let (bytes, tail) = rest.split_at(rest.len().min(usize::try_from(value).unwrap_or(usize::MAX)));
                rest = tail;
                Some((number, Value::Bytes(bytes)))
            }
            _ => None,
        }
    })
}

/// The rejected spans and the message of an answer.
pub(super) fn partial_success(answer: &[u8]) -> Written {
    let mut written = Written::default();
    for (number, value) in fields(answer) {
        if let (PARTIAL_SUCCESS_FIELD, Value::Bytes(partial)) = (number, value) {
            fields(partial).for_each(|field| match field {
                (REJECTED_SPANS_FIELD, Value::Varint(spans)) => {
                    // An int64; a negative number says nothing.
                    written.rejected_spans = u32::try_from((spans as i64).max(0)).unwrap_or(u32::MAX);
                }
                (ERROR_MESSAGE_FIELD, Value::Bytes(text)) => {
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
