//! Evaluation of a check on a value.

use std::cmp::Ordering;

use memchr::memmem;

use crate::otlp::view::AnyValue;

use super::{Check, Number, ValueType};

/// The gRPC codes that the semantic conventions count as errors of a server span; the client causes the others
/// (opentelemetry.io/docs/specs/semconv/rpc/grpc, "gRPC status").
const GRPC_SERVER_FAULTS: [(i64, &str); 6] = [
    (2, "UNKNOWN"),
    (4, "DEADLINE_EXCEEDED"),
    (12, "UNIMPLEMENTED"),
    (13, "INTERNAL"),
    (14, "UNAVAILABLE"),
    (15, "DATA_LOSS"),
];

impl Check {
    /// Returns true if `value` passes. Strings are compared as bytes. [`AnyValue::Empty`] passes no check.
    #[must_use]
    pub fn passes(&self, value: AnyValue<'_>) -> bool {
        match (self, value) {
            (_, AnyValue::Empty) => false,
            (Check::Present, _) => true,
            (Check::All(checks), value) => checks.iter().all(|check| check.passes(value)),
            (Check::Type(of), value) => ValueType::of(value) == Some(*of),
            (Check::OneOf(texts), AnyValue::String(v)) => texts.iter().any(|text| text.as_bytes() == v),
            (Check::Matches(pattern), AnyValue::String(v)) => pattern.is_match(v),
            (Check::MatchesText(pattern), value) => pattern.is_match_text(value),
            (Check::Element(check), AnyValue::Array(v)) => v.iter().any(|element| check.passes(element)),
            (Check::HasPrefix(text), AnyValue::String(v)) => v.starts_with(text.as_bytes()),
            (Check::HasSuffix(text), AnyValue::String(v)) => v.ends_with(text.as_bytes()),
            (Check::Contains(text), AnyValue::String(v)) => memmem::find(v, text.as_bytes()).is_some(),
            (Check::Bool(expected), AnyValue::Bool(v)) => v == *expected,
            (Check::Number(range), value) => number(value).is_some_and(|v| range.contains(v)),
            (Check::Numeric(range), value) => number_or_text(value).is_some_and(|v| range.contains(v)),
            (Check::Bytes(bytes), AnyValue::Bytes(v)) => v == bytes,
            (Check::Length(range), value) => length(value).is_some_and(|v| range.contains(Number::Int(v))),
            (Check::HasBits(bits), AnyValue::Int(v)) => v & i64::from(*bits) == i64::from(*bits),
            (Check::ServerFault, value) => is_server_fault(value),
            _ => false,
        }
    }
}

impl ValueType {
    /// Returns the type of `value`; `None` if it is empty.
    #[must_use]
    pub fn of(value: AnyValue<'_>) -> Option<Self> {
        match value {
            AnyValue::Empty => None,
            AnyValue::String(_) => Some(ValueType::String),
            AnyValue::Bool(_) => Some(ValueType::Bool),
            AnyValue::Int(_) => Some(ValueType::Int),
            AnyValue::Double(_) => Some(ValueType::Double),
            AnyValue::Array(_) => Some(ValueType::List),
            AnyValue::KeyValues(_) => Some(ValueType::Map),
            AnyValue::Bytes(_) => Some(ValueType::Bytes),
        }
    }
}

fn number(value: AnyValue<'_>) -> Option<Number> {
    match value {
        AnyValue::Int(v) => Some(Number::Int(v)),
        AnyValue::Double(v) => Some(Number::Double(v)),
        _ => None,
    }
}

/// Reads a number, also from a string, because some instrumentation sends numbers as strings.
fn number_or_text(value: AnyValue<'_>) -> Option<Number> {
    match value {
        AnyValue::String(text) => Number::parse(text),
        _ => number(value),
    }
}

fn length(value: AnyValue<'_>) -> Option<i64> {
    let length = match value {
        AnyValue::String(v) | AnyValue::Bytes(v) => v.len(),
        AnyValue::Array(v) => v.iter().count(),
        AnyValue::KeyValues(v) => v.iter().count(),
        _ => return None,
    };
    i64::try_from(length).ok()
}

fn is_server_fault(value: AnyValue<'_>) -> bool {
    match (number_or_text(value), value) {
        (Some(code), _) => {
            GRPC_SERVER_FAULTS.iter().any(|&(fault, _)| code.compare(Number::Int(fault)) == Some(Ordering::Equal))
        }
        (None, AnyValue::String(text)) => {
            GRPC_SERVER_FAULTS.iter().any(|(_, name)| name.as_bytes().eq_ignore_ascii_case(text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
