//! The messages of an `ExportTraceServiceRequest` as data: for each JSON key its field number and type on the wire.
//!
//! Numbers, types and names are those of `opentelemetry/proto/{collector/trace,trace,resource,common}/v1` (1.10). A key
//! may be lowerCamelCase, which OTLP/JSON asks for, or the original name, which proto3 JSON parsers accept as well
//! (<https://protobuf.dev/programming-guides/json/>). The string indices of the profiles signal are left out, because
//! other signals must treat them as absent.

pub(super) struct Message {
    /// The name of the message in the `.proto` files.
    pub(super) name: &'static str,
    /// The fields, in the order in which senders usually write them.
    pub(super) fields: &'static [Field],
    /// The key that leads to the spans, if the message is on the way to them. Without this check, an object with only
    /// unknown keys would count as one without spans.
    pub(super) spans_key: Option<&'static str>,
    /// True if all fields are members of one `oneof`.
    pub(super) oneof: bool,
}

/// A field of a message.
pub(super) struct Field {
    /// The lowerCamelCase name.
    pub(super) name: &'static str,
    /// The name in the `.proto` files.
    pub(super) original_name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum Kind {
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
    Message(&'static Message),
    Messages(&'static Message),
    Strings,
}

impl Message {
    /// Returns the index of the field that `key` names. The search begins at `hint`, because most senders write the
    /// keys in the same order.
    #[inline]
    pub(super) fn find(&self, key: &[u8], hint: usize) -> Option<usize> {
        let is_key = |field: &Field| field.name.as_bytes() == key || field.original_name.as_bytes() == key;
        let (before, after) = self.fields.split_at_checked(hint).unwrap_or((self.fields, &[]));
        let found = after.iter().position(is_key).map(|i| i + before.len());
        found.or_else(|| before.iter().position(is_key))
    }
}

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields, spans_key: None, oneof: false }
}

/// Returns a field whose two names are the same.
const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    renamed(name, name, number, kind)
}

const fn renamed(name: &'static str, original_name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, original_name, number, kind }
}

pub(super) static REQUEST: Message = Message {
    spans_key: Some("resourceSpans"),
    ..message(
        "ExportTraceServiceRequest",
        &[renamed("resourceSpans", "resource_spans", 1, Kind::Messages(&RESOURCE_SPANS))],
    )
};

static RESOURCE_SPANS: Message = Message {
    spans_key: Some("scopeSpans"),
    ..message(
        "ResourceSpans",
        &[
            field("resource", 1, Kind::Message(&RESOURCE)),
            renamed("scopeSpans", "scope_spans", 2, Kind::Messages(&SCOPE_SPANS)),
            renamed("schemaUrl", "schema_url", 3, Kind::String),
        ],
    )
};

static SCOPE_SPANS: Message = Message {
    spans_key: Some("spans"),
    ..message(
        "ScopeSpans",
        &[
            field("scope", 1, Kind::Message(&SCOPE)),
            field("spans", 2, Kind::Messages(&SPAN)),
            renamed("schemaUrl", "schema_url", 3, Kind::String),
        ],
    )
};

static SPAN: Message = message(
    "Span",
    &[
        renamed("traceId", "trace_id", 1, Kind::Id),
        renamed("spanId", "span_id", 2, Kind::Id),
        renamed("traceState", "trace_state", 3, Kind::String),
        renamed("parentSpanId", "parent_span_id", 4, Kind::Id),
        field("flags", 16, Kind::Fixed32),
        field("name", 5, Kind::String),
        field("kind", 6, Kind::Enum(&SPAN_KINDS)),
        renamed("startTimeUnixNano", "start_time_unix_nano", 7, Kind::Fixed64),
        renamed("endTimeUnixNano", "end_time_unix_nano", 8, Kind::Fixed64),
        field("attributes", 9, Kind::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", 10, Kind::Uint32),
        field("events", 11, Kind::Messages(&EVENT)),
        renamed("droppedEventsCount", "dropped_events_count", 12, Kind::Uint32),
        field("links", 13, Kind::Messages(&LINK)),
        renamed("droppedLinksCount", "dropped_links_count", 14, Kind::Uint32),
        field("status", 15, Kind::Message(&STATUS)),
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

static EVENT: Message = message(
    "Event",
    &[
        renamed("timeUnixNano", "time_unix_nano", 1, Kind::Fixed64),
        field("name", 2, Kind::String),
        field("attributes", 3, Kind::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", 4, Kind::Uint32),
    ],
);

static LINK: Message = message(
    "Link",
    &[
        renamed("traceId", "trace_id", 1, Kind::Id),
        renamed("spanId", "span_id", 2, Kind::Id),
        renamed("traceState", "trace_state", 3, Kind::String),
        field("attributes", 4, Kind::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", 5, Kind::Uint32),
        field("flags", 6, Kind::Fixed32),
    ],
);

static STATUS: Message =
    message("Status", &[field("message", 2, Kind::String), field("code", 3, Kind::Enum(&STATUS_CODES))]);

static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

static RESOURCE: Message = message(
    "Resource",
    &[
        field("attributes", 1, Kind::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", 2, Kind::Uint32),
        renamed("entityRefs", "entity_refs", 3, Kind::Messages(&ENTITY_REF)),
    ],
);

static ENTITY_REF: Message = message(
    "EntityRef",
    &[
        renamed("schemaUrl", "schema_url", 1, Kind::String),
        field("type", 2, Kind::String),
        renamed("idKeys", "id_keys", 3, Kind::Strings),
        renamed("descriptionKeys", "description_keys", 4, Kind::Strings),
    ],
);

static SCOPE: Message = message(
    "InstrumentationScope",
    &[
        field("name", 1, Kind::String),
        field("version", 2, Kind::String),
        field("attributes", 3, Kind::Messages(&KEY_VALUE)),
        renamed("droppedAttributesCount", "dropped_attributes_count", 4, Kind::Uint32),
    ],
);

static KEY_VALUE: Message =
    message("KeyValue", &[field("key", 1, Kind::String), field("value", 2, Kind::Message(&ANY_VALUE))]);

static ANY_VALUE: Message = Message {
    oneof: true,
    ..message(
        "AnyValue",
        &[
            renamed("stringValue", "string_value", 1, Kind::String),
            renamed("boolValue", "bool_value", 2, Kind::Bool),
            renamed("intValue", "int_value", 3, Kind::Int64),
            renamed("doubleValue", "double_value", 4, Kind::Double),
            renamed("arrayValue", "array_value", 5, Kind::Message(&ARRAY_VALUE)),
            renamed("kvlistValue", "kvlist_value", 6, Kind::Message(&KEY_VALUE_LIST)),
            renamed("bytesValue", "bytes_value", 7, Kind::Bytes),
        ],
    )
};

static ARRAY_VALUE: Message = message("ArrayValue", &[field("values", 1, Kind::Messages(&ANY_VALUE))]);

static KEY_VALUE_LIST: Message = message("KeyValueList", &[field("values", 1, Kind::Messages(&KEY_VALUE))]);
