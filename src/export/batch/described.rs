//! What a refusal may point at in a span of a message. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::message::{Form, SPANS_FIELD};
use crate::otlp::view::submessages;

/// A span as far as a refusal may point at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// The id of the span.
    pub span_id: u64,
    /// Hashes of what other spans may have as well: the name, and the keys of the attributes.
    pub looks: [u64; 2],
}

impl Form {
    /// The span of `record`: a whole field, with its key and length.
    pub(super) fn describe(self, record: &[u8]) -> Described {
        let first = |bytes, number| submessages(bytes, number).next().unwrap_or_default();
        let span = first(record, SPANS_FIELD);
        match self {
            // `Span`: `name`, which ends with the id, `display_name.value`, `attributes.attribute_map[].key`.
            Form::CloudTrace => {
                let name = std::str::from_utf8(first(span, 1)).unwrap_or_default();
                let hex = name.rsplit('/').next().unwrap_or_default();
                let keys = submessages(first(span, 7), 1).map(|entry| first(entry, 1));
                let looks = [hash(first(first(span, 4), 1)), hash_of_keys(keys)];
                Described { span_id: u64::from_str_radix(hex, 16).unwrap_or(0), looks }
            }
            // `Span`: `span_id`, `name`, `attributes[].key`.
            Form::Otlp => {
                let span_id = first(span, 2).try_into().map_or(0, u64::from_be_bytes);
                let keys = submessages(span, 9).map(|pair| first(pair, 1));
                Described { span_id, looks: [hash(first(span, 5)), hash_of_keys(keys)] }
            }
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The same in whatever order the keys come.
fn hash_of_keys<'a>(keys: impl Iterator<Item = &'a [u8]>) -> u64 {
    // Apart from the hash of a name.
    keys.map(hash).fold(1, u64::wrapping_add)
}
