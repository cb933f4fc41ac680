//! The messages of an `ExportTraceServiceRequest` as data: for each JSON key its field number and type on the wire.
//!
//! Types and names are those of `opentelemetry/proto/{collector/trace,trace,resource,common}/v1` (1.10). A key may be
//! lowerCamelCase, which OTLP/JSON asks for, or the original name, which proto3 JSON parsers accept as well
//! (<https://protobuf.dev/programming-guides/json/>). The string indices of the profiles signal are left out, because
//! all other signals must treat them as absent.

use crate::fields::{
    any_value, array_value, entity_ref, event, export_trace_service_request, instrumentation_scope, key_value,
    key_value_list, link, resource, resource_spans, scope_spans, span, status,
};

pub(super) struct JsonMessage {
    /// The name of the message in the `.proto` files.
    pub(super) name: &'static str,
    /// The fields, in the order in which senders usually write them.
    pub(super) fields: &'static [JsonField],
    /// The key that leads to the spans, if the message is on the way to them. Without this check, an object with only
    /// unknown keys would count as one without spans.
    pub(super) spans_key: Option<&'static str>,
    /// True if all fields are members of one `oneof`.
    pub(super) oneof: bool,
}

/// A field of a message.
pub(super) struct JsonField {
    /// The lowerCamelCase name.
    pub(super) name: &'static str,
    /// The name in the `.proto` files.
    pub(super) original_name: &'static str,
    pub(super) number: u32,
    pub(super) kind: JsonType,
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum JsonType {
    String,
    /// A `bytes` field that is an id: hexadecimal in OTLP/JSON.
    Id,
    /// Any other `bytes` field: base64 in JSON.
    Bytes,
    Bool,
    Int64,
    Uint32,
    Fixed32,
    Fixed64,
    Double,
    /// An enum, with the names of its values. The values count up from zero.
    Enum(&'static [&'static str]),
    Message(&'static JsonMessage),
    Messages(&'static JsonMessage),
    Strings,
}

impl JsonMessage {
    /// Returns the index of the field that `key` names. The search begins at `hint`, because most senders write the
    /// keys in the same order.
    #[inline]
    pub(super) fn find(&self, key: &[u8], hint: usize) -> Option<usize> {
        let is_key = |field: &JsonField| field.name.as_bytes() == key || field.original_name.as_bytes() == key;
        let (before, after) = self.fields.split_at_checked(hint).unwrap_or((self.fields, &[]));
        let found = after.iter().position(is_key).map(|i| i + before.len());
        found.or_else(|| before.iter().position(is_key))
    }
}

const fn message(name: &'static str, fields: &'static [JsonField]) -> JsonMessage {
    JsonMessage { name, fields, spans_key: None, oneof: false }
}

/// Returns a field whose two names are the same.
const fn field(name: &'static str, number: u32, kind: JsonType) -> JsonField {
    renamed(name, name, number, kind)
}

const fn renamed(name: &'static str, original_name: &'static str, number: u32, kind: JsonType) -> JsonField {
    JsonField { name, original_name, number, kind }
}

pub(super) static REQUEST: JsonMessage = JsonMessage {
    spans_key: Some("resourceSpans"),
    ..message(
        "ExportTraceServiceRequest",
        &[renamed(
            "resourceSpans",
            "resource_spans",
            export_trace_service_request::RESOURCE_SPANS,
            JsonType::Messages(&RESOURCE_SPANS),
        )],
    )
};

static RESOURCE_SPANS: JsonMessage = JsonMessage {
    spans_key: Some("scopeSpans"),
    ..message(
        "ResourceSpans",
        &[
            field("resource", resource_spans::RESOURCE, JsonType::Message(&RESOURCE)),
            renamed("scopeSpans", "scope_spans", resource_spans::SCOPE_SPANS, JsonType::Messages(&SCOPE_SPANS)),
            renamed("schemaUrl", "schema_url", resource_spans::SCHEMA_URL, JsonType::String),
        ],
    )
};

static SCOPE_SPANS: JsonMessage = JsonMessage {
    spans_key: Some("spans"),
    ..message(
        "ScopeSpans",
        &[
            field("scope", scope_spans::SCOPE, JsonType::Message(&SCOPE)),
            field("spans", scope_spans::SPANS, JsonType::Messages(&SPAN)),
            renamed("schemaUrl", "schema_url", scope_spans::SCHEMA_URL, JsonType::String),
        ],
    )
};

static SPAN: JsonMessage = message(
    "Span",
    &[
        renamed("traceId", "trace_id", span::TRACE_ID, JsonType::Id),
        renamed("spanId", "span_id", span::SPAN_ID, JsonType::Id),
        renamed("traceState", "trace_state", span::TRACE_STATE, JsonType::String),
        renamed("parentSpanId", "parent_span_id", span::PARENT_SPAN_ID, JsonType::Id),
        field("flags", span::FLAGS, JsonType::Fixed32),
        field("name", span::NAME, JsonType::String),
        field("kind", span::KIND, JsonType::Enum(&SPAN_KINDS)),
        renamed("startTimeUnixNano", "start_time_unix_nano", span::START_TIME_UNIX_NANO, JsonType::Fixed64),
        renamed("endTimeUnixNano", "end_time_unix_nano", span::END_TIME_UNIX_NANO, JsonType::Fixed64),
        field("attributes", span::ATTRIBUTES, JsonType::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", span::DROPPED_ATTRIBUTES_COUNT, JsonType::Uint32),
        field("events", span::EVENTS, JsonType::Messages(&EVENT)),
        renamed("droppedEventsCount", "dropped_events_count", span::DROPPED_EVENTS_COUNT, JsonType::Uint32),
        field("links", span::LINKS, JsonType::Messages(&LINK)),
        renamed("droppedLinksCount", "dropped_links_count", span::DROPPED_LINKS_COUNT, JsonType::Uint32),
        field("status", span::STATUS, JsonType::Message(&STATUS)),
    ],
);

static SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

static EVENT: JsonMessage = message(
    "Event",
    &[
        renamed("timeUnixNano", "time_unix_nano", event::TIME_UNIX_NANO, JsonType::Fixed64),
        field("name", event::NAME, JsonType::String),
        field("attributes", event::ATTRIBUTES, JsonType::Messages(&KEY_VALUE)),
        renamed(
            "droppedAttributesCount",
            "dropped_attributes_count",
            event::DROPPED_ATTRIBUTES_COUNT,
            JsonType::Uint32,
        ),
    ],
);

static LINK: JsonMessage = message(
    "Link",
    &[
        renamed("traceId", "trace_id", link::TRACE_ID, JsonType::Id),
        renamed("spanId", "span_id", link::SPAN_ID, JsonType::Id),
        renamed("traceState", "trace_state", link::TRACE_STATE, JsonType::String),
        field("attributes", link::ATTRIBUTES, JsonType::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", link::DROPPED_ATTRIBUTES_COUNT, JsonType::Uint32),
        field("flags", link::FLAGS, JsonType::Fixed32),
    ],
);

static STATUS: JsonMessage = message(
    "Status",
    &[field("message", status::MESSAGE, JsonType::String), field("code", status::CODE, JsonType::Enum(&STATUS_CODES))],
);

static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

static RESOURCE: JsonMessage = message(
    "Resource",
    &[
        field("attributes", resource::ATTRIBUTES, JsonType::Messages(&KEY_VALUE)),
        renamed(
            "droppedAttributesCount",
            "dropped_attributes_count",
            resource::DROPPED_ATTRIBUTES_COUNT,
            JsonType::Uint32,
        ),
        renamed("entityRefs", "entity_refs", resource::ENTITY_REFS, JsonType::Messages(&ENTITY_REF)),
    ],
);

static ENTITY_REF: JsonMessage = message(
    "EntityRef",
    &[
        renamed("schemaUrl", "schema_url", entity_ref::SCHEMA_URL, JsonType::String),
        field("type", entity_ref::TYPE, JsonType::String),
        renamed("idKeys", "id_keys", entity_ref::ID_KEYS, JsonType::Strings),
        renamed("descriptionKeys", "description_keys", entity_ref::DESCRIPTION_KEYS, JsonType::Strings),
    ],
);

static SCOPE: JsonMessage = message(
    "InstrumentationScope",
    &[
        field("name", instrumentation_scope::NAME, JsonType::String),
        field("version", instrumentation_scope::VERSION, JsonType::String),
        field("attributes", instrumentation_scope::ATTRIBUTES, JsonType::Messages(&KEY_VALUE)),
        renamed(
            "droppedAttributesCount",
            "dropped_attributes_count",
            instrumentation_scope::DROPPED_ATTRIBUTES_COUNT,
            JsonType::Uint32,
        ),
    ],
);

static KEY_VALUE: JsonMessage = message(
    "KeyValue",
    &[field("key", key_value::KEY, JsonType::String), field("value", key_value::VALUE, JsonType::Message(&ANY_VALUE))],
);

static ANY_VALUE: JsonMessage = JsonMessage {
    oneof: true,
    ..message(
        "AnyValue",
        &[
            renamed("stringValue", "string_value", any_value::STRING_VALUE, JsonType::String),
            renamed("boolValue", "bool_value", any_value::BOOL_VALUE, JsonType::Bool),
            renamed("intValue", "int_value", any_value::INT_VALUE, JsonType::Int64),
            renamed("doubleValue", "double_value", any_value::DOUBLE_VALUE, JsonType::Double),
            renamed("arrayValue", "array_value", any_value::ARRAY_VALUE, JsonType::Message(&ARRAY_VALUE)),
            renamed("kvlistValue", "kvlist_value", any_value::KVLIST_VALUE, JsonType::Message(&KEY_VALUE_LIST)),
            renamed("bytesValue", "bytes_value", any_value::BYTES_VALUE, JsonType::Bytes),
        ],
    )
};

static ARRAY_VALUE: JsonMessage =
    message("ArrayValue", &[field("values", array_value::VALUES, JsonType::Messages(&ANY_VALUE))]);

static KEY_VALUE_LIST: JsonMessage =
    message("KeyValueList", &[field("values", key_value_list::VALUES, JsonType::Messages(&KEY_VALUE))]);
