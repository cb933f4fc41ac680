//! Rewriting of resource attributes, as the Collector's resource processor does it
//! (opentelemetry-collector-contrib `internal/coreinternal/attraction`).
//!
//! Done once for each distinct resource, never per span.

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::{AnyValue as OtlpValue, any_value};
use prost::Message;

use crate::config::settings::{self, Action, AttributeValue, ValueSource};
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::{Reader, Value};
use crate::otlp::write;

pub mod cache;
mod project;
#[cfg(test)]
mod tests;

/// Attributes that are read of one resource; what comes behind them is dropped and counted. As many as Cloud Trace
/// takes of a whole span, so that more could never be exported.
pub const ATTRIBUTES_MAX: usize = 1_024;

/// The attributes of a resource, in order. Each key occurs once: of a key that was sent twice the first counts, as
/// it does wherever the Collector looks an attribute up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    entries: Vec<Entry>,
    dropped_count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Vec<u8>,
    /// A message `AnyValue`.
    value: Vec<u8>,
}

impl Attributes {
    /// Reads the message `Resource`.
    fn read(resource: &[u8]) -> Self {
        let mut attributes = Attributes::default();
        let mut seen = HashSet::new();
        let mut reader = Reader::new(resource);
        let (mut sent_dropped, mut over) = (0, 0u32);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (1, Value::Len(pair)) => {
                    let (key, value) = raw_key_value(pair);
                    if seen.contains(key) {
                        continue;
                    }
                    if attributes.entries.len() == ATTRIBUTES_MAX {
                        over = over.saturating_add(1);
                        continue;
                    }
                    seen.insert(key);
                    attributes.entries.push(Entry { key: key.to_vec(), value: value.to_vec() });
                }
                (2, Value::Varint(count)) => sent_dropped = count as u32,
                _ => {}
            }
        }
        attributes.dropped_count = over.saturating_add(sent_dropped);
        attributes
    }

    /// Keys (raw bytes) and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], AnyValue<'_>)> {
        self.entries.iter().map(|entry| (&entry.key[..], AnyValue::new(&entry.value)))
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<AnyValue<'_>> {
        self.position(key.as_bytes()).map(|i| AnyValue::new(&self.entries[i].value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Attributes that were lost: before they came here, or over [`ATTRIBUTES_MAX`].
    #[must_use]
    pub fn dropped_count(&self) -> u32 {
        self.dropped_count
    }

    /// Appends the message `Resource`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for Entry { key, value } in &self.entries {
            write::header(out, 1, write::field_len(key.len()) + write::field_len(value.len()));
            write::bytes(out, 1, key);
            write::bytes(out, 2, value);
        }
        write::int(out, 2, u64::from(self.dropped_count));
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }
}

/// Key and value of a `KeyValue`, the value still as a message `AnyValue`.
fn raw_key_value(pair: &[u8]) -> (&[u8], &[u8]) {
    let last = |number| view::submessages(pair, number).last().unwrap_or_default();
    (last(1), last(2))
}

/// The configured actions, ready to be applied to resources.
#[derive(Clone, Debug, Default)]
pub struct Rewriter {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    key: Vec<u8>,
    operation: Operation,
}

#[derive(Clone, Debug)]
enum Operation {
    Delete,
    Set {
        source: Source,
        /// Whether the attribute is set where it exists already (update, upsert).
        present: bool,
        /// Whether it is set where it does not exist yet (insert, upsert).
        absent: bool,
    },
}

#[derive(Clone, Debug)]
enum Source {
    /// A message `AnyValue`.
    Value(Vec<u8>),
    /// Another attribute's key.
    Attribute(Vec<u8>),
}

impl Rewriter {
    /// A rewriter that applies the actions of `settings` in order.
    #[must_use]
    pub fn new(settings: &settings::Resource) -> Self {
        let steps = settings
            .attributes
            .iter()
            .map(|action| Step { key: action.key.clone().into_bytes(), operation: Operation::new(&action.action) });
        Rewriter { steps: steps.collect() }
    }

    /// The attributes of the message `Resource`, rewritten.
    #[must_use]
    pub fn rewrite(&self, resource: &[u8]) -> Attributes {
        let mut attributes = Attributes::read(resource);
        for step in &self.steps {
            step.apply(&mut attributes);
        }
        attributes
    }
}

impl Operation {
    fn new(action: &Action) -> Self {
        let set = |source, present, absent| Operation::Set { source: Source::new(source), present, absent };
        match action {
            Action::Insert(source) => set(source, false, true),
            Action::Update(source) => set(source, true, false),
            Action::Upsert(source) => set(source, true, true),
            Action::Delete => Operation::Delete,
        }
    }
}

impl Source {
    fn new(source: &ValueSource) -> Self {
        match source {
            ValueSource::Value(value) => Source::Value(encoded(value)),
            ValueSource::FromAttribute(key) => Source::Attribute(key.clone().into_bytes()),
        }
    }

    /// The value, or nothing if it should come from an attribute that is not there.
    fn value(&self, attributes: &Attributes) -> Option<Vec<u8>> {
        match self {
            Source::Value(value) => Some(value.clone()),
            Source::Attribute(key) => attributes.position(key).map(|i| attributes.entries[i].value.clone()),
        }
    }
}

impl Step {
    fn apply(&self, attributes: &mut Attributes) {
        let position = attributes.position(&self.key);
        match (&self.operation, position) {
            (Operation::Delete, Some(i)) => _ = attributes.entries.remove(i),
            (Operation::Set { source, present: true, .. }, Some(i)) => {
                if let Some(value) = source.value(attributes) {
                    attributes.entries[i].value = value;
                }
            }
            (Operation::Set { source, absent: true, .. }, None) => {
                if let Some(value) = source.value(attributes) {
                    attributes.entries.push(Entry { key: self.key.clone(), value });
                }
            }
            _ => {}
        }
    }
}

/// A literal as a message `AnyValue`.
fn encoded(value: &AttributeValue) -> Vec<u8> {
    let value = match value.clone() {
        AttributeValue::String(v) => any_value::Value::StringValue(v),
        AttributeValue::Int(v) => any_value::Value::IntValue(v),
        AttributeValue::Double(v) => any_value::Value::DoubleValue(v),
        AttributeValue::Bool(v) => any_value::Value::BoolValue(v),
    };
    OtlpValue { value: Some(value) }.encode_to_vec()
}
