//! A second, simple implementation of the span encoder. It converts OTLP structs to Cloud Trace structs as
//! `docs/cloud-trace-mapping.md` describes. It is slow and shares no code with the real encoder. The benchmark uses it,
//! too.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost_types::Timestamp;
use spansieve_proto::google::rpc::Status;

use spansieve_proto::google::devtools::cloudtrace::v2::span::time_event::{self, Annotation};
use spansieve_proto::google::devtools::cloudtrace::v2::span::{Attributes, Link, Links, TimeEvent, TimeEvents};
use spansieve_proto::google::devtools::cloudtrace::v2::{self, AttributeValue, TruncatableString, attribute_value};

/// The settings of the encoder, as far as the reference needs them.
pub struct Context<'a> {
    pub default_project: &'a str,
    /// The version of Spansieve.
    pub version: &'a str,
    /// The policy and the adjusted count, if spans are annotated.
    pub annotation: Option<(&'a str, AttributeValue)>,
}

pub fn encode(context: &Context<'_>, resource: &Resource, scope: &InstrumentationScope, span: &otlp::Span) -> v2::Span {
    let project = project(&resource.attributes).unwrap_or_else(|| context.default_project.into());
    let (trace_id, span_id) = (hex(&span.trace_id), hex(&span.span_id));
    let has_parent =
        span.parent_span_id.len() == 8 && span.parent_span_id != [0; 8] && span.parent_span_id != span.span_id;
    let start = if span.start_time_unix_nano == 0 { span.end_time_unix_nano } else { span.start_time_unix_nano };
    let end = if span.end_time_unix_nano < start { start } else { span.end_time_unix_nano };
    let remote_known = has_parent && span.flags & 0x100 != 0;
    v2::Span {
        name: format!("projects/{project}/traces/{trace_id}/spans/{span_id}"),
        span_id,
        parent_span_id: if has_parent { hex(&span.parent_span_id) } else { String::new() },
        display_name: Some(cut(if span.name.is_empty() { "unknown" } else { &span.name }, 1024)),
        start_time: Some(timestamp(start)),
        end_time: Some(timestamp(end)),
        attributes: Some(span_attributes(context, resource, scope, span)),
        stack_trace: None,
        time_events: time_events(span, start),
        links: links(span),
        status: status(span),
        same_process_as_parent_span: remote_known.then_some(span.flags & 0x200 == 0),
        child_span_count: None,
        span_kind: match span.kind {
            2 => v2::span::SpanKind::Server,
            3 => v2::span::SpanKind::Client,
            4 => v2::span::SpanKind::Producer,
            5 => v2::span::SpanKind::Consumer,
            _ => v2::span::SpanKind::Internal,
        } as i32,
    }
}

fn status(span: &otlp::Span) -> Option<Status> {
    let status = span.status.as_ref()?;
    match status.code {
        1 => Some(Status::default()),
        2 => Some(Status { code: 2, message: cut(&status.message, 65_532).value, ..Default::default() }),
        _ => None,
    }
}

fn project(resource: &[KeyValue]) -> Option<String> {
    let sound = |name: &String| {
        !name.is_empty() && name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    };
    ["gcp.project_id", "gcp.project.id"].iter().map(|key| string(resource, key)).find(sound)
}

/// Returns at most 1,024 distinct attributes of a resource, and the number of dropped ones. The first of a key counts.
fn resource_attributes(resource: &Resource) -> (Vec<KeyValue>, u32) {
    let mut distinct: Vec<KeyValue> = Vec::new();
    let mut dropped = resource.dropped_attributes_count;
    for attribute in &resource.attributes {
        if distinct.iter().any(|known| known.key == attribute.key) {
            continue;
        }
        if distinct.len() == 1024 {
            dropped = dropped.saturating_add(1);
        } else {
            distinct.push(attribute.clone());
        }
    }
    distinct.retain(|attribute| !(is_identity(&attribute.key) && is_blank(attribute.value.as_ref())));
    (distinct, dropped)
}

type Pair = (String, AttributeValue);

/// Returns the labels and the attributes of a resource, with values of at most `value_max` bytes, and the number of
/// dropped attributes.
fn resource_pairs(raw: &[KeyValue], version: &str, value_max: usize) -> (Vec<Pair>, Vec<Pair>, u64) {
    let labels: Vec<Pair> = labels(raw).into_iter().map(|(key, text)| (key, cut_text(&text, value_max))).collect();
    let (mut users, dropped) = pairs(raw.iter(), value_max);
    if !raw.iter().any(|attribute| attribute.key == "g.co/agent") {
        users.insert(0, ("g.co/agent".into(), cut_text(&agent(raw, version), value_max)));
    }
    (labels, users, dropped)
}

