//! The parts of a span that identify it in a refusal of the sink. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::message::{Form, SPANS_FIELD};
use crate::otlp::fields as otlp;
use crate::otlp::view::submessages;
use spansieve_core::cloud_trace::encode::fields as cloud_trace;

/// The id of a span, and features that bad spans have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanDescription {
    /// The id of the span.
    pub span_id: u64,
    /// Hashes of the name and of the set of attribute keys. Other spans may have the same.
    pub features: [u64; 2],
}

impl Form {
    /// Describes the span in `record`, which is a whole field with its key and length.
    pub(super) fn describe(self, record: &[u8]) -> SpanDescription {
        let first = |bytes, number| submessages(bytes, number).next().unwrap_or_default();
        let span = first(record, SPANS_FIELD);
        match self {
            // The resource name of the span ends with its id.
            Form::CloudTrace => {
                let name = std::str::from_utf8(first(span, cloud_trace::span::NAME)).unwrap_or_default();
                let hex = name.rsplit('/').next().unwrap_or_default();
                let attributes = first(span, cloud_trace::span::ATTRIBUTES);
                let entries = submessages(attributes, cloud_trace::attributes::ATTRIBUTE_MAP);
                let keys = entries.map(|entry| first(entry, cloud_trace::attribute_map_entry::KEY));
                let name = first(first(span, cloud_trace::span::DISPLAY_NAME), cloud_trace::truncatable_string::VALUE);
                let features = [hash(name), hash_of_keys(keys)];
                SpanDescription { span_id: u64::from_str_radix(hex, 16).unwrap_or(0), features }
            }
            Form::Otlp => {
                let span_id = first(span, otlp::span::SPAN_ID).try_into().map_or(0, u64::from_be_bytes);
                let keys = submessages(span, otlp::span::ATTRIBUTES).map(|pair| first(pair, otlp::key_value::KEY));
                SpanDescription { span_id, features: [hash(first(span, otlp::span::NAME)), hash_of_keys(keys)] }
            }
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Returns a hash that does not depend on the order of the keys.
fn hash_of_keys<'a>(keys: impl Iterator<Item = &'a [u8]>) -> u64 {
    // The start value 1 keeps the result apart from the hash of a name.
    keys.map(hash).fold(1, u64::wrapping_add)
}
