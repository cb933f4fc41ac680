//! The messages of the API in JSON (<https://protobuf.dev/programming-guides/json/>). Names are in camel or snake case,
//! 64-bit integers are strings, times are in RFC 3339, enumeration values are names or numbers, and null means "not
//! set".

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use prost_types::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use crate::proto::google::devtools::cloudtrace::v2 as proto;
use crate::proto::google::devtools::cloudtrace::v2::attribute_value::Value;
use crate::proto::google::devtools::cloudtrace::v2::span::time_event::{self, MessageEvent as ProtoMessageEvent};
use crate::proto::google::devtools::cloudtrace::v2::span::{self, SpanKind, link};
use crate::proto::google::devtools::cloudtrace::v2::stack_trace;
use crate::proto::google::rpc;

/// Maximum spans of a call. An empty span takes three bytes in JSON and a few hundred in memory.
const SPANS_MAX: usize = 25_000;

/// `BatchWriteSpansRequest`. The name in the body is ignored; the path has the name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct BatchWriteRequest {
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
    spans: Option<Spans>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Span {
    #[serde(rename = "name")]
    name: Option<String>,
    #[serde(alias = "span_id")]
    span_id: Option<String>,
    #[serde(alias = "parent_span_id")]
    parent_span_id: Option<String>,
    #[serde(alias = "display_name")]
    display_name: Option<Text>,
    #[serde(alias = "start_time")]
    start_time: Option<Time>,
    #[serde(alias = "end_time")]
    end_time: Option<Time>,
    attributes: Option<SpanAttributes>,
    #[serde(alias = "stack_trace")]
    stack_trace: Option<StackTrace>,
    #[serde(alias = "time_events")]
    time_events: Option<TimeEvents>,
    links: Option<Links>,
    status: Option<Status>,
    #[serde(alias = "same_process_as_parent_span")]
    same_process_as_parent_span: Option<bool>,
    #[serde(alias = "child_span_count")]
    child_span_count: Option<Whole<i32>>,
    #[serde(alias = "span_kind")]
    span_kind: Option<Named<SpanKind>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Text {
    value: Option<String>,
    #[serde(alias = "truncated_byte_count")]
    truncated_byte_count: Option<Whole<i32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct SpanAttributes {
    #[serde(alias = "attribute_map")]
    attribute_map: Option<HashMap<String, AttributeValue>>,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Option<Whole<i32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct AttributeValue {
    #[serde(alias = "string_value")]
    string_value: Option<Text>,
    #[serde(alias = "int_value")]
    int_value: Option<Whole<i64>>,
    #[serde(alias = "bool_value")]
    bool_value: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct TimeEvents {
    #[serde(alias = "time_event")]
    time_event: Option<Vec<TimeEvent>>,
    #[serde(alias = "dropped_annotations_count")]
    dropped_annotations_count: Option<Whole<i32>>,
    #[serde(alias = "dropped_message_events_count")]
    dropped_message_events_count: Option<Whole<i32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct TimeEvent {
    time: Option<Time>,
    annotation: Option<Annotation>,
    #[serde(alias = "message_event")]
    message_event: Option<MessageEvent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Annotation {
    description: Option<Text>,
    attributes: Option<SpanAttributes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct MessageEvent {
    r#type: Option<Named<time_event::message_event::Type>>,
    id: Option<Whole<i64>>,
    #[serde(alias = "uncompressed_size_bytes")]
    uncompressed_size_bytes: Option<Whole<i64>>,
    #[serde(alias = "compressed_size_bytes")]
    compressed_size_bytes: Option<Whole<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Links {
    link: Option<Vec<Link>>,
    #[serde(alias = "dropped_links_count")]
    dropped_links_count: Option<Whole<i32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Link {
    #[serde(alias = "trace_id")]
    trace_id: Option<String>,
    #[serde(alias = "span_id")]
    span_id: Option<String>,
    r#type: Option<Named<link::Type>>,
    attributes: Option<SpanAttributes>,
}

/// `google.rpc.Status`. Details are accepted but not stored: they may be of any type.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Status {
    code: Option<Whole<i32>>,
    message: Option<String>,
    #[serde(rename = "details")]
    _details: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct StackTrace {
    #[serde(alias = "stack_frames")]
    stack_frames: Option<StackFrames>,
    #[serde(alias = "stack_trace_hash_id")]
    stack_trace_hash_id: Option<Whole<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct StackFrames {
    frame: Option<Vec<StackFrame>>,
    #[serde(alias = "dropped_frames_count")]
    dropped_frames_count: Option<Whole<i32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct StackFrame {
    #[serde(alias = "function_name")]
    function_name: Option<Text>,
    #[serde(alias = "original_function_name")]
    original_function_name: Option<Text>,
    #[serde(alias = "file_name")]
    file_name: Option<Text>,
    #[serde(alias = "line_number")]
    line_number: Option<Whole<i64>>,
    #[serde(alias = "column_number")]
    column_number: Option<Whole<i64>>,
    #[serde(alias = "load_module")]
    load_module: Option<Module>,
    #[serde(alias = "source_version")]
    source_version: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Module {
    module: Option<Text>,
    #[serde(alias = "build_id")]
    build_id: Option<Text>,
}

/// A `Timestamp`, written in RFC 3339.
#[derive(Debug)]
struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Time).map_err(|_| D::Error::custom(format!("{text:?} is not a time of RFC 3339")))
    }
}

/// An integer, written as a number or as a string.
#[derive(Debug)]
struct Whole<T>(T);

impl<'de, T: TryFrom<i64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(WholeVisitor)?;
        T::try_from(number).map(Whole).map_err(|_| D::Error::custom(format!("{number} is out of range")))
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::custom(format!("{number} is out of range")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        text.parse().map_err(|_| E::custom(format!("{text:?} is not a whole number")))
    }
}

/// An enumeration of the API.
trait Enumeration {
    /// Returns the number of the value called `name`.
    fn number(name: &str) -> Option<i32>;
}

impl Enumeration for SpanKind {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

impl Enumeration for link::Type {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

impl Enumeration for time_event::message_event::Type {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(i32::from)
    }
}

/// A value of an enumeration, written as its name or its number.
#[derive(Debug)]
struct Named<T>(i32, PhantomData<T>);

impl<'de, T: Enumeration> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamedVisitor<T>(PhantomData<T>);
        impl<T: Enumeration> Visitor<'_> for NamedVisitor<T> {
            type Value = i32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or the number of a value")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<i32, E> {
                i32::try_from(number).map_err(|_| E::custom(format!("{number} is out of range")))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
                i32::try_from(number).map_err(|_| E::custom(format!("{number} is out of range")))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<i32, E> {
                T::number(name).ok_or_else(|| E::custom(format!("{name:?} is not a value of this enumeration")))
            }
        }
        deserializer.deserialize_any(NamedVisitor::<T>(PhantomData)).map(|number| Named(number, PhantomData))
    }
}

/// A list of at most [`SPANS_MAX`] spans.
#[derive(Debug)]
struct Spans(Vec<Span>);

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpansVisitor;
        impl<'de> Visitor<'de> for SpansVisitor {
            type Value = Vec<Span>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of spans")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Span>, A::Error> {
                let mut spans = Vec::new();
                while let Some(span) = list.next_element()? {
                    if spans.len() == SPANS_MAX {
                        return Err(A::Error::custom(format!("more than {SPANS_MAX} spans")));
                    }
                    spans.push(span);
                }
                Ok(spans)
            }
        }
        deserializer.deserialize_seq(SpansVisitor).map(Spans)
    }
}

impl BatchWriteRequest {
    /// Converts the batch to the spans of the protobuf API.
    ///
    /// # Errors
    /// An attribute has several values, or an event is of two types.
    pub(super) fn into_spans(self) -> Result<Vec<proto::Span>, &'static str> {
        self.spans.map_or_else(Vec::new, |spans| spans.0).into_iter().map(Span::into_proto).collect()
    }
}

impl Span {
    /// Converts the span to that of the protobuf API.
    ///
    /// # Errors
    /// An attribute has several values, or an event is of two types.
    pub(super) fn into_proto(self) -> Result<proto::Span, &'static str> {
        Ok(proto::Span {
            name: self.name.unwrap_or_default(),
            span_id: self.span_id.unwrap_or_default(),
            parent_span_id: self.parent_span_id.unwrap_or_default(),
            display_name: self.display_name.map(text),
            start_time: self.start_time.map(|time| time.0),
            end_time: self.end_time.map(|time| time.0),
            attributes: self.attributes.map(attributes).transpose()?,
            stack_trace: self.stack_trace.map(stack_trace),
            time_events: self.time_events.map(time_events).transpose()?,
            links: self.links.map(links).transpose()?,
            status: self.status.map(|Status { code, message, .. }| rpc::Status {
                code: number(code),
                message: message.unwrap_or_default(),
                details: Vec::new(),
            }),
            same_process_as_parent_span: self.same_process_as_parent_span,
            child_span_count: self.child_span_count.map(|count| count.0),
            span_kind: name(self.span_kind),
        })
    }
}

fn number<T: Default>(number: Option<Whole<T>>) -> T {
    number.map(|number| number.0).unwrap_or_default()
}

fn name<T>(value: Option<Named<T>>) -> i32 {
    value.map_or(0, |value| value.0)
}

fn text(Text { value, truncated_byte_count }: Text) -> proto::TruncatableString {
    let truncated_byte_count = number(truncated_byte_count);
    proto::TruncatableString { value: value.unwrap_or_default(), truncated_byte_count }
}

fn attributes(
    SpanAttributes { attribute_map, dropped_attributes_count }: SpanAttributes,
) -> Result<span::Attributes, &'static str> {
    let entry = |(key, value)| attribute(value).map(|value| (key, value));
    Ok(span::Attributes {
        attribute_map: attribute_map.unwrap_or_default().into_iter().map(entry).collect::<Result<_, _>>()?,
        dropped_attributes_count: number(dropped_attributes_count),
    })
}