/// Returns the number of bytes of an encoded map entry.
fn entry_len((key, value): &Pair) -> usize {
    let field_len = |len: usize| 1 + prost::length_delimiter_len(len) + len;
    field_len(field_len(key.len()) + field_len(prost::Message::encoded_len(value)))
}

fn span_attributes(
    context: &Context<'_>,
    resource: &Resource,
    scope: &InstrumentationScope,
    span: &otlp::Span,
) -> Attributes {
    let (raw_resource, resource_dropped) = resource_attributes(resource);
    let annotation_keys: &[&str] = if context.annotation.is_some() {
        &[
            "spansieve.policy",
            "spansieve.adjusted_count",
            "spansieve.trigger",
            "spansieve.missing_parent",
            "spansieve.verdict",
        ]
    } else {
        &[]
    };
    let (mut ours, mut of_resource, mut users_dropped) = (vec![], vec![], 0);
    for value_max in [65_532, 1_024] {
        (ours, of_resource, users_dropped) = resource_pairs(&raw_resource, context.version, value_max);
        of_resource
            .retain(|(key, _)| !annotation_keys.contains(&key.as_str()) && !ours.iter().any(|(label, _)| label == key));
        if ours.iter().chain(&of_resource).map(entry_len).sum::<usize>() <= 32 << 10 {
            break;
        }
        if value_max == 1_024 {
            let mut len: usize = ours.iter().map(entry_len).sum();
            let before = of_resource.len();
            of_resource.retain(|pair| {
                let fits = len + entry_len(pair) <= 32 << 10;
                len += if fits { entry_len(pair) } else { 0 };
                fits
            });
            users_dropped += (before - of_resource.len()) as u64;
        }
    }
    if let Some((policy, adjusted_count)) = &context.annotation {
        ours.push(("spansieve.policy".into(), text(policy)));
        ours.push(("spansieve.adjusted_count".into(), adjusted_count.clone()));
    }
    // These annotations have reserved places but no values, because the spans of the tests are not rescued, do not lack
    // a parent and are not part of a dry run.
    let free = if context.annotation.is_some() { &annotation_keys[2..] } else { &[] };
    let (of_span, span_dropped) = pairs(span.attributes.iter(), 65_532);
    let mut of_scope = Vec::new();
    let has = |key: &str| of_resource.iter().chain(&of_span).any(|(known, _)| known == key);
    if !has("otel.scope.name") {
        of_scope.push(("otel.scope.name".into(), cut_text(&scope.name, 1_024)));
    }
    if !has("otel.scope.version") && !scope.version.is_empty() {
        of_scope.push(("otel.scope.version".into(), cut_text(&scope.version, 1_024)));
    }
    let mut attribute_map = HashMap::new();
    let mut over = 0;
    for (key, value) in [ours, of_scope, of_span, of_resource].concat() {
        if attribute_map.contains_key(&key) || free.contains(&key.as_str()) {
            continue;
        }
        if attribute_map.len() == 1024 - free.len() {
            over += 1;
        } else {
            attribute_map.insert(key, value);
        }
    }
    let dropped = [over, span_dropped, users_dropped, resource_dropped.into(), span.dropped_attributes_count.into()];
    Attributes { attribute_map, dropped_attributes_count: clamp(dropped.iter().sum()) }
}

fn is_identity(key: &str) -> bool {
    ["service.name", "service.namespace", "service.instance.id"].contains(&key)
}

fn is_blank(value: Option<&AnyValue>) -> bool {
    match value.and_then(|v| v.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => true,
        Some(Value::StringValue(text)) => text.is_empty(),
        Some(Value::BytesValue(bytes)) => bytes.is_empty(),
        Some(_) => false,
    }
}

/// Returns attributes in the form of Cloud Trace (checked, renamed, the last one of each key) and the number of dropped
/// ones.
fn pairs<'a>(attributes: impl Iterator<Item = &'a KeyValue>, value_max: usize) -> (Vec<Pair>, u64) {
    let mut pairs: Vec<Pair> = Vec::new();
    let (mut taken, mut dropped) = (0, 0);
    let is_skipped = |a: &&KeyValue| is_identity(&a.key) && is_blank(a.value.as_ref());
    for attribute in attributes.filter(|attribute| !is_skipped(attribute)) {
        let key = match attribute.key.as_str() {
            key @ ("http.method" | "http.host" | "http.path" | "http.user_agent" | "http.status_code") => {
                format!("/{}", key.replace('.', "/"))
            }
            key => key.into(),
        };
        if key.is_empty() || key.len() > 512 || taken == 1024 {
            dropped += 1;
            continue;
        }
        taken += 1;
        pairs.retain(|(known, _)| *known != key);
        pairs.push((key, attribute_value(attribute.value.as_ref(), value_max)));
    }
    (pairs, dropped)
}

