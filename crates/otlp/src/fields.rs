//! The field numbers of OTLP's messages, each at its only place in this program. A test compares them with the
//! definitions below `proto/` (1.10).
//!
//! A module for each message, a constant for each field, named like the field.

/// Declares a module for each message, with the number of each of its fields. The text before a module is the file that
/// defines the message; the text in brackets is the full name of the message.
#[doc(hidden)]
#[macro_export]
macro_rules! messages {
    ($($file:literal { $($module:ident($message:literal) { $($field:ident = $number:literal),+ $(,)? })+ })+) => {
        $($(
            #[doc = concat!("`", $message, "` (`", $file, "`).")]
            pub mod $module {
                $(
                    #[doc = concat!("The number of the field `", stringify!($field), "`.")]
                    pub const $field: u32 = $number;
                )+
            }
        )+)+

        /// For each message its file, its full name, and the names and numbers of its fields.
        #[cfg(test)]
        pub(crate) const DECLARED: &[$crate::testing::declared::Declared] = &[
            $($(($file, $message, &[$((stringify!($field), $module::$field)),+]),)+)+
        ];
    };
}
pub use crate::messages;

messages! {
    "opentelemetry/proto/collector/trace/v1/trace_service.proto" {
        export_trace_service_request("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest") {
            RESOURCE_SPANS = 1,
        }
        export_trace_service_response("opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse") {
            PARTIAL_SUCCESS = 1,
        }
        export_trace_partial_success("opentelemetry.proto.collector.trace.v1.ExportTracePartialSuccess") {
            REJECTED_SPANS = 1,
            ERROR_MESSAGE = 2,
        }
    }
    "opentelemetry/proto/trace/v1/trace.proto" {
        resource_spans("opentelemetry.proto.trace.v1.ResourceSpans") {
            RESOURCE = 1,
            SCOPE_SPANS = 2,
            SCHEMA_URL = 3,
        }
        scope_spans("opentelemetry.proto.trace.v1.ScopeSpans") {
            SCOPE = 1,
            SPANS = 2,
            SCHEMA_URL = 3,
        }
        span("opentelemetry.proto.trace.v1.Span") {
            TRACE_ID = 1,
            SPAN_ID = 2,
            TRACE_STATE = 3,
            PARENT_SPAN_ID = 4,
            NAME = 5,
            KIND = 6,
            START_TIME_UNIX_NANO = 7,
            END_TIME_UNIX_NANO = 8,
            ATTRIBUTES = 9,
            DROPPED_ATTRIBUTES_COUNT = 10,
            EVENTS = 11,
            DROPPED_EVENTS_COUNT = 12,
            LINKS = 13,
            DROPPED_LINKS_COUNT = 14,
            STATUS = 15,
            FLAGS = 16,
        }
        event("opentelemetry.proto.trace.v1.Span.Event") {
            TIME_UNIX_NANO = 1,
            NAME = 2,
            ATTRIBUTES = 3,
            DROPPED_ATTRIBUTES_COUNT = 4,
        }
        link("opentelemetry.proto.trace.v1.Span.Link") {
            TRACE_ID = 1,
            SPAN_ID = 2,
            TRACE_STATE = 3,
            ATTRIBUTES = 4,
            DROPPED_ATTRIBUTES_COUNT = 5,
            FLAGS = 6,
        }
        status("opentelemetry.proto.trace.v1.Status") {
            MESSAGE = 2,
            CODE = 3,
        }
    }
    "opentelemetry/proto/resource/v1/resource.proto" {
        resource("opentelemetry.proto.resource.v1.Resource") {
            ATTRIBUTES = 1,
            DROPPED_ATTRIBUTES_COUNT = 2,
            ENTITY_REFS = 3,
        }
    }
    "opentelemetry/proto/common/v1/common.proto" {
        any_value("opentelemetry.proto.common.v1.AnyValue") {
            STRING_VALUE = 1,
            BOOL_VALUE = 2,
            INT_VALUE = 3,
            DOUBLE_VALUE = 4,
            ARRAY_VALUE = 5,
            KVLIST_VALUE = 6,
            BYTES_VALUE = 7,
            STRING_VALUE_STRINDEX = 8,
        }
        array_value("opentelemetry.proto.common.v1.ArrayValue") {
            VALUES = 1,
        }
        key_value_list("opentelemetry.proto.common.v1.KeyValueList") {
            VALUES = 1,
        }
        key_value("opentelemetry.proto.common.v1.KeyValue") {
            KEY = 1,
            VALUE = 2,
            KEY_STRINDEX = 3,
        }
        instrumentation_scope("opentelemetry.proto.common.v1.InstrumentationScope") {
            NAME = 1,
            VERSION = 2,
            ATTRIBUTES = 3,
            DROPPED_ATTRIBUTES_COUNT = 4,
        }
        entity_ref("opentelemetry.proto.common.v1.EntityRef") {
            SCHEMA_URL = 1,
            TYPE = 2,
            ID_KEYS = 3,
            DESCRIPTION_KEYS = 4,
        }
    }
}
