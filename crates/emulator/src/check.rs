//! Checks of spans as the real API makes them: names, ids, times and limits.
//!
//! Sources: the comments in `google/devtools/cloudtrace/v2/trace.proto` for formats; Cloud Trace's quotas page
//! (<https://cloud.google.com/trace/docs/quotas>) for sizes. The page's sizes replace the smaller ones in the proto.
//! The page allows the service to shorten some values that are too large. This module refuses all of them, so that an
//! exporter that ignores a limit is detected.

use std::sync::Arc;

use prost_types::Timestamp;
use thiserror::Error;

use crate::otlp::TraceId;
use crate::proto::google::devtools::cloudtrace::v2::span::time_event::Value as EventValue;
use crate::proto::google::devtools::cloudtrace::v2::span::{Attributes, Link, TimeEvent};
use crate::proto::google::devtools::cloudtrace::v2::{BatchWriteSpansRequest, Span, attribute_value};

use super::stored::{SpanFacts, StoredSpan};

/// Maximum bytes of a display name, and of an annotation's description.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Maximum attributes of a span, an event or a link.
pub const ATTRIBUTES_MAX: usize = 1_024;
/// Maximum bytes of an attribute key.
pub const KEY_BYTES_MAX: usize = 512;
/// Maximum bytes of a string value.
pub const STRING_BYTES_MAX: usize = 65_532;
/// Maximum events of a span.
pub const EVENTS_MAX: usize = 256;
/// Maximum links of a span.
pub const LINKS_MAX: usize = 128;
/// Maximum days between a span's start and now, if the start is in the past.
pub const PAST_DAYS_MAX: i64 = 14;
/// Maximum days between now and a span's end, if the end is in the future.
pub const FUTURE_DAYS_MAX: i64 = 3;
/// Maximum days that an event may be before the start of its span.
pub const EVENT_LEAD_DAYS_MAX: i64 = 365;

const DAY_NS: i128 = 86_400_000_000_000;
/// The range of `google.protobuf.Timestamp`: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Maximum characters of a client's string in an error: gRPC sends errors in HTTP headers.
const QUOTE_CHARS_MAX: usize = 160;

/// A broken rule, with the span or request that breaks it. A retry cannot succeed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{subject}: {rule}")]
pub struct ValidationError {
    /// The offending span (with its index in the batch), or the request.
    pub subject: String,
    /// The rule that `subject` breaks.
    pub rule: ApiRule,
}