fn event_attributes(attributes: &[KeyValue], sent_dropped: u32) -> Option<Attributes> {
    let (pairs, dropped) = pairs(attributes.iter(), 65_532);
    let dropped = dropped + u64::from(sent_dropped);
    (!pairs.is_empty() || dropped > 0)
        .then(|| Attributes { attribute_map: pairs.into_iter().collect(), dropped_attributes_count: clamp(dropped) })
}

fn attribute_value(value: Option<&AnyValue>, max: usize) -> AttributeValue {
    let value = match value.and_then(|v| v.value.as_ref()) {
        Some(Value::BoolValue(v)) => attribute_value::Value::BoolValue(*v),
        Some(Value::IntValue(v)) => attribute_value::Value::IntValue(*v),
        Some(Value::StringValue(v)) => return cut_text(v, max),
        Some(Value::DoubleValue(v)) => return cut_text(&double(*v), max),
        Some(Value::BytesValue(v)) => return cut_text(&STANDARD.encode(v), max),
        Some(container @ (Value::ArrayValue(_) | Value::KvlistValue(_))) => {
            let mut text = String::new();
            json(&mut text, Some(container), max);
            return cut_text(&text, max);
        }
        _ => return text(""),
    };
    AttributeValue { value: Some(value) }
}

fn double(v: f64) -> String {
    match v {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        _ => v.to_string(),
    }
}

/// Appends `value` as JSON, without the elements that begin after `max` bytes.
fn json(out: &mut String, value: Option<&Value>, max: usize) {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    match value {
        Some(Value::StringValue(v)) => out.push_str(&quote(v)),
        Some(Value::BytesValue(v)) => out.push_str(&quote(&STANDARD.encode(v))),
        Some(Value::BoolValue(v)) => out.push_str(&v.to_string()),
        Some(Value::IntValue(v)) => out.push_str(&v.to_string()),
        Some(Value::DoubleValue(v)) if v.is_finite() => out.push_str(&v.to_string()),
        Some(Value::DoubleValue(v)) => out.push_str(&quote(&double(*v))),
        Some(Value::ArrayValue(v)) => {
            let elements = v.values.iter().map(|element| (None, element.value.as_ref()));
            container(out, ['[', ']'], elements, max);
        }
        Some(Value::KvlistValue(v)) => {
            let value = |kv: &'_ KeyValue| kv.value.as_ref().and_then(|value| value.value.clone());
            let values: Vec<_> = v.values.iter().map(|kv| (quote(&kv.key), value(kv))).collect();
            container(out, ['{', '}'], values.iter().map(|(key, value)| (Some(key), value.as_ref())), max);
        }
        _ => out.push_str("null"),
    }
}

fn container<'a>(
    out: &mut String,
    [open, close]: [char; 2],
    elements: impl Iterator<Item = (Option<&'a String>, Option<&'a Value>)>,
    max: usize,
) {
    out.push(open);
    for (i, (key, value)) in elements.enumerate() {
        if out.len() > max {
            return;
        }
        out.push_str(if i > 0 { "," } else { "" });
        if let Some(key) = key {
            out.push_str(key);
            out.push(':');
        }
        json(out, value, max);
    }
    out.push(close);
}

fn time_events(span: &otlp::Span, start: u64) -> Option<TimeEvents> {
    let time = |event: &otlp::span::Event| match event.time_unix_nano {
        0 => start,
        early if u128::from(early) + 365 * 86_400_000_000_000 < u128::from(start) => start,
        possible => possible,
    };
    let annotation = |event: &otlp::span::Event| TimeEvent {
        time: Some(timestamp(time(event))),
        value: Some(time_event::Value::Annotation(Annotation {
            description: Some(cut(&event.name, 1024)),
            attributes: event_attributes(&event.attributes, event.dropped_attributes_count),
        })),
    };
    let dropped = u64::from(span.dropped_events_count) + span.events.len().saturating_sub(256) as u64;
    (!span.events.is_empty() || dropped > 0).then(|| TimeEvents {
        time_event: span.events.iter().take(256).map(annotation).collect(),
        dropped_annotations_count: clamp(dropped),
        dropped_message_events_count: 0,
    })
}

fn links(span: &otlp::Span) -> Option<Links> {
    let sound = |l: &&otlp::span::Link| {
        l.trace_id.len() == 16 && l.trace_id != [0; 16] && l.span_id.len() == 8 && l.span_id != [0; 8]
    };
    let link: Vec<Link> = span
        .links
        .iter()
        .filter(sound)
        .take(128)
        .map(|l| Link {
            trace_id: hex(&l.trace_id),
            span_id: hex(&l.span_id),
            r#type: 0,
            attributes: event_attributes(&l.attributes, l.dropped_attributes_count),
        })
        .collect();
    let dropped = u64::from(span.dropped_links_count) + (span.links.len() - link.len()) as u64;
    (!span.links.is_empty() || dropped > 0).then(|| Links { link, dropped_links_count: clamp(dropped) })
}

