//! A slow and simple evaluation of conditions on decoded spans. Only [`Check::passes`] and formulas use the real code.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;

use crate::condition::formula::EncodedFields;
use crate::condition::{Check, Condition, Field, Test};
use crate::otlp::view;

/// A span with its resource and its scope.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) resource: Resource,
    pub(super) scope: InstrumentationScope,
    pub(super) span: Span,
    /// True if empty strings and zeros count as absent. OTLP allows a sender to leave them out or to send them.
    pub(super) defaults_are_absent: bool,
}

impl Sample {
    pub(super) fn status(&self) -> Status {
        self.span.status.clone().unwrap_or_default()
    }

    /// Returns true if the condition holds. `event` is the event inside of [`Condition::AnyEvent`].
    pub(super) fn holds(&self, condition: &Condition, event: Option<&Event>) -> bool {
        match condition {
            Condition::Constant(value) => *value,
            Condition::Test(Test { field, check }) => {
                self.value(field, event).is_some_and(|value| passes(check, value))
            }
            Condition::Not(inner) => !self.holds(inner, event),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part, event)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part, event)),
            Condition::AnyEvent(inner) => self.span.events.iter().any(|event| self.holds(inner, Some(event))),
            Condition::Formula(formula) => {
                let fields = formula.term.fields().into_iter();
                let encoded = |field: &Field| AnyValue { value: self.value(field, event) }.encode_to_vec();
                formula.holds(&EncodedFields(fields.map(|field| (field.clone(), encoded(field))).collect()))
            }
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

/// Returns the value of an entry; empty if there is no such entry.
pub(super) fn trace_state_entry(trace_state: &str, key: &str) -> String {
    let entries = trace_state.split(',').filter_map(|entry| entry.trim().split_once('='));
    entries.into_iter().find(|(known, _)| *known == key).map_or(String::new(), |(_, value)| value.to_owned())
}

fn id(bytes: &[u8]) -> Option<Value> {
    bytes.iter().any(|byte| *byte != 0).then(|| Value::BytesValue(bytes.to_vec()))
}

fn passes(check: &Check, value: Value) -> bool {
    let encoded = AnyValue { value: Some(value) }.encode_to_vec();
    check.passes(view::AnyValue::new(&encoded))
}
