//! The causes of differences between fields. They are exactly those that `docs/cloud-trace-mapping.md` lists.

use std::collections::BTreeSet;
use std::fmt::Debug;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Otlp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use spansieve::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use spansieve::proto::google::devtools::cloudtrace::v2::span::{Attributes, time_event};
use spansieve::proto::google::devtools::cloudtrace::v2::{AttributeValue, Span};

use super::{Sent, hex};

/// Maximum time that an event may be before its span in the API: 365 days.
const EVENT_LEAD_NANOS_MAX: u64 = 365 * 24 * 3_600 * 1_000_000_000;

/// Maximum bytes of a value (<https://cloud.google.com/trace/docs/quotas>).
const VALUE_BYTES_MAX: usize = 65_532;

/// Maximum bytes of a key (same source).
const KEY_BYTES_MAX: usize = 512;

/// Maximum bytes of a scope's name and version, and of a value of a large resource (`docs/cloud-trace-mapping.md`).
const SHORT_BYTES_MAX: usize = 1_024;

/// Bytes of a resource that may take more than 32 KiB in a span, where its values are cut (same source). A double of nine
/// bytes may have 300 digits, and labels repeat values.
const LARGE_RESOURCE_BYTES: usize = 1_024;

const LARGE_RESOURCE: &str = "large resources: at most 32 KiB of one are in a span";

const REPEATED_KEYS: &str = "repeated keys of a resource: the first counts";

/// A field that differs between the two programs.
pub struct Difference {
    pub field: String,
    pub ours: String,
    pub theirs: String,
    /// The cause; `None` if no listed cause explains the difference.
    pub cause: Option<&'static str>,
}

struct Differences(Vec<Difference>);

impl Differences {
    /// Adds `field` if it differs; `cause` is its listed cause, if there is one.
    fn check<T: PartialEq + Debug>(&mut self, field: &str, ours: &T, theirs: &T, cause: Option<&'static str>) {
        if ours != theirs {
            let [ours, theirs] = [ours, theirs].map(|value| format!("{value:?}"));
            self.0.push(Difference { field: field.into(), ours, theirs, cause });
        }
    }
}

/// Returns every field of a span that the two programs wrote differently.
pub fn differences(sent: &Sent, ours: &Span, theirs: &Span) -> Vec<Difference> {
    let span = &sent.span;
    let mut found = Differences(Vec::new());
    let names_project = sent.resource.attributes.iter().any(|a| a.key.starts_with("gcp.project"));
    found.check(
        "name",
        &ours.name,
        &theirs.name,
        names_project.then_some("project: gcp.project_id counts, an invalid project id does not"),
    );
    found.check("span_id", &ours.span_id, &theirs.span_id, None);
    found.check("parent_span_id", &ours.parent_span_id, &theirs.parent_span_id, None);
    let unnamed = span.name.is_empty().then_some("name: an empty one is unknown");
    found.check("display_name", &ours.display_name, &theirs.display_name, unnamed);
    let start = (span.start_time_unix_nano == 0).then_some("times: one that is not set is taken from the other");
    found.check("start_time", &ours.start_time, &theirs.start_time, start);
    let end = match span.end_time_unix_nano {
        0 => Some("times: one that is not set is taken from the other"),
        end if end < span.start_time_unix_nano => Some("times: an end before the start becomes the start"),
        _ => None,
    };
    found.check("end_time", &ours.end_time, &theirs.end_time, end);
    found.check("span_kind", &ours.span_kind, &theirs.span_kind, None);
    let long = span.status.as_ref().is_some_and(|status| status.message.len() > VALUE_BYTES_MAX);
    found.check("status", &ours.status, &theirs.status, long.then_some("status: a message is cut at 65,532 bytes"));
    found.check("stack_trace", &ours.stack_trace, &theirs.stack_trace, None);
    found.check("child_span_count", &ours.child_span_count, &theirs.child_span_count, None);
    let process = Some("same process: what the sender said, not always true");
    found.check("same_process", &ours.same_process_as_parent_span, &theirs.same_process_as_parent_span, process);
    let all = [&sent.resource.attributes[..], &span.attributes].concat();
    let dropped = span.dropped_attributes_count > 0 || sent.resource.dropped_attributes_count > 0;
    let places = Places { sent: &all, resource: Some(sent), dropped };
    attributes(&mut found, "attributes", ours.attributes.as_ref(), theirs.attributes.as_ref(), &places);
    events(&mut found, sent, ours, theirs);
    links(&mut found, sent, ours, theirs);
    found.0
}

/// The origin of the attributes of one map.
struct Places<'a> {
    sent: &'a [KeyValue],
    /// The span with its resource, if the attributes are those of a span.
    resource: Option<&'a Sent>,
    dropped: bool,
}

