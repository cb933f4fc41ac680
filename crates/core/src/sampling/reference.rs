//! A reference implementation of conditions, for tests and fuzzing. It evaluates each condition on messages that prost
//! decoded, and its results are compared with those of the compiled conditions.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod generate;

use std::borrow::Borrow;
use std::cmp::Ordering;

use bytes::Bytes;
use prost::Message;

use super::predicates::Predicates;
use crate::condition::formula::EncodedFields;
use crate::condition::{Check, Condition, DoubleText, Field, Number, Range, RangeBound, ValueType};
use crate::otlp::reference::{self, Event, InstrumentationScope, KeyValue, Request, Span, Value};
use crate::otlp::scan::{Bits, Scan, scan};
use crate::otlp::trace_state;

/// Number of conditions that are evaluated for one request.
const CONDITIONS: usize = 12;

/// Scans `body` with conditions that `seed` chooses, and evaluates the same conditions on the spans that prost decodes.
/// Panics if the results differ. Returns true if both accept the body.
pub fn assert_agreement(body: &[u8], seed: u64) -> bool {
    let Ok(request) = Request::decode(body) else { return false };
    let conditions = generate::conditions(&request, seed, CONDITIONS);
    let mut predicates = Predicates::default();
    let bits: Vec<_> =
        conditions.iter().map(|condition| predicates.bit(condition).expect("there are enough bits")).collect();
    let mut found = Scan::default();
    // The scan refuses groups, which prost accepts.
    if scan(Bytes::copy_from_slice(body), &predicates, &mut found).is_err() {
        return false;
    }
    let mut facts = found.facts.iter();
    for place in places(&request) {
        let fact = facts.next().expect("a fact for each accepted span");
        for (condition, bit) in conditions.iter().zip(&bits) {
            assert_eq!(fact.bits & bit != 0, place.holds(condition), "{condition:#?} of {:#?}", place.span);
        }
        assert_eq!(
            fact.bits & !bits.iter().fold(0, |all, bit| all | bit),
            0 as Bits,
            "the scan set bits that no condition has"
        );
    }
    assert_eq!(facts.next(), None);
    true
}

/// Returns `count` conditions that `seed` chooses. They use keys and values of the request.
pub fn conditions(request: &Request, seed: u64, count: usize) -> Vec<Condition> {
    generate::conditions(request, seed, count)
}

/// A span with its resource and scope, and with one of its events inside a condition on events.
struct Place<'a> {
    resource: &'a [KeyValue],
    scope: InstrumentationScope,
    span: &'a Span,
    event: Option<&'a Event>,
}

fn places(request: &Request) -> impl Iterator<Item = Place<'_>> {
    request.resource_spans.iter().flat_map(|resource_spans| {
        let resource = resource_spans.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        resource_spans.scope_spans.iter().flat_map(move |scope_spans| {
            let accepted = scope_spans.spans.iter().filter(|span| reference::ids(span).is_ok());
            let scope = scope_spans.scope.clone().unwrap_or_default();
            accepted.map(move |span| Place { resource, scope: scope.clone(), span, event: None })
        })
    })
}

