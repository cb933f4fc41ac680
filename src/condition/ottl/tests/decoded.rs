//! Conditions asked of decoded spans, the slow and obvious way.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::condition::{Check, Condition, Field, Number, Range, Test, ValueType};

/// A span with what belongs to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) resource: Resource,
    pub(super) scope: InstrumentationScope,
    pub(super) span: Span,
    /// Whether an empty string and a zero count as absent: both readings are allowed.
    pub(super) defaults_are_absent: bool,
}

impl Sample {
    pub(super) fn status(&self) -> Status {
        self.span.status.clone().unwrap_or_default()
    }

    /// Whether the condition holds; inside [`Condition::AnyEvent`] there is an event.
    pub(super) fn holds(&self, condition: &Condition, event: Option<&Event>) -> bool {
        match condition {
            Condition::Constant(value) => *value,
            Condition::Test(Test { field, check }) => self.value(field, event).is_some_and(|v| passes(check, &v)),
            Condition::Not(inner) => !self.holds(inner, event),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part, event)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part, event)),
            Condition::AnyEvent(inner) => self.span.events.iter().any(|event| self.holds(inner, Some(event))),
        }
    }

    fn value(&self, field: &Field, event: Option<&Event>) -> Option<Value> {
        let span = &self.span;
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        match field {
            Field::Attribute(key) => attribute(&span.attributes, key).or(attribute(&self.resource.attributes, key)),
            Field::SpanAttribute(key) => attribute(&span.attributes, key),
            Field::ResourceAttribute(key) => attribute(&self.resource.attributes, key),
            Field::ScopeAttribute(key) => attribute(&self.scope.attributes, key),
            Field::EventAttribute(key) => attribute(&event?.attributes, key),
            Field::Name => self.text(&span.name),
            Field::Kind => self.integer(span.kind.into()),
            Field::StatusCode => self.integer(self.status().code.into()),
            Field::StatusMessage => self.text(&self.status().message),
            Field::TraceState => self.text(&span.trace_state),
            Field::TraceStateEntry(key) => self.text(&trace_state_entry(&span.trace_state, key)),
            Field::Flags => self.integer(span.flags.into()),
            Field::Duration => (start != 0 && end != 0).then(|| Value::IntValue(end as i64 - start as i64)),
            Field::StartTime => self.integer(start as i64),
            Field::EndTime => self.integer(end as i64),
            Field::TraceId => Some(Value::BytesValue(span.trace_id.clone())),
            Field::SpanId => Some(Value::BytesValue(span.span_id.clone())),
            Field::ParentSpanId => id(&span.parent_span_id),
            Field::ScopeName => self.text(&self.scope.name),
            Field::ScopeVersion => self.text(&self.scope.version),
            Field::EventName => self.text(&event?.name),
            Field::EventTime => self.integer(event?.time_unix_nano as i64),
        }
    }

    fn text(&self, text: &str) -> Option<Value> {
        (!text.is_empty() || !self.defaults_are_absent).then(|| Value::StringValue(text.to_owned()))
    }

    fn integer(&self, value: i64) -> Option<Value> {
        (value != 0 || !self.defaults_are_absent).then_some(Value::IntValue(value))
    }
}

pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.clone()
}

/// The entry's value; empty if there is none.
pub(super) fn trace_state_entry(trace_state: &str, key: &str) -> String {
    let entries = trace_state.split(',').filter_map(|entry| entry.trim().split_once('='));
    entries.into_iter().find(|(known, _)| *known == key).map_or(String::new(), |(_, value)| value.to_owned())
}

fn id(bytes: &[u8]) -> Option<Value> {
    bytes.iter().any(|byte| *byte != 0).then(|| Value::BytesValue(bytes.to_vec()))
}

fn passes(check: &Check, value: &Value) -> bool {
    let text = match value {
        Value::StringValue(text) => Some(text.as_str()),
        _ => None,
    };
    match check {
        Check::Present => true,
        Check::Type(expected) => value_type(value) == Some(*expected),
        Check::OneOf(texts) => text.is_some_and(|text| texts.iter().any(|known| known == text)),
        Check::Matches(pattern) => text.is_some_and(|text| pattern.is_match(text.as_bytes())),
        Check::MatchesText(pattern) => simple_text(value).is_some_and(|text| pattern.is_match(text.as_bytes())),
        Check::HasPrefix(part) => text.is_some_and(|text| text.starts_with(part)),
        Check::HasSuffix(part) => text.is_some_and(|text| text.ends_with(part)),
        Check::Contains(part) => text.is_some_and(|text| text.contains(part)),
        Check::Bool(expected) => *value == Value::BoolValue(*expected),
        Check::Number(range) => number(value).is_some_and(|value| contains(range, value)),
        Check::Numeric(range) => {
            let read = text.and_then(|text| text.parse().ok());
            number(value).or(read).is_some_and(|value| contains(range, value))
        }
        Check::Bytes(expected) => *value == Value::BytesValue(expected.clone()),
        Check::Length(range) => length(value).is_some_and(|length| contains(range, length as f64)),
        Check::Element(inner) => match value {
            Value::ArrayValue(list) => {
                list.values.iter().filter_map(|value| value.value.as_ref()).any(|value| passes(inner, value))
            }
            _ => false,
        },
        Check::HasBits(_) | Check::ServerFault => unreachable!("no condition of OTTL asks for it"),
    }
}

fn value_type(value: &Value) -> Option<ValueType> {
    Some(match value {
        Value::StringValue(_) => ValueType::String,
        Value::BoolValue(_) => ValueType::Bool,
        Value::IntValue(_) => ValueType::Int,
        Value::DoubleValue(_) => ValueType::Double,
        Value::ArrayValue(_) => ValueType::List,
        Value::KvlistValue(_) => ValueType::Map,
        Value::BytesValue(_) => ValueType::Bytes,
        Value::StringValueStrindex(_) => return None,
    })
}

fn simple_text(value: &Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::BoolValue(value) => Some(value.to_string()),
        Value::IntValue(value) => Some(value.to_string()),
        Value::DoubleValue(value) => Some(value.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::IntValue(value) => Some(*value as f64),
        Value::DoubleValue(value) => Some(*value),
        _ => None,
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::StringValue(text) => Some(text.len()),
        Value::BytesValue(bytes) => Some(bytes.len()),
        Value::ArrayValue(list) => Some(list.values.len()),
        Value::KvlistValue(map) => Some(map.values.len()),
        _ => None,
    }
}

/// The samples hold no numbers that a double has not.
fn contains(range: &Range, value: f64) -> bool {
    let double = |number: Number| match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    };
    let above = |at: f64, inclusive: bool| value > at || (inclusive && value == at);
    let below = |at: f64, inclusive: bool| value < at || (inclusive && value == at);
    range.min.is_none_or(|min| above(double(min.at), min.inclusive))
        && range.max.is_none_or(|max| below(double(max.at), max.inclusive))
}
