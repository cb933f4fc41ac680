//! The JSON of the API. Times are nanoseconds in strings, because JavaScript's numbers cannot hold them exactly.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;

use super::origin::{DaemonQueries, TrafficCounts};
use super::store::{self, TraceSummary};
use super::stored::{SpanFacts, StoredSpan};
use super::waterfall::{self, WaterfallRow};
use crate::otlp::reply::STATUS_CODES;
use crate::proto::google::devtools::cloudtrace::v2::TruncatableString;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::span::time_event::Value as EventValue;
use crate::proto::google::devtools::cloudtrace::v2::span::{Attributes, Link, SpanKind, TimeEvent};
use crate::proto::google::rpc;

/// The largest integer that every JSON reader reads exactly (RFC 8259, 6): 2^53 - 1.
const EXACT_INT_MAX: u64 = (1 << 53) - 1;

/// The status of the store and of the daemon that writes to it.
#[derive(Debug, Serialize)]
pub struct StatusReport {
    #[serde(flatten)]
    store: store::StoreStatus,
    /// Null if the daemon is another process.
    daemon: Option<TrafficCounts>,
}

/// The answer for a trace that is not stored.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// The reason, as text for the user.
    pub error: String,
    /// The reason in one word (`super::origin::Fate::label`); null if the daemon is another process.
    pub fate: Option<&'static str>,
}

/// A row in the list of traces.
#[derive(Debug, Serialize)]
pub struct TraceRow {
    trace_id: String,
    root_name: String,
    root_service: Option<String>,
    services: Vec<String>,
    /// The color number of each service. It is the same on every page. Services share numbers only if there are very
    /// many.
    service_colors: BTreeMap<String, u32>,
    start: String,
    start_ns: String,
    duration_ms: f64,
    span_count: usize,
    error_count: usize,
    policy: Option<String>,
    adjusted_count: Option<f64>,
}

/// A trace with all its spans.
#[derive(Debug, Serialize)]
pub struct TraceJson {
    #[serde(flatten)]
    row: TraceRow,
    end_ns: String,
    spans: Vec<SpanJson>,
}

/// A span of a [`TraceJson`]. Parents come before their children, see [`waterfall::order`].
#[derive(Debug, Serialize)]
pub struct SpanJson {
    span_id: String,
    parent_span_id: Option<String>,
    parent_stored: bool,
    depth: u32,
    project: String,
    name: String,
    kind: &'static str,
    service: Option<String>,
    start_ns: String,
    end_ns: String,
    duration_ms: f64,
    status: Option<StatusJson>,
    error: bool,
    #[serde(flatten)]
    attributes: AttributeMap,
    events: Vec<EventJson>,
    dropped_event_count: i64,
    links: Vec<SpanLink>,
    dropped_link_count: i32,
}

/// The JSON of a `google.rpc.Status`.
#[derive(Debug, Serialize)]
struct StatusJson {
    code: i32,
    /// The name of the code (`google/rpc/code.proto`); null if the code has no name.
    name: Option<&'static str>,
    message: String,
}

#[derive(Debug, Default, Serialize)]
struct AttributeMap {
    attributes: BTreeMap<String, Json>,
    /// Number of bytes that the exporter cut off, by attribute key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    truncated_byte_counts: BTreeMap<String, i32>,
    dropped_attribute_count: i32,
}

#[derive(Debug, Serialize)]
struct EventJson {
    time_ns: Option<String>,
    name: String,
    #[serde(flatten)]
    attributes: AttributeMap,
}

#[derive(Debug, Serialize)]
struct SpanLink {
    trace_id: String,
    span_id: String,
    #[serde(flatten)]
    attributes: AttributeMap,
}

impl StatusReport {
    /// Returns the report of a store that `origin` writes to.
    #[must_use]
    pub fn new(store: store::StoreStatus, origin: Option<&dyn DaemonQueries>) -> Self {
        StatusReport { store, daemon: origin.map(DaemonQueries::traffic) }
    }
}

impl Missing {
    /// Returns the answer for a store without a daemon in the same process.
    #[must_use]
    pub fn new(error: &str) -> Self {
        Missing { error: error.to_owned(), fate: None }
    }
}

impl From<TraceSummary> for TraceRow {
    fn from(trace: TraceSummary) -> Self {
        TraceRow {
            trace_id: trace.trace_id.to_string(),
            root_name: trace.root_name,
            root_service: trace.root_service,
            service_colors: trace.services.iter().cloned().zip(trace.service_colors).collect(),
            services: trace.services,
            start: rfc3339(trace.start_ns),
            start_ns: trace.start_ns.to_string(),
            duration_ms: milliseconds(trace.duration_ns),
            span_count: trace.span_count,
            error_count: trace.error_count,
            policy: (!trace.policies.is_empty()).then(|| trace.policies.join(", ")),
            adjusted_count: trace.adjusted_count,
        }
    }
}

