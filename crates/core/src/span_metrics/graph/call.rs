//! Reads what a span says about a call between services.

use std::sync::Arc;

use super::super::duration_nanos;
use super::super::label::{self, VALUE_BYTES_MAX};
use super::super::read::{self, keys, may_have_key, skip_attributes};
use crate::otlp::view::{self, AnyValue, StatusCode};
use crate::otlp::wire::{Reader, WireError};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// Attributes of a client that name a database, in the order in which they are asked.
const DATABASE: [&[u8]; 4] = [b"db.namespace", b"db.name", b"db.system.name", b"db.system"];

/// Attributes of a client that name a peer, in the order in which they are asked.
const PEER: [&[u8]; 3] = [b"peer.service", b"service.peer.name", b"server.address"];

/// Bit `n` is set if one of these keys has `n` bytes.
const KEY_LENGTHS: u64 = {
    let (mut lengths, mut at) = (0, 0);
    while at < DATABASE.len() {
        lengths |= 1 << DATABASE[at].len();
        at += 1;
    }
    at = 0;
    while at < PEER.len() {
        lengths |= 1 << PEER[at].len();
        at += 1;
    }
    lengths
};

/// The ids of a trace and of the client's span.
pub(super) type CallId = ([u8; 16], [u8; 8]);

/// A span of a client or of a server.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) place: CallPlace,
    pub(super) half: Half,
}

/// The place of a span in its call.
#[derive(Debug)]
pub(super) enum CallPlace {
    /// The span is a call to this database.
    Database(Arc<str>),
    /// The span is one half of this call.
    Between(CallId),
    /// The span is of a server, and has no parent.
    FromOutside,
}

/// One half of a call.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) is_server: bool,
    pub(super) service: Arc<str>,
    /// The peer that a client names.
    pub(super) peer: Option<Arc<str>>,
    pub(super) is_messaging: bool,
    pub(super) failed: bool,
    pub(super) nanos: u64,
    pub(super) weight: u64,
}

/// The parts of a span that the graph needs.
#[derive(Debug, Default)]
pub(super) struct GraphSpan<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) parent_span_id: &'a [u8],
    pub(super) kind: i32,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    pub(super) failed: bool,
    /// The values of [`DATABASE`] and of [`PEER`].
    pub(super) database: [&'a [u8]; DATABASE.len()],
    pub(super) peer: [&'a [u8]; PEER.len()],
}

impl Call {
    /// Reads the span of a trace that stands for `weight` traces. `service` is the [`name`] of its service. Returns `None` if
    /// it is of neither a client nor a server, or has no ids.
    pub(super) fn read(message: &[u8], service: &Arc<str>, weight: u64) -> Option<Self> {
        GraphSpan::read(message).call(service, weight)
    }
}

impl<'a> GraphSpan<'a> {
    fn read(message: &'a [u8]) -> Self {
        let mut found = GraphSpan::default();
        let mut reader = Reader::new(message);
        while let Ok(Some(key)) = reader.key()
            && found.field(key, &mut reader).is_ok()
        {
            skip_attributes(&mut reader, KEY_LENGTHS);
        }
        found
    }

    #[inline]
    fn field(&mut self, key: u32, reader: &mut Reader<'a>) -> Result<(), WireError> {
        match key {
            keys::ATTRIBUTES => {
                let attribute = reader.len_delimited()?;
                if may_have_key(attribute, KEY_LENGTHS) {
                    self.attribute(view::key_value(attribute));
                }
            }
            keys::TRACE_ID => self.trace_id = reader.len_delimited()?,
            keys::SPAN_ID => self.span_id = reader.len_delimited()?,
            keys::PARENT_SPAN_ID => self.parent_span_id = reader.len_delimited()?,
            keys::KIND => self.kind = reader.varint()? as i32,
            keys::START_TIME_UNIX_NANO => self.start_unix_nano = reader.fixed64()?,
            keys::END_TIME_UNIX_NANO => self.end_unix_nano = reader.fixed64()?,
            keys::STATUS => self.failed = view::status(reader.len_delimited()?).0 == StatusCode::Error,
            _ => _ = reader.value(key)?,
        }
        Ok(())
    }

    fn attribute(&mut self, (key, value): (&'a [u8], AnyValue<'a>)) {
        let AnyValue::String(value) = value else { return };
        let known = DATABASE.iter().zip(&mut self.database).chain(PEER.iter().zip(&mut self.peer));
        for (_, place) in known.filter(|(name, _)| **name == key) {
            *place = value;
        }
    }

    /// Returns the call that the span of this service belongs to.
    pub(super) fn call(&self, service: &Arc<str>, weight: u64) -> Option<Call> {
        let place = self.place()?;
        let half = Half {
            is_server: matches!(self.kind, SERVER | CONSUMER),
            service: Arc::clone(service),
            peer: first(&self.peer).map(name),
            is_messaging: matches!(self.kind, PRODUCER | CONSUMER),
            failed: self.failed,
            nanos: duration_nanos(self.start_unix_nano, self.end_unix_nano),
            weight,
        };
        Some(Call { place, half })
    }

    fn place(&self) -> Option<CallPlace> {
        if !(SERVER..=CONSUMER).contains(&self.kind) {
            return None;
        }
        if let Some(database) = first(&self.database).filter(|_| self.kind == CLIENT) {
            return Some(CallPlace::Database(name(database)));
        }
        match self.id() {
            Some(call) => Some(CallPlace::Between(call)),
            None => (self.kind == SERVER).then_some(CallPlace::FromOutside),
        }
    }

    /// Returns the id of the call that the span is a half of: its own for a client, and that of its parent for a server.
    fn id(&self) -> Option<CallId> {
        let id = if matches!(self.kind, CLIENT | PRODUCER) { self.span_id } else { self.parent_span_id };
        let id: [u8; 8] = id.try_into().ok().filter(|id| *id != [0; 8])?;
        Some((self.trace_id.try_into().ok()?, id))
    }
}

impl Half {
    /// Returns the bytes of the names.
    pub(super) fn bytes(&self) -> usize {
        self.service.len() + self.peer.as_ref().map_or(0, |peer| peer.len())
    }
}

fn first<'a>(values: &[&'a [u8]]) -> Option<&'a [u8]> {
    values.iter().copied().find(|value| !value.is_empty())
}

/// Returns the name of a service or a peer as a label.
pub(super) fn name(name: &[u8]) -> Arc<str> {
    let name = if name.is_empty() { read::UNKNOWN_SERVICE } else { name };
    if let (0..=VALUE_BYTES_MAX, Ok(name)) = (name.len(), std::str::from_utf8(name)) {
        return name.into();
    }
    let mut out = Vec::new();
    label::write_value(name, &mut out);
    label::split_value(&out).0.into()
}
