//! The values of fields that are not attributes, and the sources of values for formulas. Absent values are
//! [`AnyValue::Empty`].

use crate::condition::Field;
use crate::condition::formula::FieldSource;
use crate::otlp::scan::SpanFields;
use crate::otlp::trace_state;
use crate::otlp::view::{self, AnyValue, Attributes};

/// Returns the value of a field of a span.
#[inline]
pub(super) fn of_span<'a>(field: &Field, span: &SpanFields<'a>) -> AnyValue<'a> {
    match field {
        Field::Name => AnyValue::String(span.name),
        Field::Kind => AnyValue::Int(span.kind.into()),
        Field::StatusCode => AnyValue::Int(span.status_code as i64),
        Field::StatusMessage => AnyValue::String(span.status_message),
        Field::TraceState if span.trace_state.is_empty() => AnyValue::Empty,
        Field::TraceState => AnyValue::String(span.trace_state),
        Field::TraceStateEntry(key) => {
            trace_state::entry(span.trace_state, key.as_bytes()).map_or(AnyValue::Empty, AnyValue::String)
        }
        Field::Flags if span.flags == 0 => AnyValue::Empty,
        Field::Flags => AnyValue::Int(span.flags.into()),
        Field::Duration if span.start_unix_nano == 0 || span.end_unix_nano == 0 => AnyValue::Empty,
        Field::Duration => AnyValue::Int(duration_nano(span.start_unix_nano, span.end_unix_nano)),
        Field::StartTime => time(span.start_unix_nano),
        Field::EndTime => time(span.end_unix_nano),
        Field::TraceId => AnyValue::Bytes(span.trace_id),
        Field::SpanId => AnyValue::Bytes(span.span_id),
        Field::ParentSpanId if span.parent_span_id.iter().all(|&byte| byte == 0) => AnyValue::Empty,
        Field::ParentSpanId => AnyValue::Bytes(span.parent_span_id),
        _ => AnyValue::Empty,
    }
}

/// Returns the value of a field of an encoded `InstrumentationScope`.
pub(super) fn of_scope<'a>(field: &Field, scope: &'a [u8]) -> AnyValue<'a> {
    let (name, version) = view::scope_name_version(scope);
    match field {
        Field::ScopeName => AnyValue::String(name),
        Field::ScopeVersion => AnyValue::String(version),
        _ => AnyValue::Empty,
    }
}

/// Returns the value of a field of an encoded `Span.Event`.
pub(super) fn of_event<'a>(field: &Field, event: &'a [u8]) -> AnyValue<'a> {
    let (time_unix_nano, name) = view::event_time_name(event);
    match field {
        Field::EventName => AnyValue::String(name),
        Field::EventTime => time(time_unix_nano),
        _ => AnyValue::Empty,
    }
}

/// An encoded resource as the source of values for formulas.
pub(super) struct ResourceSource<'a>(pub(super) &'a [u8]);

impl FieldSource for ResourceSource<'_> {
    fn value(&self, field: &Field) -> AnyValue<'_> {
        match field {
            Field::ResourceAttribute(key) => first(Attributes::of_resource(self.0), key),
            _ => AnyValue::Empty,
        }
    }
}

/// An encoded scope as the source of values for formulas.
pub(super) struct ScopeSource<'a>(pub(super) &'a [u8]);

impl FieldSource for ScopeSource<'_> {
    fn value(&self, field: &Field) -> AnyValue<'_> {
        match field {
            Field::ScopeAttribute(key) => first(Attributes::of_scope(self.0), key),
            field => of_scope(field, self.0),
        }
    }
}

/// A span or one of its events as the source of values for formulas.
pub(super) struct SpanSource<'a> {
    pub(super) span: &'a SpanFields<'a>,
    pub(super) event: Option<&'a [u8]>,
}

impl FieldSource for SpanSource<'_> {
    fn value(&self, field: &Field) -> AnyValue<'_> {
        let event = self.event.unwrap_or_default();
        match field {
            Field::SpanAttribute(key) => first(Attributes::of_span(self.span.message), key),
            Field::EventAttribute(key) => first(Attributes::of_event(event), key),
            Field::EventName | Field::EventTime => of_event(field, event),
            field => of_span(field, self.span),
        }
    }
}

/// Returns the value of `key`. If a sender repeats the key, the first one counts.
fn first<'a>(attributes: Attributes<'a>, key: &str) -> AnyValue<'a> {
    attributes.iter().find(|(known, _)| *known == key.as_bytes()).map_or(AnyValue::Empty, |(_, value)| value)
}

/// Returns a time as an integer. Times after the year 2262 saturate.
fn time(unix_nano: u64) -> AnyValue<'static> {
    if unix_nano == 0 { AnyValue::Empty } else { AnyValue::Int(i64::try_from(unix_nano).unwrap_or(i64::MAX)) }
}

/// Returns end minus start in nanoseconds. It is negative if the end is before the start, and saturates.
fn duration_nano(start: u64, end: u64) -> i64 {
    let nano = i128::from(end) - i128::from(start);
    nano.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
