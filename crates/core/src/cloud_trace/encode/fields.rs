//! The field numbers of the messages of Cloud Trace v2 that the encoder writes. A test compares them with the
//! definitions below `proto/`.

use crate::otlp::fields::messages;

messages! {
    "google/devtools/cloudtrace/v2/tracing.proto" {
        batch_write_spans_request("google.devtools.cloudtrace.v2.BatchWriteSpansRequest") {
            NAME = 1,
            SPANS = 2,
        }
    }
    "google/devtools/cloudtrace/v2/trace.proto" {
        span("google.devtools.cloudtrace.v2.Span") {
            NAME = 1,
            SPAN_ID = 2,
            PARENT_SPAN_ID = 3,
            DISPLAY_NAME = 4,
            START_TIME = 5,
            END_TIME = 6,
            ATTRIBUTES = 7,
            STACK_TRACE = 8,
            TIME_EVENTS = 9,
            LINKS = 10,
            STATUS = 11,
            SAME_PROCESS_AS_PARENT_SPAN = 12,
            CHILD_SPAN_COUNT = 13,
            SPAN_KIND = 14,
        }
        attributes("google.devtools.cloudtrace.v2.Span.Attributes") {
            ATTRIBUTE_MAP = 1,
            DROPPED_ATTRIBUTES_COUNT = 2,
        }
        attribute_map_entry("google.devtools.cloudtrace.v2.Span.Attributes.AttributeMapEntry") {
            KEY = 1,
            VALUE = 2,
        }
        attribute_value("google.devtools.cloudtrace.v2.AttributeValue") {
            STRING_VALUE = 1,
            INT_VALUE = 2,
            BOOL_VALUE = 3,
        }
        truncatable_string("google.devtools.cloudtrace.v2.TruncatableString") {
            VALUE = 1,
            TRUNCATED_BYTE_COUNT = 2,
        }
        time_events("google.devtools.cloudtrace.v2.Span.TimeEvents") {
            TIME_EVENT = 1,
            DROPPED_ANNOTATIONS_COUNT = 2,
            DROPPED_MESSAGE_EVENTS_COUNT = 3,
        }
        time_event("google.devtools.cloudtrace.v2.Span.TimeEvent") {
            TIME = 1,
            ANNOTATION = 2,
            MESSAGE_EVENT = 3,
        }
        annotation("google.devtools.cloudtrace.v2.Span.TimeEvent.Annotation") {
            DESCRIPTION = 1,
            ATTRIBUTES = 2,
        }
        links("google.devtools.cloudtrace.v2.Span.Links") {
            LINK = 1,
            DROPPED_LINKS_COUNT = 2,
        }
        link("google.devtools.cloudtrace.v2.Span.Link") {
            TRACE_ID = 1,
            SPAN_ID = 2,
            TYPE = 3,
            ATTRIBUTES = 4,
        }
    }
    "google/rpc/status.proto" {
        status("google.rpc.Status") {
            CODE = 1,
            MESSAGE = 2,
            DETAILS = 3,
        }
    }
    "google/protobuf/timestamp.proto" {
        timestamp("google.protobuf.Timestamp") {
            SECONDS = 1,
            NANOS = 2,
        }
    }
    "google/protobuf/wrappers.proto" {
        bool_value("google.protobuf.BoolValue") {
            VALUE = 1,
        }
    }
}