fn attributes(
    found: &mut Differences,
    field: &str,
    ours: Option<&Attributes>,
    theirs: Option<&Attributes>,
    places: &Places<'_>,
) {
    let (none, dropped) = (Attributes::default(), "dropped counts: what the sender had dropped is counted");
    let (ours, theirs) = (ours.unwrap_or(&none), theirs.unwrap_or(&none));
    let empty_key = places.sent.iter().any(|a| a.key.is_empty());
    let dropped = if places.resource.is_some_and(|sent| repeats(&sent.resource.attributes)) {
        Some(REPEATED_KEYS)
    } else if places.dropped || empty_key {
        Some(dropped)
    } else {
        places.resource.is_some_and(has_large_resource).then_some(LARGE_RESOURCE)
    };
    found.check(&format!("{field}.dropped"), &ours.dropped_attributes_count, &theirs.dropped_attributes_count, dropped);
    let keys: BTreeSet<_> = ours.attribute_map.keys().chain(theirs.attribute_map.keys()).collect();
    for key in keys {
        let (ours, theirs) = (ours.attribute_map.get(key), theirs.attribute_map.get(key));
        found.check(&format!("{field}[{key}]"), &ours, &theirs, attribute(key, ours, theirs, places));
    }
}

fn attribute(
    key: &str,
    ours: Option<&AttributeValue>,
    theirs: Option<&AttributeValue>,
    places: &Places<'_>,
) -> Option<&'static str> {
    if key.is_empty() {
        return Some("empty keys: dropped and counted");
    }
    if key == "g.co/agent" {
        return Some("agent: the SDK, and this program");
    }
    let sent: Vec<_> = places.sent.iter().filter(|a| renamed(&a.key) == key).collect();
    let of_resource = places.resource.map(|sent| &sent.resource.attributes[..]).unwrap_or_default();
    let is_usable = |a: &&KeyValue| !a.key.is_empty() && a.key.len() <= KEY_BYTES_MAX && !is_blank_identity(a);
    let has_no_labels = places.resource.is_some() && !of_resource.iter().any(|a| is_usable(&a));
    if has_no_labels && (theirs.is_none() || key.starts_with("g.co/r/")) {
        let of_scope = key.starts_with("otel.scope.").then_some("scope: written without a resource, too");
        return of_scope.or(Some("labels: of a resource whose keys are all unusable"));
    }
    if of_resource.iter().filter(|a| renamed(&a.key) == key).count() > 1
        || key.starts_with("g.co/r/") && repeats(of_resource)
    {
        return Some(REPEATED_KEYS);
    }
    let is_nested = |a: &KeyValue| matches!(value(a), Some(Otlp::ArrayValue(_) | Otlp::KvlistValue(_)));
    if key.starts_with("g.co/r/") && text(theirs).is_some_and(|text| of_resource.iter().any(|a| is_no_label(a, text))) {
        return Some("labels: only texts give one, no lists, maps and bytes");
    }
    if let Some(cause) = shortened(key, ours, theirs, places) {
        return Some(cause);
    }
    let (ours, theirs) = (text(ours)?, text(theirs)?);
    if theirs.len().max(ours.len()) > VALUE_BYTES_MAX - 4 {
        return Some("strings: cut at 65,532 bytes, not 65,536");
    }
    let nested = sent.iter().any(|a| is_nested(a)) && (json(ours) == json(theirs) || theirs.is_empty());
    nested.then_some("lists and maps: order, escapes, exponents, empty bytes and NaN in their JSON")
}

/// Returns the cause if Spansieve cuts the value to 1,024 bytes or leaves it out.
fn shortened(
    key: &str,
    ours: Option<&AttributeValue>,
    theirs: Option<&AttributeValue>,
    places: &Places<'_>,
) -> Option<&'static str> {
    // The cut is before a character or an escape of JSON, which has at most six bytes.
    let is_cut = text(ours).is_some_and(|text| (SHORT_BYTES_MAX - 6..=SHORT_BYTES_MAX).contains(&text.len()));
    let is_longer = text(theirs).is_some_and(|text| text.len() > SHORT_BYTES_MAX);
    if is_cut && is_longer && ["otel.scope.name", "otel.scope.version"].contains(&key) {
        return Some("scope: its name and version are cut at 1,024 bytes");
    }
    let sent = places.resource?;
    let is_of_resource = key.starts_with("g.co/r/") || sent.resource.attributes.iter().any(|a| renamed(&a.key) == key);
    (is_of_resource && has_large_resource(sent) && (is_cut || ours.is_none())).then_some(LARGE_RESOURCE)
}

fn has_large_resource(sent: &Sent) -> bool {
    sent.resource.encoded_len() > LARGE_RESOURCE_BYTES
}

/// Returns true if the attribute is a list, a map or bytes, and `text` may be the label that the Collector makes of it.
fn is_no_label(attribute: &KeyValue, text: &str) -> bool {
    match value(attribute) {
        Some(Otlp::ArrayValue(_)) => text.starts_with('['),
        Some(Otlp::KvlistValue(_)) => text.starts_with('{'),
        Some(Otlp::BytesValue(bytes)) => text.len() == bytes.len().div_ceil(3) * 4,
        _ => false,
    }
}

fn is_blank_identity(attribute: &KeyValue) -> bool {
    let blank = match value(attribute) {
        Some(Otlp::StringValue(text)) => text.is_empty(),
        Some(Otlp::BytesValue(bytes)) => bytes.is_empty(),
        value => value.is_none(),
    };
    blank && ["service.name", "service.namespace", "service.instance.id"].contains(&attribute.key.as_str())
}