/// Returns the labels of the monitored resource.
fn labels(resource: &[KeyValue]) -> Vec<(String, String)> {
    if resource.is_empty() {
        return Vec::new();
    }
    let get = |key: &str| string(resource, key);
    let has = |key: &str| resource.iter().any(|attribute| attribute.key == key);
    let either = |a: &str, b: &str| {
        let found = [get(a), get(b)].into_iter().filter(|text| !text.is_empty());
        let named = found.clone().find(|text| !text.starts_with("unknown_service"));
        named.or(found.clone().next()).unwrap_or_default()
    };
    let location = either("cloud.availability_zone", "cloud.region");
    let or_global = if location.is_empty() { "global".to_string() } else { location.clone() };
    let (cluster, namespace, pod) = (get("k8s.cluster.name"), get("k8s.namespace.name"), get("k8s.pod.name"));
    let (kind, labels) = match get("cloud.platform").as_str() {
        "gcp_compute_engine" => {
            ("gce_instance", vec![("zone", get("cloud.availability_zone")), ("instance_id", get("host.id"))])
        }
        "gcp_app_engine" => (
            "gae_instance",
            vec![
                ("location", location),
                ("module_id", get("faas.name")),
                ("version_id", get("faas.version")),
                ("instance_id", get("faas.instance")),
            ],
        ),
        "aws_ec2" => (
            "aws_ec2_instance",
            vec![("instance_id", get("host.id")), ("region", location), ("aws_account", get("cloud.account.id"))],
        ),
        "gcp_bare_metal_solution" => (
            "baremetalsolution.googleapis.com/Instance",
            vec![("location", get("cloud.region")), ("instance_id", get("host.id"))],
        ),
        _ if has("k8s.cluster.name") && has("k8s.container.name") => (
            "k8s_container",
            vec![
                ("location", location),
                ("cluster_name", cluster),
                ("namespace_name", namespace),
                ("pod_name", pod),
                ("container_name", get("k8s.container.name")),
            ],
        ),
        _ if has("k8s.cluster.name") && has("k8s.pod.name") => (
            "k8s_pod",
            vec![("location", location), ("cluster_name", cluster), ("namespace_name", namespace), ("pod_name", pod)],
        ),
        _ if has("k8s.cluster.name") && has("k8s.node.name") => {
            ("k8s_node", vec![("location", location), ("cluster_name", cluster), ("node_name", get("k8s.node.name"))])
        }
        _ if has("k8s.cluster.name") => ("k8s_cluster", vec![("location", location), ("cluster_name", cluster)]),
        _ if has("service.name") && has("service.instance.id") || has("faas.name") && has("faas.instance") => (
            "generic_task",
            vec![
                ("location", or_global),
                ("namespace", get("service.namespace")),
                ("job", either("service.name", "faas.name")),
                ("task_id", either("service.instance.id", "faas.instance")),
            ],
        ),
        _ => (
            "generic_node",
            vec![
                ("location", or_global),
                ("namespace", get("service.namespace")),
                ("node_id", either("host.id", "host.name")),
            ],
        ),
    };
    labels.into_iter().map(|(name, value)| (format!("g.co/r/{kind}/{name}"), value)).collect()
}

fn agent(resource: &[KeyValue], own: &str) -> String {
    let (language, version) = (string(resource, "telemetry.sdk.language"), string(resource, "telemetry.sdk.version"));
    let numbers: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if !language.is_empty()
        && language.chars().all(|c| c.is_ascii_alphabetic())
        && numbers.len() == 3
        && numbers.iter().all(is_number)
    {
        format!("opentelemetry-{language} {version}; google-cloud-trace-exporter {own}")
    } else {
        format!("spansieve {own}")
    }
}

/// Returns the text of the first attribute with this key. It is empty if the value is not a string.
fn string(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()).and_then(|v| v.value.as_ref());
    if let Some(Value::StringValue(text)) = value { text.clone() } else { String::new() }
}

fn text(text: &str) -> AttributeValue {
    cut_text(text, 65_532)
}

fn cut_text(text: &str, max: usize) -> AttributeValue {
    AttributeValue { value: Some(attribute_value::Value::StringValue(cut(text, max))) }
}

fn cut(text: &str, max: usize) -> TruncatableString {
    let end = (0..=text.len().min(max)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    TruncatableString { value: text[..end].into(), truncated_byte_count: clamp((text.len() - end) as u64) }
}

fn clamp(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn timestamp(unix_nano: u64) -> Timestamp {
    Timestamp { seconds: (unix_nano / 1_000_000_000) as i64, nanos: (unix_nano % 1_000_000_000) as i32 }
}
