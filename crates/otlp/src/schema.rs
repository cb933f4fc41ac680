//! The messages that make up a request, as data, and the check of bytes against them.
//!
//! The types of the fields are those of `opentelemetry/proto/{collector/trace,trace,resource,common}/v1`, version 1.10.

use std::cell::Cell;
use std::ops::RangeInclusive;

use crate::fields::{
    any_value, array_value, entity_ref, event, export_trace_service_request, instrumentation_scope, key_value,
    key_value_list, link, resource, resource_spans, scope_spans, span, status,
};
use crate::wire::{Reader, WireError};

pub(super) struct Message {
    /// The type of each field, indexed by its number.
    fields: [Option<SchemaField>; NUMBERS],
    /// The numbers of the fields of which a message in canonical form has at most one, and that one only once. They are
    /// its singular submessage or the members of its `oneof`. No OTLP message has two such sets.
    pub(super) single: RangeInclusive<u32>,
}

/// One more than the largest field number, that of `Span.flags`.
const NUMBERS: usize = span::FLAGS as usize + 1;

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum SchemaField {
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
    /// A string. The check accepts strings that are not UTF-8.
    Text,
    Message(&'static Message),
}

use SchemaField::{Bytes, Fixed32, Fixed64, Message as Sub, Text, Varint};

/// The value of `single` for a message whose submessages are all repeated. No field has the number 0.
const NONE: RangeInclusive<u32> = 0..=0;

const fn message(single: RangeInclusive<u32>, known: &[(u32, SchemaField)]) -> Message {
    let mut fields = [None; NUMBERS];
    let mut i = 0;
    while i < known.len() {
        let (number, field) = known[i];
        fields[number as usize] = Some(field);
        i += 1;
    }
    Message { fields, single }
}

pub(super) static REQUEST: Message =
    message(NONE, &[(export_trace_service_request::RESOURCE_SPANS, Sub(&RESOURCE_SPANS))]);

pub(super) static RESOURCE_SPANS: Message = message(
    resource_spans::RESOURCE..=resource_spans::RESOURCE,
    &[
        (resource_spans::RESOURCE, Sub(&RESOURCE)),
        (resource_spans::SCOPE_SPANS, Sub(&SCOPE_SPANS)),
        (resource_spans::SCHEMA_URL, Text),
    ],
);

pub(super) static SCOPE_SPANS: Message = message(
    scope_spans::SCOPE..=scope_spans::SCOPE,
    &[(scope_spans::SCOPE, Sub(&SCOPE)), (scope_spans::SPANS, Sub(&SPAN)), (scope_spans::SCHEMA_URL, Text)],
);

pub(super) static SPAN: Message = message(
    span::STATUS..=span::STATUS,
    &[
        (span::TRACE_ID, Bytes),
        (span::SPAN_ID, Bytes),
        (span::TRACE_STATE, Text),
        (span::PARENT_SPAN_ID, Bytes),
        (span::NAME, Text),
        (span::KIND, Varint),
        (span::START_TIME_UNIX_NANO, Fixed64),
        (span::END_TIME_UNIX_NANO, Fixed64),
        (span::ATTRIBUTES, Sub(&KEY_VALUE)),
        (span::DROPPED_ATTRIBUTES_COUNT, Varint),
        (span::EVENTS, Sub(&EVENT)),
        (span::DROPPED_EVENTS_COUNT, Varint),
        (span::LINKS, Sub(&LINK)),
        (span::DROPPED_LINKS_COUNT, Varint),
        (span::STATUS, Sub(&STATUS)),
        (span::FLAGS, Fixed32),
    ],
);

static EVENT: Message = message(
    NONE,
    &[
        (event::TIME_UNIX_NANO, Fixed64),
        (event::NAME, Text),
        (event::ATTRIBUTES, Sub(&KEY_VALUE)),
        (event::DROPPED_ATTRIBUTES_COUNT, Varint),
    ],
);

static LINK: Message = message(
    NONE,
    &[
        (link::TRACE_ID, Bytes),
        (link::SPAN_ID, Bytes),
        (link::TRACE_STATE, Text),
        (link::ATTRIBUTES, Sub(&KEY_VALUE)),
        (link::DROPPED_ATTRIBUTES_COUNT, Varint),
        (link::FLAGS, Fixed32),
    ],
);

pub(super) static STATUS: Message = message(NONE, &[(status::MESSAGE, Text), (status::CODE, Varint)]);

pub(super) static RESOURCE: Message = message(
    NONE,
    &[
        (resource::ATTRIBUTES, Sub(&KEY_VALUE)),
        (resource::DROPPED_ATTRIBUTES_COUNT, Varint),
        (resource::ENTITY_REFS, Sub(&ENTITY_REF)),
    ],
);

static ENTITY_REF: Message = message(
    NONE,
    &[
        (entity_ref::SCHEMA_URL, Text),
        (entity_ref::TYPE, Text),
        (entity_ref::ID_KEYS, Text),
        (entity_ref::DESCRIPTION_KEYS, Text),
    ],
);

pub(super) static SCOPE: Message = message(
    NONE,
    &[
        (instrumentation_scope::NAME, Text),
        (instrumentation_scope::VERSION, Text),
        (instrumentation_scope::ATTRIBUTES, Sub(&KEY_VALUE)),
        (instrumentation_scope::DROPPED_ATTRIBUTES_COUNT, Varint),
    ],
);

pub(super) static KEY_VALUE: Message = message(
    key_value::VALUE..=key_value::VALUE,
    &[(key_value::KEY, Text), (key_value::VALUE, Sub(&ANY_VALUE)), (key_value::KEY_STRINDEX, Varint)],
);

pub(super) static ANY_VALUE: Message = message(
    any_value::STRING_VALUE..=any_value::STRING_VALUE_STRINDEX,
    &[
        (any_value::STRING_VALUE, Text),
        (any_value::BOOL_VALUE, Varint),
        (any_value::INT_VALUE, Varint),
        (any_value::DOUBLE_VALUE, Fixed64),
        (any_value::ARRAY_VALUE, Sub(&ARRAY)),
        (any_value::KVLIST_VALUE, Sub(&KEY_VALUES)),
        (any_value::BYTES_VALUE, Bytes),
        (any_value::STRING_VALUE_STRINDEX, Varint),
    ],
);

static ARRAY: Message = message(NONE, &[(array_value::VALUES, Sub(&ANY_VALUE))]);

static KEY_VALUES: Message = message(NONE, &[(key_value_list::VALUES, Sub(&KEY_VALUE))]);

/// Returns true if `message` is that of an attribute, or of an entry of a map.
pub(super) fn is_attribute(message: &Message) -> bool {
    std::ptr::eq(message, &KEY_VALUE)
}

impl Message {
    /// Returns the message type of field `number`, if that field is a submessage.
    pub(super) fn submessage(&self, number: u32) -> Option<&'static Message> {
        if let Some(Sub(message)) = self.field(number) { Some(message) } else { None }
    }

    /// Returns the type of field `number`, if the field is known.
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<SchemaField> {
        self.fields.get(number as usize).copied().flatten()
    }

    /// Checks a message of this type down to its innermost value.
    pub(super) fn check(&self, bytes: &[u8], level: NestingLevel<'_>) -> Result<(), WireError> {
        let mut reader = Reader::new(bytes);
        let mut singles = 0;
        while let Some(key) = reader.key()? {
            self.check_field(key, &mut reader, level)?;
            singles += u32::from(self.single.contains(&(key >> 3)));
        }
        if singles > 1 {
            level.split();
        }
        Ok(())
    }

    /// Reads and checks the value of the field with this key. An unknown field is skipped.
    pub(super) fn check_field(
        &self,
        key: u32,
        reader: &mut Reader<'_>,
        level: NestingLevel<'_>,
    ) -> Result<(), WireError> {
        let value = reader.value(key)?;
        match self.field(key >> 3) {
            Some(Varint) => value.varint().map(|_| ()),
            Some(Fixed32) => value.fixed32().map(|_| ()),
            Some(Fixed64) => value.fixed64().map(|_| ()),
            Some(Bytes | Text) => value.len_delimited().map(|_| ()),
            Some(Sub(message)) => message.check(value.len_delimited()?, level.enter()?),
            // prost, too, needs one level to skip an unknown field.
            None => level.enter().map(|_| ()),
        }
    }
}

