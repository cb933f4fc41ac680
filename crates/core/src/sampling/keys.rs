//! Keys of traces, by which policies distinguish them. A key is read from one span of the trace and hashed.
//!
//! The scan does not read span attributes for keys, because that would be work for every span. Instead, one span of
//! each fragment is read again for each key, and most traces come in few fragments. The scan does read resource
//! attributes for keys, because any number of spans may share a resource.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;
use smallvec::SmallVec;

use super::summary::{self, Candidate, Summary};
use crate::condition::{HTTP_STATUS_KEYS, Number, RPC_STATUS_KEYS};
use crate::otlp::fields::span;
use crate::otlp::scan::{Scan, SpanFact};
use crate::otlp::view::{self, AnyValue, Attributes, StatusCode};
use crate::otlp::visited;
use crate::otlp::wire::{Reader, WireValue};
use crate::sampling::settings::{KeyField, KeySpan, TraceKey};

/// Maximum number of distinct keys of all policies together: one for each type of policy with keys, and a few more.
/// Each key takes 32 bytes in every summary.
pub(super) const KEYS_MAX: usize = 8;

const SERVICE_NAME: &str = "service.name";
const HTTP_ROUTE: &str = "http.route";
/// Both are read, because before semantic conventions 1.38 `rpc.method` alone is ambiguous.
const RPC_KEYS: [&str; 2] = ["rpc.service", "rpc.method"];
const EXCEPTION_TYPE: &str = "exception.type";
const ERROR_TYPE: &str = "error.type";

/// The keys of all policies.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyKeys {
    /// The keys in the order of their slots.
    slots: Vec<PolicyKey>,
    /// The resource attributes that the keys are made of. The scan notes the hash of each one once for a resource.
    resource_attributes: Wanted,
}

/// One key, with the attributes to read for it.
#[derive(Clone, Debug)]
struct PolicyKey {
    key: TraceKey,
    span_attributes: Wanted,
    /// For each field of the key, the place in `resource_attributes` of the attribute that it may be read from.
    resource_places: Vec<Option<usize>>,
}

/// The keys of the attributes to read.
#[derive(Clone, Debug, Default)]
struct Wanted {
    keys: Vec<String>,
    /// Bit `n` is set if one of the keys has `n` bytes, modulo 64.
    lengths: u64,
}

impl Wanted {
    /// Adds `key` if it is absent. Returns its place.
    fn add(&mut self, key: &str) -> usize {
        self.place(key.as_bytes()).unwrap_or_else(|| {
            self.keys.push(key.to_owned());
            self.lengths |= 1 << (key.len() % 64);
            self.keys.len() - 1
        })
    }

    #[inline]
    fn place(&self, key: &[u8]) -> Option<usize> {
        let may_have = self.lengths >> (key.len() % 64) & 1 == 1;
        if may_have { self.keys.iter().position(|wanted| wanted.as_bytes() == key) } else { None }
    }
}

impl PolicyKeys {
    /// Returns the slot of `key`; `None` if there are more than [`KEYS_MAX`]. Equal keys share a slot.
    pub(super) fn slot(&mut self, key: &TraceKey) -> Option<usize> {
        if let Some(slot) = self.slots.iter().position(|known| known.key == *key) {
            return Some(slot);
        }
        self.slots.push(PolicyKey::new(key, &mut self.resource_attributes));
        Some(self.slots.len() - 1).filter(|&slot| slot < KEYS_MAX)
    }

    /// Returns the bytes that the keys take on the heap for each summary.
    pub(super) fn heap_bytes(&self) -> usize {
        summary::heap_bytes(self.slots.len())
    }

    /// Returns the number of resource attributes that the keys are made of.
    pub(super) fn resource_attributes(&self) -> usize {
        self.resource_attributes.keys.len()
    }

    /// Notes the hash of a resource attribute in `hashes`, if a key is made of it. `hashes` has one element for each of
    /// `resource_attributes`. If a sender repeats an attribute, the first one with a value counts.
    #[inline]
    pub(super) fn note_resource_attribute(&self, hashes: &mut [u64], key: &[u8], value: AnyValue<'_>) {
        if let Some(place) = self.resource_attributes.place(key)
            && let Some(hash) = hashes.get_mut(place)
            && *hash == ABSENT
        {
            *hash = hash_of(value);
        }
    }

