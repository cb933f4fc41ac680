//! Made-up spans for the unit tests of the emulator.

use std::collections::HashMap;

use prost_types::Timestamp;

use super::check;
use super::stored::StoredSpan;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::span::Attributes;
use crate::proto::google::devtools::cloudtrace::v2::{AttributeValue, Span, TruncatableString};

/// The current time in these tests: 2026-11-21T00:00:00Z.
pub(super) const NOW_NS: i64 = 1_795_219_200_000_000_000;

/// Returns a valid span of project `p`. `ms` is its time range in milliseconds relative to [`NOW_NS`].
pub(super) fn span(trace: u128, id: u64, parent: u64, ms: std::ops::Range<i64>) -> Span {
    Span {
        name: format!("projects/p/traces/{trace:032x}/spans/{id:016x}"),
        span_id: format!("{id:016x}"),
        parent_span_id: if parent == 0 { String::new() } else { format!("{parent:016x}") },
        display_name: Some(text(&format!("span {id}"))),
        start_time: Some(timestamp(NOW_NS + ms.start * 1_000_000)),
        end_time: Some(timestamp(NOW_NS + ms.end * 1_000_000)),
        ..Span::default()
    }
}

/// Returns the span of [`span`] as the store returns it.
pub(super) fn stored(trace: u128, id: u64, parent: u64, ms: std::ops::Range<i64>) -> StoredSpan {
    checked(span(trace, id, parent, ms))
}

/// Returns a root span with `attributes`.
pub(super) fn stored_with(trace: u128, id: u64, attributes: &[(&str, Value)]) -> StoredSpan {
    checked(Span { attributes: Some(self::attributes(attributes)), ..span(trace, id, 0, 0..1) })
}

pub(super) fn checked(span: Span) -> StoredSpan {
    check::single(span, NOW_NS).unwrap()
}

pub(super) fn attributes(attributes: &[(&str, Value)]) -> Attributes {
    let entry = |(key, value): &(&str, Value)| ((*key).to_owned(), AttributeValue { value: Some(value.clone()) });
    Attributes { attribute_map: attributes.iter().map(entry).collect::<HashMap<_, _>>(), dropped_attributes_count: 0 }
}

pub(super) fn string(value: &str) -> Value {
    Value::StringValue(text(value))
}

pub(super) fn text(value: &str) -> TruncatableString {
    TruncatableString { value: value.to_owned(), truncated_byte_count: 0 }
}

pub(super) fn timestamp(ns: i64) -> Timestamp {
    let nanos = i32::try_from(ns.rem_euclid(1_000_000_000)).unwrap();
    Timestamp { seconds: ns.div_euclid(1_000_000_000), nanos }
}