impl TraceJson {
    /// Returns the JSON of a trace from its summary and its spans.
    #[must_use]
    pub fn new(summary: TraceSummary, spans: &[StoredSpan]) -> Self {
        let facts: Vec<SpanFacts> = spans.iter().map(|span| span.facts).collect();
        let places = waterfall::order(&facts);
        TraceJson {
            end_ns: summary.start_ns.saturating_add(summary.duration_ns).to_string(),
            row: summary.into(),
            spans: places.iter().map(|place| SpanJson::new(&spans[place.index], place)).collect(),
        }
    }
}

impl SpanJson {
    fn new(stored: &StoredSpan, place: &WaterfallRow) -> Self {
        let StoredSpan { project, facts, span } = stored;
        let events = span.time_events.as_ref();
        let links = span.links.as_ref();
        SpanJson {
            span_id: span.span_id.clone(),
            parent_span_id: (facts.parent_id != 0).then(|| span.parent_span_id.clone()),
            parent_stored: place.parent_stored,
            depth: place.depth,
            project: project.to_string(),
            name: stored.display_name().to_owned(),
            kind: kind(span.span_kind()),
            service: stored.service().map(str::to_owned),
            start_ns: facts.start_ns.to_string(),
            end_ns: facts.end_ns.to_string(),
            duration_ms: milliseconds(facts.duration_ns()),
            status: span.status.as_ref().map(StatusJson::new),
            error: stored.is_error(),
            attributes: AttributeMap::new(span.attributes.as_ref()),
            events: events.map_or_else(Vec::new, |events| events.time_event.iter().map(EventJson::new).collect()),
            dropped_event_count: events.map_or(0, |events| {
                i64::from(events.dropped_annotations_count) + i64::from(events.dropped_message_events_count)
            }),
            links: links.map_or_else(Vec::new, |links| links.link.iter().map(SpanLink::new).collect()),
            dropped_link_count: links.map_or(0, |links| links.dropped_links_count),
        }
    }
}

impl StatusJson {
    fn new(rpc::Status { code, message, .. }: &rpc::Status) -> Self {
        let name = usize::try_from(*code).ok().and_then(|code| STATUS_CODES.get(code).copied());
        StatusJson { code: *code, name, message: message.clone() }
    }
}

impl AttributeMap {
    fn new(attributes: Option<&Attributes>) -> Self {
        let Some(attributes) = attributes else { return AttributeMap::default() };
        let mut map =
            AttributeMap { dropped_attribute_count: attributes.dropped_attributes_count, ..AttributeMap::default() };
        for (key, value) in &attributes.attribute_map {
            let json = match &value.value {
                None => Json::Null,
                Some(Value::BoolValue(value)) => Json::from(*value),
                Some(Value::IntValue(value)) if value.unsigned_abs() <= EXACT_INT_MAX => Json::from(*value),
                Some(Value::IntValue(value)) => Json::from(value.to_string()),
                Some(Value::StringValue(TruncatableString { value, truncated_byte_count })) => {
                    if *truncated_byte_count > 0 {
                        map.truncated_byte_counts.insert(key.clone(), *truncated_byte_count);
                    }
                    Json::from(value.as_str())
                }
            };
            map.attributes.insert(key.clone(), json);
        }
        map
    }
}

impl EventJson {
    fn new(event: &TimeEvent) -> Self {
        let (name, attributes) = match &event.value {
            Some(EventValue::Annotation(annotation)) => {
                let name = annotation.description.as_ref().map_or("", |description| &description.value);
                (name.to_owned(), AttributeMap::new(annotation.attributes.as_ref()))
            }
            Some(EventValue::MessageEvent(message)) => {
                (format!("message {} {}", message.id, message.r#type().as_str_name()), AttributeMap::default())
            }
            None => Default::default(),
        };
        EventJson { time_ns: event.time.as_ref().map(|time| nanoseconds(time).to_string()), name, attributes }
    }
}

impl SpanLink {
    fn new(link: &Link) -> Self {
        SpanLink {
            trace_id: link.trace_id.clone(),
            span_id: link.span_id.clone(),
            attributes: AttributeMap::new(link.attributes.as_ref()),
        }
    }
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "UNSPECIFIED",
        kind => kind.as_str_name(),
    }
}

fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}

fn nanoseconds(time: &Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

fn rfc3339(ns: i64) -> String {
    let nanos = i32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or_default();
    Timestamp { seconds: ns.div_euclid(1_000_000_000), nanos }.to_string()
}

/// Returns the body of an error answer.
#[must_use]
pub fn error(message: &str) -> Json {
    serde_json::json!({ "error": message })
}