impl Place<'_> {
    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Constant(value) => *value,
            Condition::Formula(formula) => {
                let fields = formula.term.fields().into_iter();
                formula.holds(&EncodedFields(fields.map(|field| (field.clone(), self.encoded(field))).collect()))
            }
            Condition::Test(test) => self.values(&test.field).iter().any(|value| passes(&test.check, value)),
            Condition::Not(condition) => !self.holds(condition),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part)),
            Condition::AnyEvent(condition) => self
                .span
                .events
                .iter()
                .any(|event| Place { event: Some(event), scope: self.scope.clone(), ..*self }.holds(condition)),
        }
    }

    /// Returns the value of a field as an encoded `AnyValue` message. If a sender repeats a key, the first one counts.
    fn encoded(&self, field: &Field) -> Vec<u8> {
        let first = |attributes: &[KeyValue], key: &String| {
            let attribute = attributes.iter().find(|attribute| attribute.key == key.as_bytes());
            attribute.and_then(|attribute| attribute.value.clone()?.value)
        };
        let value = match field {
            Field::SpanAttribute(key) => first(&self.span.attributes, key),
            Field::ResourceAttribute(key) => first(self.resource, key),
            Field::ScopeAttribute(key) => first(&self.scope.attributes, key),
            Field::EventAttribute(key) => self.event.and_then(|event| first(&event.attributes, key)),
            field => self.values(field).into_iter().next(),
        };
        value.map_or(vec![], |value| reference::AnyValue::from(value).encode_to_vec())
    }

    /// Returns the values of a field: more than one if a sender repeats the key, none if the field is absent.
    fn values(&self, field: &Field) -> Vec<Value> {
        let span = self.span;
        let status = span.status.clone().unwrap_or_default();
        let set = |time: u64| if time == 0 { vec![] } else { vec![int(time)] };
        match field {
            Field::Attribute(key) => [of(self.resource, key), of(&span.attributes, key)].concat(),
            Field::SpanAttribute(key) => of(&span.attributes, key),
            Field::ResourceAttribute(key) => of(self.resource, key),
            Field::ScopeAttribute(key) => of(&self.scope.attributes, key),
            Field::EventAttribute(key) => self.event.map_or(vec![], |event| of(&event.attributes, key)),
            Field::Name => vec![Value::String(span.name.clone())],
            Field::Kind => vec![Value::Int(span.kind.into())],
            Field::StatusCode => vec![Value::Int(if (1..=2).contains(&status.code) { status.code.into() } else { 0 })],
            Field::StatusMessage => vec![Value::String(status.message)],
            Field::TraceState if span.trace_state.is_empty() => vec![],
            Field::TraceState => vec![Value::String(span.trace_state.clone())],
            Field::TraceStateEntry(key) => trace_state::entry(&span.trace_state, key.as_bytes())
                .map(|v| Value::String(v.into()))
                .into_iter()
                .collect(),
            Field::Flags => set(span.flags.into()),
            Field::Duration if span.start_time_unix_nano == 0 || span.end_time_unix_nano == 0 => vec![],
            Field::Duration => {
                vec![int(i128::from(span.end_time_unix_nano) - i128::from(span.start_time_unix_nano))]
            }
            Field::StartTime => set(span.start_time_unix_nano),
            Field::EndTime => set(span.end_time_unix_nano),
            Field::TraceId => vec![Value::Bytes(span.trace_id.clone())],
            Field::SpanId => vec![Value::Bytes(span.span_id.clone())],
            Field::ParentSpanId if span.parent_span_id.iter().max().is_none_or(|&byte| byte == 0) => vec![],
            Field::ParentSpanId => vec![Value::Bytes(span.parent_span_id.clone())],
            Field::ScopeName => vec![Value::String(self.scope.name.clone())],
            Field::ScopeVersion => vec![Value::String(self.scope.version.clone())],
            Field::EventName => self.event.map_or(vec![], |event| vec![Value::String(event.name.clone())]),
            Field::EventTime => self.event.map_or(vec![], |event| set(event.time_unix_nano)),
        }
    }
}

/// Returns the nearest 64-bit integer.
fn int(value: impl Into<i128>) -> Value {
    let value = value.into();
    Value::Int(i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX }))
}

fn of(attributes: &[KeyValue], key: &str) -> Vec<Value> {
    let with_key = attributes.iter().filter(|attribute| attribute.key == key.as_bytes());
    let values = with_key.filter_map(|attribute| attribute.value.as_ref()?.value.clone());
    values.filter(has_type).collect()
}

/// Returns false for an index into a table of strings, which counts as empty: profiles have such tables, traces do not.
fn has_type(value: &impl Borrow<Value>) -> bool {
    !matches!(value.borrow(), Value::StringStrindex(_))
}