/// A rule of the API.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApiRule {
    /// The name of the request is not `projects/{project}`.
    #[error("the request's name must be projects/{{project}}")]
    RequestName,
    /// The name of the span is malformed.
    #[error(
        "name must be projects/{{project}}/traces/{{32 lower-case hex digits}}/spans/{{16 lower-case hex digits}}, ids not zero"
    )]
    SpanName,
    /// The span belongs to another project than its batch; the value is the batch's project.
    #[error("name must be in the request's project {0}")]
    Project(Arc<str>),
    /// `span_id` differs from the id in the name.
    #[error("span_id must be the last part of name")]
    SpanId,
    /// `parent_span_id` is malformed.
    #[error("parent_span_id must be empty or 16 lower-case hex digits")]
    ParentId,
    /// A required field has no value; the value is the field's name.
    #[error("{0} is required")]
    Missing(&'static str),
    /// A timestamp is outside its valid range; the value is the field's name.
    #[error("{0} is not a valid timestamp")]
    Timestamp(&'static str),
    /// The duration is negative.
    #[error("end_time is before start_time")]
    EndBeforeStart,
    /// The start is more than [`PAST_DAYS_MAX`] ago.
    #[error("start_time is more than {PAST_DAYS_MAX} days in the past")]
    Past,
    /// The end is more than [`FUTURE_DAYS_MAX`] ahead.
    #[error("end_time is more than {FUTURE_DAYS_MAX} days in the future")]
    Future,
    /// An event is more than [`EVENT_LEAD_DAYS_MAX`] before the start of its span.
    #[error("an event is more than {EVENT_LEAD_DAYS_MAX} days before its span")]
    EventLead,
    /// There are too many attributes, events or links.
    #[error("{count} {what}, at most {max} are allowed")]
    Count {
        /// The kind of item, in the plural.
        what: &'static str,
        /// The number of items.
        count: usize,
        /// The maximum number of items.
        max: usize,
    },
    /// A string is too long.
    #[error("{what} has {bytes} bytes, at most {max} are allowed")]
    Length {
        /// The string's role, for example `display_name`.
        what: &'static str,
        /// The length in bytes.
        bytes: usize,
        /// The maximum length in bytes.
        max: usize,
    },
    /// An attribute has an empty key.
    #[error("an attribute key is empty")]
    EmptyKey,
    /// A link has a malformed trace id or span id, or one that is zero.
    #[error("a link must have a trace_id of 32 and a span_id of 16 lower-case hex digits, neither zero")]
    Link,
}

/// Checks every span of `request` at the time `now_ns` (nanoseconds since the epoch).
///
/// # Errors
/// Returns the first violation. No span of the batch may then be stored.
pub fn batch(request: BatchWriteSpansRequest, now_ns: i64) -> Result<Vec<StoredSpan>, ValidationError> {
    let project: Arc<str> = match request.name.strip_prefix("projects/") {
        Some(project) if is_project(project) => project.into(),
        _ => return Err(ValidationError { subject: quoted(&request.name), rule: ApiRule::RequestName }),
    };
    let check = |(index, span): (usize, Span)| match checked(&span, Some(&project), now_ns) {
        Ok((_, facts)) => Ok(StoredSpan { project: Arc::clone(&project), facts, span }),
        Err(rule) => Err(ValidationError { subject: format!("spans[{index}] {}", quoted(&span.name)), rule }),
    };
    request.spans.into_iter().enumerate().map(check).collect()
}

/// Checks one span at the time `now_ns` (nanoseconds since the epoch).
///
/// # Errors
/// Returns the first violation.
pub fn single(span: Span, now_ns: i64) -> Result<StoredSpan, ValidationError> {
    match checked(&span, None, now_ns) {
        Ok((project, facts)) => Ok(StoredSpan { project: project.into(), facts, span }),
        Err(rule) => Err(ValidationError { subject: format!("span {}", quoted(&span.name)), rule }),
    }
}

/// Returns the first rule that `span` of `project` breaks, if there is one.
#[must_use]
pub fn broken_rule(span: &Span, project: &Arc<str>, now_ns: i64) -> Option<ApiRule> {
    checked(span, Some(project), now_ns).err()
}

/// Parses a trace id: 32 lower-case hexadecimal digits, not all zero.
#[must_use]
pub fn trace_id(text: &str) -> Option<TraceId> {
    lower_hex(text, 32).filter(|&id| id != 0).map(|id| TraceId(id.to_be_bytes()))
}

fn span_id(text: &str) -> Option<u64> {
    lower_hex(text, 16).and_then(|id| u64::try_from(id).ok()).filter(|&id| id != 0)
}

fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && text.len() == digits).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Returns true for project ids, domain-scoped ids (`example.com:shop`) and project numbers. Their length is not
/// checked.
fn is_project(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
}

/// Checks `span`; returns its project, and its ids and times. `project` is the batch's project, if there is a batch.
fn checked<'a>(span: &'a Span, project: Option<&Arc<str>>, now_ns: i64) -> Result<(&'a str, SpanFacts), ApiRule> {
    let (own_project, trace_id, id) = parse_name(&span.name).ok_or(ApiRule::SpanName)?;
    if let Some(project) = project.filter(|project| ***project != *own_project) {
        return Err(ApiRule::Project(Arc::clone(project)));
    }
    if span_id(&span.span_id) != Some(id) {
        return Err(ApiRule::SpanId);
    }
    let parent_id = check_parent(&span.parent_span_id)?;
    check_display_name(span)?;
    let (start_ns, end_ns) = check_times(span, now_ns)?;
    check_attributes("attributes of the span", span.attributes.as_ref())?;
    let events = span.time_events.as_ref().map_or(&[][..], |events| &events.time_event);
    check_count("events", events.len(), EVENTS_MAX)?;
    events.iter().try_for_each(|event| check_event(event, start_ns))?;
    let links = span.links.as_ref().map_or(&[][..], |links| &links.link);
    check_count("links", links.len(), LINKS_MAX)?;
    links.iter().try_for_each(check_link)?;
    Ok((own_project, SpanFacts { trace_id, id, parent_id, start_ns, end_ns }))
}