fn attribute(value: AttributeValue) -> Result<proto::AttributeValue, &'static str> {
    let value = match (value.string_value, value.int_value, value.bool_value) {
        (None, None, None) => None,
        (Some(value), None, None) => Some(Value::StringValue(text(value))),
        (None, Some(value), None) => Some(Value::IntValue(value.0)),
        (None, None, Some(value)) => Some(Value::BoolValue(value)),
        _ => return Err("an attribute has more than one of stringValue, intValue and boolValue"),
    };
    Ok(proto::AttributeValue { value })
}

fn time_events(events: TimeEvents) -> Result<span::TimeEvents, &'static str> {
    let list = events.time_event.unwrap_or_default().into_iter();
    Ok(span::TimeEvents {
        time_event: list.map(time_event).collect::<Result<_, _>>()?,
        dropped_annotations_count: number(events.dropped_annotations_count),
        dropped_message_events_count: number(events.dropped_message_events_count),
    })
}

fn time_event(event: TimeEvent) -> Result<span::TimeEvent, &'static str> {
    let value = match (event.annotation, event.message_event) {
        (None, None) => None,
        (Some(Annotation { description, attributes: map }), None) => {
            let (description, attributes) = (description.map(text), map.map(attributes).transpose()?);
            Some(time_event::Value::Annotation(time_event::Annotation { description, attributes }))
        }
        (None, Some(message)) => Some(time_event::Value::MessageEvent(ProtoMessageEvent {
            r#type: name(message.r#type),
            id: number(message.id),
            uncompressed_size_bytes: number(message.uncompressed_size_bytes),
            compressed_size_bytes: number(message.compressed_size_bytes),
        })),
        _ => return Err("an event has both annotation and messageEvent"),
    };
    Ok(span::TimeEvent { time: event.time.map(|time| time.0), value })
}