fn passes(check: &Check, value: &Value) -> bool {
    let text = if let Value::String(text) = value { Some(&text[..]) } else { None };
    let is_text = |test: &dyn Fn(&[u8]) -> bool| text.is_some_and(test);
    match check {
        Check::Present => true,
        Check::All(checks) => checks.iter().all(|check| passes(check, value)),
        Check::Type(expected) => value_type(value) == *expected,
        Check::OneOf(texts) => is_text(&|v| texts.iter().any(|text| text.as_bytes() == v)),
        Check::Matches(pattern) => is_text(&|v| pattern.is_match(v)),
        Check::MatchesText(pattern) => as_text(value).is_some_and(|text| pattern.is_match(&text)),
        Check::Element(check) => match value {
            Value::Array(v) => {
                v.values.iter().filter_map(|v| v.value.as_ref()).filter(has_type).any(|v| passes(check, v))
            }
            _ => false,
        },
        Check::HasPrefix(text) => is_text(&|v| v.len() >= text.len() && &v[..text.len()] == text.as_bytes()),
        Check::HasSuffix(text) => is_text(&|v| v.len() >= text.len() && &v[v.len() - text.len()..] == text.as_bytes()),
        Check::Contains(text) => is_text(&|v| (0..=v.len()).any(|at| v[at..].starts_with(text.as_bytes()))),
        Check::Bool(expected) => *value == Value::Bool(*expected),
        Check::Number(range) => number(value).is_some_and(|v| within(v, *range)),
        Check::Numeric(range) => text.and_then(spelled).or(number(value)).is_some_and(|v| within(v, *range)),
        Check::Bytes(bytes) => *value == Value::Bytes(bytes.clone()),
        Check::Length(range) => length(value).is_some_and(|v| within(Number::Int(v as i64), *range)),
        Check::HasBits(bits) => matches!(value, Value::Int(v) if v & i64::from(*bits) == i64::from(*bits)),
        Check::ServerFault => is_server_fault(value),
    }
}

/// Returns a string, boolean or number as text.
fn as_text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(v) => Some(v.to_string().into()),
        Value::Int(v) => Some(v.to_string().into()),
        Value::Double(v) => Some(DoubleText(*v).to_string().into()),
        _ => None,
    }
}

fn value_type(value: &Value) -> ValueType {
    match value {
        Value::String(_) => ValueType::String,
        Value::Bool(_) => ValueType::Bool,
        Value::Int(_) => ValueType::Int,
        Value::Double(_) => ValueType::Double,
        Value::Array(_) => ValueType::List,
        Value::KeyValues(_) => ValueType::Map,
        Value::Bytes(_) => ValueType::Bytes,
        Value::StringStrindex(_) => unreachable!("filtered out"),
    }
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(v) => Some(Number::Int(*v)),
        Value::Double(v) => Some(Number::Double(*v)),
        _ => None,
    }
}

fn spelled(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let decimal = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let double = || text.parse().ok().map(Number::Double);
    if decimal { text.parse().ok().map(Number::Int).or_else(double) } else { None }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(v) | Value::Bytes(v) => Some(v.len()),
        Value::Array(v) => Some(v.values.len()),
        Value::KeyValues(v) => Some(v.values.len()),
        _ => None,
    }
}

fn within(number: Number, Range { min, max }: Range) -> bool {
    let is_number = !matches!(number, Number::Double(v) if v.is_nan());
    let holds = |bound: Option<RangeBound>, side| match bound {
        None => true,
        Some(RangeBound { at, inclusive }) => {
            let order = order(number, at);
            order == Some(side) || inclusive && order == Some(Ordering::Equal)
        }
    };
    is_number && holds(min, Ordering::Greater) && holds(max, Ordering::Less)
}

/// Compares two numbers exactly: first their whole parts in 128 bits, then their fractions.
fn order(a: Number, b: Number) -> Option<Ordering> {
    let parts = |number| match number {
        Number::Int(v) => (i128::from(v), 0.0),
        // Beyond 2^127 the conversion saturates, and the result is larger than any integer. Two doubles are not
        // converted.
        Number::Double(v) => (v.floor() as i128, if v.is_finite() { v - v.floor() } else { 0.0 }),
    };
    match (a, b) {
        (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
        (Number::Double(v), _) | (_, Number::Double(v)) if v.is_nan() => None,
        _ => parts(a).partial_cmp(&parts(b)),
    }
}

fn is_server_fault(value: &Value) -> bool {
    let names = ["unknown", "deadline_exceeded", "unimplemented", "internal", "unavailable", "data_loss"];
    match value {
        Value::String(text) => match spelled(text) {
            Some(Number::Int(code)) => is_server_fault(&Value::Int(code)),
            Some(Number::Double(code)) => is_server_fault(&Value::Double(code)),
            None => names.iter().any(|name| *name.as_bytes() == *text.to_ascii_lowercase()),
        },
        Value::Int(code) => [2, 4, 12, 13, 14, 15].contains(code),
        Value::Double(code) => [2.0, 4.0, 12.0, 13.0, 14.0, 15.0].contains(code),
        _ => false,
    }
}