    /// Notes the keys of `spans`, which belong to one trace, in its `summary`. `scan` is the scan that found the spans
    /// in `body`.
    #[inline]
    pub(super) fn note<'a>(
        &self,
        summary: &mut Summary,
        spans: &(impl Iterator<Item = &'a SpanFact> + Clone),
        scan: &Scan,
        body: &[u8],
    ) {
        for (slot, key) in self.slots.iter().enumerate() {
            let eligible = spans.clone().filter(|fact| key.key.of == KeySpan::Entry || fact.error);
            let Some(first) = eligible.clone().map(|fact| key.order(fact)).min() else { continue };
            for fact in eligible.filter(|fact| key.order(fact) == first) {
                let (second, start_unix_nano) = first;
                let hash = key.hash(fact.span.of(body), scan.keys_of(fact.scope));
                summary.propose(slot, Candidate { second, start_unix_nano, hash, duration_ms: fact.duration_ms() });
            }
        }
    }
}

impl PolicyKey {
    fn new(key: &TraceKey, resource_attributes: &mut Wanted) -> Self {
        let mut span_attributes = Wanted::default();
        let mut of_span = |keys: &[&str]| keys.iter().for_each(|key| _ = span_attributes.add(key));
        let mut place = |field: &KeyField| match field {
            KeyField::Service => Some(resource_attributes.add(SERVICE_NAME)),
            KeyField::Attribute(key) => {
                of_span(&[key]);
                Some(resource_attributes.add(key))
            }
            KeyField::Route => {
                of_span(&[HTTP_ROUTE, RPC_KEYS[0], RPC_KEYS[1]]);
                None
            }
            KeyField::Status => {
                of_span(&[HTTP_STATUS_KEYS, RPC_STATUS_KEYS].concat());
                None
            }
            KeyField::Exception => {
                of_span(&[ERROR_TYPE]);
                None
            }
            KeyField::Name => None,
        };
        let resource_places = key.fields.iter().map(&mut place).collect();
        PolicyKey { key: key.clone(), span_attributes, resource_places }
    }

    /// Returns the first two fields of the span's [`Candidate`]: `second` and the start.
    fn order(&self, fact: &SpanFact) -> (bool, u64) {
        let second = self.key.of == KeySpan::Entry && !fact.root;
        (second, if fact.start_unix_nano == 0 { u64::MAX } else { fact.start_unix_nano })
    }

    /// Returns the hash of the key's fields for `span`. `resource` has the hashes of the resource's attributes.
    fn hash(&self, span: &[u8], resource: &[u64]) -> u64 {
        let source = KeySource::read(self, span);
        let mut hasher = FixedState::default().build_hasher();
        for (field, place) in self.key.fields.iter().zip(&self.resource_places) {
            let of_resource = place.and_then(|place| resource.get(place)).copied().unwrap_or(ABSENT);
            source.hash_field(field, of_resource, &mut hasher);
        }
        hasher.finish()
    }
}

/// The parts of a span that a key is made of.
struct KeySource<'a> {
    message: &'a [u8],
    name: &'a [u8],
    status: StatusCode,
    attributes: FoundAttributes<'a>,
}

/// The wanted attributes that a span has. If a sender repeats an attribute, the first one with a value counts.
#[derive(Default)]
struct FoundAttributes<'a>(SmallVec<[(&'a [u8], AnyValue<'a>); 8]>);

impl<'a> FoundAttributes<'a> {
    #[inline]
    fn add(&mut self, wanted: &Wanted, (key, value): (&'a [u8], AnyValue<'a>)) {
        let is_wanted = wanted.place(key).is_some() && value != AnyValue::Empty;
        if is_wanted && !self.0.iter().any(|(known, _)| *known == key) {
            self.0.push((key, value));
        }
    }

    fn get(&self, key: &str) -> Option<AnyValue<'a>> {
        self.0.iter().find(|(known, _)| *known == key.as_bytes()).map(|&(_, value)| value)
    }

    fn any_of(&self, keys: [&str; 2]) -> Option<AnyValue<'a>> {
        keys.iter().find_map(|key| self.get(key))
    }
}