fn repeats(attributes: &[KeyValue]) -> bool {
    attributes.iter().map(|a| &a.key).collect::<BTreeSet<_>>().len() < attributes.len()
}

/// Returns a key as Google's exporter names it, and Spansieve by default.
fn renamed(key: &str) -> &str {
    match key {
        "http.method" => "/http/method",
        "http.host" => "/http/host",
        "http.path" => "/http/path",
        "http.user_agent" => "/http/user_agent",
        "http.status_code" => "/http/status_code",
        _ => key,
    }
}

fn value(attribute: &KeyValue) -> Option<&Otlp> {
    attribute.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

fn text(value: Option<&AttributeValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Value::StringValue(text) => Some(&text.value),
        _ => None,
    }
}

/// Parses a text as JSON with blank nulls: one program writes empty bytes as an empty text, and the other as null.
fn json(text: &str) -> Option<serde_json::Value> {
    let mut value = serde_json::from_str(text).ok()?;
    blank_nulls(&mut value);
    Some(value)
}

fn blank_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Null => *value = "".into(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(blank_nulls),
        serde_json::Value::Object(entries) => entries.values_mut().for_each(blank_nulls),
        _ => {}
    }
}

fn events(found: &mut Differences, sent: &Sent, ours: &Span, theirs: &Span) {
    let span = &sent.span;
    let (none, dropped) = (Default::default(), "dropped counts: what the sender had dropped is counted");
    let (ours, theirs) = (ours.time_events.as_ref().unwrap_or(&none), theirs.time_events.as_ref().unwrap_or(&none));
    let dropped = (span.dropped_events_count > 0).then_some(dropped);
    found.check("events.dropped", &ours.dropped_annotations_count, &theirs.dropped_annotations_count, dropped);
    found.check("events", &ours.time_event.len(), &theirs.time_event.len(), None);
    for (i, (ours, theirs)) in ours.time_event.iter().zip(&theirs.time_event).enumerate() {
        let event = &span.events[i];
        let start = if span.start_time_unix_nano == 0 { span.end_time_unix_nano } else { span.start_time_unix_nano };
        let impossible = event.time_unix_nano == 0 || start.saturating_sub(event.time_unix_nano) > EVENT_LEAD_NANOS_MAX;
        let time = impossible.then_some("events: one without a possible time stands at the start of its span");
        found.check(&format!("events[{i}].time"), &ours.time, &theirs.time, time);
        let (Some(time_event::Value::Annotation(ours)), Some(time_event::Value::Annotation(theirs))) =
            (&ours.value, &theirs.value)
        else {
            found.check(&format!("events[{i}]"), &ours.value, &theirs.value, None);
            continue;
        };
        found.check(&format!("events[{i}].description"), &ours.description, &theirs.description, None);
        let places = Places { sent: &event.attributes, resource: None, dropped: event.dropped_attributes_count > 0 };
        attributes(found, &format!("events[{i}]"), ours.attributes.as_ref(), theirs.attributes.as_ref(), &places);
    }
}

fn links(found: &mut Differences, sent: &Sent, ours: &Span, theirs: &Span) {
    let span = &sent.span;
    let none = Default::default();
    let (ours, theirs) = (ours.links.as_ref().unwrap_or(&none), theirs.links.as_ref().unwrap_or(&none));
    let sound = |id: &[u8], len| id.len() == len && id.iter().any(|&byte| byte != 0);
    let valid: Vec<_> = span.links.iter().filter(|link| sound(&link.trace_id, 16) && sound(&link.span_id, 8)).collect();
    let invalid = valid.len() < span.links.len();
    let cause = invalid.then_some("links: those with invalid ids are dropped and counted");
    let dropped = if span.dropped_links_count > 0 {
        Some("dropped counts: what the sender had dropped is counted")
    } else {
        cause
    };
    found.check("links.dropped", &ours.dropped_links_count, &theirs.dropped_links_count, dropped);
    found.check("links", &ours.link.len(), &theirs.link.len(), cause);
    for (i, (ours, link)) in ours.link.iter().zip(&valid).enumerate() {
        let same = |theirs: &&_| is_same_link(ours, theirs);
        let Some(theirs) = theirs.link.iter().find(same) else {
            found.check(&format!("links[{i}]"), &Some(hex(&link.trace_id)), &None, None);
            continue;
        };
        found.check(&format!("links[{i}].type"), &ours.r#type, &theirs.r#type, None);
        let places = Places { sent: &link.attributes, resource: None, dropped: link.dropped_attributes_count > 0 };
        attributes(found, &format!("links[{i}]"), ours.attributes.as_ref(), theirs.attributes.as_ref(), &places);
    }
}

fn is_same_link(
    a: &spansieve::proto::google::devtools::cloudtrace::v2::span::Link,
    b: &spansieve::proto::google::devtools::cloudtrace::v2::span::Link,
) -> bool {
    (&a.trace_id, &a.span_id) == (&b.trace_id, &b.span_id)
}