/// The nesting level of a message in the request.
#[derive(Clone, Copy)]
pub(super) struct NestingLevel<'c> {
    /// The number of levels that may still follow, counted as prost counts them.
    left: u32,
    split: &'c Cell<bool>,
}

impl<'c> NestingLevel<'c> {
    /// Returns the level of a message that may have others up to `depth_max` deep in it. `split` is set to true if the
    /// message is not in canonical form.
    pub(super) fn new(depth_max: u32, split: &'c Cell<bool>) -> Self {
        NestingLevel { left: depth_max, split }
    }

    /// Returns the level of a submessage.
    ///
    /// # Errors
    /// [`WireError::Depth`] if no level is left.
    #[inline]
    pub(super) fn enter(self) -> Result<Self, WireError> {
        let left = self.left.checked_sub(1).ok_or(WireError::Depth)?;
        Ok(NestingLevel { left, ..self })
    }

    /// Sets `slot` to the singular submessage `bytes`. If `slot` was set before, it notes that the submessage is split.
    #[inline]
    pub(super) fn single<'a>(self, slot: &mut Option<&'a [u8]>, bytes: &'a [u8]) {
        if slot.replace(bytes).is_some() {
            self.split();
        }
    }

    /// Notes that a singular submessage was sent in several parts.
    #[cold]
    pub(super) fn split(self) {
        self.split.set(true);
    }
}