impl<'a> KeySource<'a> {
    fn read(key: &PolicyKey, message: &'a [u8]) -> Self {
        let mut source =
            KeySource { message, name: &[], status: StatusCode::Unset, attributes: FoundAttributes::default() };
        let mut reader = Reader::new(message);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (span::NAME, WireValue::Len(v)) => source.name = v,
                (span::ATTRIBUTES, WireValue::Len(v)) => {
                    source.attributes.add(&key.span_attributes, view::key_value(v));
                }
                (span::STATUS, WireValue::Len(v)) => (source.status, _) = view::status(v),
                _ => {}
            }
        }
        source
    }

    /// Hashes one field of the key, with a number for the origin of its value. `of_resource` is the hash of the
    /// resource attribute for this field.
    fn hash_field(&self, field: &KeyField, of_resource: u64, hasher: &mut impl Hasher) {
        let of_span = |value: Option<AnyValue<'_>>| value.map_or(ABSENT, hash_of);
        let (origin, hash) = match field {
            KeyField::Service => (0, of_resource),
            KeyField::Name => (0, hash_of(AnyValue::String(self.name))),
            KeyField::Route => {
                let (origin, value) = self.route(hasher);
                (origin, of_span(value))
            }
            KeyField::Status => {
                let (origin, value) = self.status();
                (origin, of_span(value))
            }
            KeyField::Exception => match self.exception() {
                Some(value) => (0, hash_of(value)),
                None => (1, of_span(self.attributes.get(ERROR_TYPE))),
            },
            KeyField::Attribute(key) => (0, self.attributes.get(key).map_or(of_resource, hash_of)),
        };
        hasher.write_u8(origin);
        hasher.write_u64(hash);
    }

    fn route(&self, hasher: &mut impl Hasher) -> (u8, Option<AnyValue<'a>>) {
        if let Some(route) = self.attributes.get(HTTP_ROUTE) {
            return (0, Some(route));
        }
        let [service, method] = RPC_KEYS.map(|key| self.attributes.get(key));
        if service.is_none() && method.is_none() {
            return (2, Some(AnyValue::String(self.name)));
        }
        hasher.write_u64(service.map_or(ABSENT, hash_of));
        (1, method)
    }

    fn status(&self) -> (u8, Option<AnyValue<'a>>) {
        if let Some(code) = self.attributes.any_of(HTTP_STATUS_KEYS) {
            (0, Some(plain_number(code)))
        } else if let Some(code) = self.attributes.any_of(RPC_STATUS_KEYS) {
            (1, Some(plain_number(code)))
        } else {
            (2, Some(AnyValue::Int(self.status as i64)))
        }
    }

    fn exception(&self) -> Option<AnyValue<'a>> {
        let mut attributes =
            view::submessages(self.message, span::EVENTS).flat_map(|event| Attributes::of_event(event).iter());
        let found = attributes.find(|(key, value)| *key == EXCEPTION_TYPE.as_bytes() && *value != AnyValue::Empty);
        found.map(|(_, value)| value)
    }
}

/// The hash of an absent value. No other value has it.
const ABSENT: u64 = 0;

/// Returns the hash of a value. It is the same on every instance, and after a restart.
fn hash_of(value: AnyValue<'_>) -> u64 {
    if value == AnyValue::Empty {
        return ABSENT;
    }
    let mut hasher = FixedState::default().build_hasher();
    hash_value(value, &mut hasher);
    hasher.finish().max(1)
}

/// Returns a string with a whole number as an integer, because some instrumentation sends status codes as strings.
/// Returns other values unchanged.
fn plain_number(value: AnyValue<'_>) -> AnyValue<'_> {
    match value {
        AnyValue::String(text) => match Number::parse(text) {
            Some(Number::Int(code)) => AnyValue::Int(code),
            _ => value,
        },
        _ => value,
    }
}

fn hash_value(value: AnyValue<'_>, hasher: &mut impl Hasher) {
    std::mem::discriminant(&value).hash(hasher);
    match value {
        AnyValue::Empty => {}
        AnyValue::String(v) | AnyValue::Bytes(v) => {
            visited::add(v.len());
            v.hash(hasher);
        }
        AnyValue::Bool(v) => v.hash(hasher),
        AnyValue::Int(v) => v.hash(hasher),
        AnyValue::Double(v) => v.to_bits().hash(hasher),
        AnyValue::Array(v) => {
            v.iter().for_each(|value| hash_value(value, hasher));
            hash_value(AnyValue::Empty, hasher);
        }
        AnyValue::KeyValues(v) => {
            for (key, value) in v.iter() {
                key.hash(hasher);
                hash_value(value, hasher);
            }
            hash_value(AnyValue::Empty, hasher);
        }
    }
}

#[cfg(test)]
mod tests;