fn parse_name(name: &str) -> Option<(&str, TraceId, u64)> {
    let (project, rest) = name.strip_prefix("projects/")?.split_once("/traces/")?;
    let (trace, span) = rest.split_once("/spans/")?;
    is_project(project).then_some((project, trace_id(trace)?, span_id(span)?))
}

fn check_parent(text: &str) -> Result<u64, ApiRule> {
    match lower_hex(text, 16).and_then(|id| u64::try_from(id).ok()) {
        Some(id) => Ok(id),
        None if text.is_empty() => Ok(0),
        None => Err(ApiRule::ParentId),
    }
}

fn check_display_name(span: &Span) -> Result<(), ApiRule> {
    let name = span.display_name.as_ref().map_or("", |name| &name.value);
    if name.is_empty() {
        return Err(ApiRule::Missing("display_name"));
    }
    check_length("display_name", name, NAME_BYTES_MAX)
}

fn check_times(span: &Span, now_ns: i64) -> Result<(i64, i64), ApiRule> {
    let start = timestamp("start_time", span.start_time.as_ref())?;
    let end = timestamp("end_time", span.end_time.as_ref())?;
    let now = i128::from(now_ns);
    if end < start {
        return Err(ApiRule::EndBeforeStart);
    }
    if start < now - i128::from(PAST_DAYS_MAX) * DAY_NS {
        return Err(ApiRule::Past);
    }
    if end > now + i128::from(FUTURE_DAYS_MAX) * DAY_NS {
        return Err(ApiRule::Future);
    }
    let nanoseconds = |field, ns| i64::try_from(ns).map_err(|_| ApiRule::Timestamp(field));
    Ok((nanoseconds("start_time", start)?, nanoseconds("end_time", end)?))
}

fn timestamp(field: &'static str, timestamp: Option<&Timestamp>) -> Result<i128, ApiRule> {
    let timestamp = timestamp.ok_or(ApiRule::Missing(field))?;
    if !TIMESTAMP_SECONDS.contains(&timestamp.seconds) || !(0..1_000_000_000).contains(&timestamp.nanos) {
        return Err(ApiRule::Timestamp(field));
    }
    Ok(i128::from(timestamp.seconds) * 1_000_000_000 + i128::from(timestamp.nanos))
}

fn check_event(event: &TimeEvent, span_start_ns: i64) -> Result<(), ApiRule> {
    if event.time.is_some() {
        let time = timestamp("an event's time", event.time.as_ref())?;
        if time < i128::from(span_start_ns) - i128::from(EVENT_LEAD_DAYS_MAX) * DAY_NS {
            return Err(ApiRule::EventLead);
        }
    }
    let Some(EventValue::Annotation(annotation)) = &event.value else { return Ok(()) };
    let description = annotation.description.as_ref().map_or("", |description| &description.value);
    check_length("an annotation's description", description, NAME_BYTES_MAX)?;
    check_attributes("attributes of an event", annotation.attributes.as_ref())
}

fn check_link(link: &Link) -> Result<(), ApiRule> {
    if trace_id(&link.trace_id).is_none() || span_id(&link.span_id).is_none() {
        return Err(ApiRule::Link);
    }
    check_attributes("attributes of a link", link.attributes.as_ref())
}

fn check_attributes(what: &'static str, attributes: Option<&Attributes>) -> Result<(), ApiRule> {
    let Some(attributes) = attributes else { return Ok(()) };
    check_count(what, attributes.attribute_map.len(), ATTRIBUTES_MAX)?;
    for (key, value) in &attributes.attribute_map {
        if key.is_empty() {
            return Err(ApiRule::EmptyKey);
        }
        check_length("an attribute key", key, KEY_BYTES_MAX)?;
        if let Some(attribute_value::Value::StringValue(text)) = &value.value {
            check_length("the value of an attribute", &text.value, STRING_BYTES_MAX)?;
        }
    }
    Ok(())
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), ApiRule> {
    if count > max { Err(ApiRule::Count { what, count, max }) } else { Ok(()) }
}

fn check_length(what: &'static str, text: &str, max: usize) -> Result<(), ApiRule> {
    if text.len() > max { Err(ApiRule::Length { what, bytes: text.len(), max }) } else { Ok(()) }
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTE_CHARS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests;
