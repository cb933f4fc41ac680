//! The messages that make up a request, as data, and the check of bytes against them.
//!
//! The fields are those of `opentelemetry/proto/{collector/trace,trace,resource,common}/v1`, version 1.10.

use std::cell::Cell;
use std::ops::RangeInclusive;

use crate::otlp::wire::{Reader, WireError};

pub(super) struct Message {
    /// The fields in the order of their numbers, without gaps.
    fields: &'static [Field],
    /// The number of the first field.
    first: u32,
    /// The numbers of the fields of which a message in canonical form has at most one, and that one only once. They are
    /// its singular submessage or the members of its `oneof`. No OTLP message has two such sets.
    pub(super) single: RangeInclusive<u32>,
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
    /// A string. The check accepts strings that are not UTF-8.
    Text,
    Message(&'static Message),
}

use Field::{Bytes, Fixed32, Fixed64, Message as Sub, Text, Varint};

/// The value of `single` for a message whose submessages are all repeated. No field has the number 0.
const NONE: RangeInclusive<u32> = 0..=0;

pub(super) static REQUEST: Message = Message { first: 1, single: NONE, fields: &[Sub(&RESOURCE_SPANS)] };

pub(super) static RESOURCE_SPANS: Message =
    Message { first: 1, single: 1..=1, fields: &[Sub(&RESOURCE), Sub(&SCOPE_SPANS), Text] };

pub(super) static SCOPE_SPANS: Message = Message { first: 1, single: 1..=1, fields: &[Sub(&SCOPE), Sub(&SPAN), Text] };

pub(super) static SPAN: Message = Message {
    first: 1,
    single: 15..=15,
    fields: &[
        Bytes,           // trace_id
        Bytes,           // span_id
        Text,            // trace_state
        Bytes,           // parent_span_id
        Text,            // name
        Varint,          // kind
        Fixed64,         // start_time_unix_nano
        Fixed64,         // end_time_unix_nano
        Sub(&KEY_VALUE), // attributes
        Varint,          // dropped_attributes_count
        Sub(&EVENT),     // events
        Varint,          // dropped_events_count
        Sub(&LINK),      // links
        Varint,          // dropped_links_count
        Sub(&STATUS),    // status
        Fixed32,         // flags
    ],
};

static EVENT: Message = Message { first: 1, single: NONE, fields: &[Fixed64, Text, Sub(&KEY_VALUE), Varint] };

static LINK: Message =
    Message { first: 1, single: NONE, fields: &[Bytes, Bytes, Text, Sub(&KEY_VALUE), Varint, Fixed32] };

pub(super) static STATUS: Message = Message { first: 2, single: NONE, fields: &[Text, Varint] };

pub(super) static RESOURCE: Message =
    Message { first: 1, single: NONE, fields: &[Sub(&KEY_VALUE), Varint, Sub(&ENTITY_REF)] };

static ENTITY_REF: Message = Message { first: 1, single: NONE, fields: &[Text, Text, Text, Text] };

pub(super) static SCOPE: Message = Message { first: 1, single: NONE, fields: &[Text, Text, Sub(&KEY_VALUE), Varint] };

pub(super) static KEY_VALUE: Message = Message { first: 1, single: 2..=2, fields: &[Text, Sub(&ANY_VALUE), Varint] };

pub(super) static ANY_VALUE: Message = Message {
    first: 1,
    single: 1..=8,
    fields: &[Text, Varint, Varint, Fixed64, Sub(&ARRAY), Sub(&KEY_VALUES), Bytes, Varint],
};

static ARRAY: Message = Message { first: 1, single: NONE, fields: &[Sub(&ANY_VALUE)] };

static KEY_VALUES: Message = Message { first: 1, single: NONE, fields: &[Sub(&KEY_VALUE)] };

impl Message {
    /// Returns the message type of field `number`, if that field is a submessage.
    pub(super) fn submessage(&self, number: u32) -> Option<&'static Message> {
        if let Some(Sub(message)) = self.field(number) { Some(message) } else { None }
    }

    /// Returns the type of field `number`, if the field is known.
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<Field> {
        self.fields.get(number.checked_sub(self.first)? as usize).copied()
    }

    /// Checks a message of this type down to its innermost value.
    pub(super) fn check(&self, bytes: &[u8], level: Level<'_>) -> Result<(), WireError> {
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
    pub(super) fn check_field(&self, key: u32, reader: &mut Reader<'_>, level: Level<'_>) -> Result<(), WireError> {
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
pub(super) struct Level<'c> {
    /// The number of levels that may still follow, counted as prost counts them.
    left: u32,
    split: &'c Cell<bool>,
}

impl<'c> Level<'c> {
    /// Returns the level of a message that may have others up to `depth_max` deep in it. `split` is set to true if the
    /// message is not in canonical form.
    pub(super) fn new(depth_max: u32, split: &'c Cell<bool>) -> Self {
        Level { left: depth_max, split }
    }

    /// Returns the level of a submessage.
    ///
    /// # Errors
    /// [`WireError::Depth`] if no level is left.
    #[inline]
    pub(super) fn enter(self) -> Result<Self, WireError> {
        let left = self.left.checked_sub(1).ok_or(WireError::Depth)?;
        Ok(Level { left, ..self })
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