fn links(Links { link, dropped_links_count }: Links) -> Result<span::Links, &'static str> {
    let list = link.unwrap_or_default().into_iter();
    let one = |link: Link| {
        Ok::<_, &'static str>(span::Link {
            trace_id: link.trace_id.unwrap_or_default(),
            span_id: link.span_id.unwrap_or_default(),
            r#type: name(link.r#type),
            attributes: link.attributes.map(attributes).transpose()?,
        })
    };
    Ok(span::Links { link: list.map(one).collect::<Result<_, _>>()?, dropped_links_count: number(dropped_links_count) })
}

fn stack_trace(StackTrace { stack_frames, stack_trace_hash_id }: StackTrace) -> proto::StackTrace {
    let frames = |StackFrames { frame, dropped_frames_count }: StackFrames| stack_trace::StackFrames {
        frame: frame.unwrap_or_default().into_iter().map(stack_frame).collect(),
        dropped_frames_count: number(dropped_frames_count),
    };
    proto::StackTrace { stack_frames: stack_frames.map(frames), stack_trace_hash_id: number(stack_trace_hash_id) }
}

fn stack_frame(frame: StackFrame) -> stack_trace::StackFrame {
    let module =
        |Module { module, build_id }: Module| proto::Module { module: module.map(text), build_id: build_id.map(text) };
    stack_trace::StackFrame {
        function_name: frame.function_name.map(text),
        original_function_name: frame.original_function_name.map(text),
        file_name: frame.file_name.map(text),
        line_number: number(frame.line_number),
        column_number: number(frame.column_number),
        load_module: frame.load_module.map(module),
        source_version: frame.source_version.map(text),
    }
}
