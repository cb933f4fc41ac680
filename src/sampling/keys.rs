//! Keys of traces: what policies tell them apart by, read from the one span of each that counts and hashed.
//!
//! Not a part of the scan, as it would be work for every span: a fragment of a trace has one span for each key that is
//! looked at, again, and most traces come in few fragments.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;
use smallvec::SmallVec;

use super::summary::{self, Candidate, Summary};
use crate::condition::{HTTP_STATUS_KEYS, Number, RPC_STATUS_KEYS};
use crate::config::settings::{KeyField, KeySpan, TraceKey};
use crate::otlp::scan::{Scope, SpanFact};
use crate::otlp::view::{self, AnyValue, Attributes, StatusCode};
use crate::otlp::wire::{Reader, Value};

/// Keys that all policies together may have: one for each kind of policy with keys, and some to spare. Each takes 32
/// bytes of every trace.
const KEYS_MAX: usize = 8;

const SERVICE_NAME: &str = "service.name";
const HTTP_ROUTE: &str = "http.route";
/// Alone it is ambiguous before semantic conventions 1.38, so both are read.
const RPC_KEYS: [&str; 2] = ["rpc.service", "rpc.method"];
const EXCEPTION_TYPE: &str = "exception.type";
const ERROR_TYPE: &str = "error.type";

/// The keys of all policies, in the order of their slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<Key>);

/// One key, with what is to be read for it.
#[derive(Clone, Debug)]
struct Key {
    key: TraceKey,
    span_attributes: Wanted,
    resource_attributes: Wanted,
}

/// The keys of attributes that are to be read.
#[derive(Clone, Debug, Default)]
struct Wanted {
    keys: Vec<String>,
    /// Bit `n` is set if a key of `n` bytes is among them; those of 64 and more begin anew.
    lengths: u64,
}

impl Wanted {
    fn add(&mut self, key: &str) {
        self.keys.push(key.to_owned());
        self.lengths |= 1 << (key.len() % 64);
    }

    fn has(&self, key: &[u8]) -> bool {
        self.lengths >> (key.len() % 64) & 1 == 1 && self.keys.iter().any(|wanted| wanted.as_bytes() == key)
    }
}

impl Keys {
    /// The slot of `key`; `None` if there are more than [`KEYS_MAX`]. Equal keys share one.
    pub(super) fn slot(&mut self, key: &TraceKey) -> Option<usize> {
        if let Some(slot) = self.0.iter().position(|known| known.key == *key) {
            return Some(slot);
        }
        self.0.push(Key::new(key));
        Some(self.0.len() - 1).filter(|&slot| slot < KEYS_MAX)
    }

    /// The memory that they take of each summary.
    pub(super) fn heap_bytes(&self) -> usize {
        summary::heap_bytes(self.0.len())
    }

    /// Notes the keys of some spans of a trace in the trace's `summary`. The spans stand in `body`.
    #[inline]
    pub(super) fn note<'a>(
        &self,
        summary: &mut Summary,
        spans: &(impl Iterator<Item = &'a SpanFact> + Clone),
        scopes: &[Scope],
        body: &[u8],
    ) {
        for (slot, key) in self.0.iter().enumerate() {
            let eligible = spans.clone().filter(|fact| key.key.of == KeySpan::Entry || fact.error);
            let Some(first) = eligible.clone().map(|fact| key.order(fact)).min() else { continue };
            for fact in eligible.filter(|fact| key.order(fact) == first) {
                let (second, start_unix_nano) = first;
                let scope = scopes.get(fact.scope as usize).copied().unwrap_or_default();
                let hash = key.hash(fact.span.of(body), scope.resource.of(body));
                summary.propose(slot, Candidate { second, start_unix_nano, hash, duration_ms: fact.duration_ms() });
            }
        }
    }
}

impl Key {
    fn new(key: &TraceKey) -> Self {
        let (mut span_attributes, mut resource_attributes) = (Wanted::default(), Wanted::default());
        let mut of_span = |keys: &[&str]| keys.iter().for_each(|key| span_attributes.add(key));
        for field in &key.fields {
            match field {
                KeyField::Service => resource_attributes.add(SERVICE_NAME),
                KeyField::Route => of_span(&[HTTP_ROUTE, RPC_KEYS[0], RPC_KEYS[1]]),
                KeyField::Status => of_span(&[HTTP_STATUS_KEYS, RPC_STATUS_KEYS].concat()),
                KeyField::Exception => of_span(&[ERROR_TYPE]),
                KeyField::Attribute(key) => {
                    of_span(&[key]);
                    resource_attributes.add(key);
                }
                KeyField::Name => {}
            }
        }
        Key { key: key.clone(), span_attributes, resource_attributes }
    }

    /// What a span's place among its trace's candidates begins with.
    fn order(&self, fact: &SpanFact) -> (bool, u64) {
        let second = self.key.of == KeySpan::Entry && !fact.root;
        (second, if fact.start_unix_nano == 0 { u64::MAX } else { fact.start_unix_nano })
    }

    /// The hash of the key's fields of a span.
    fn hash(&self, span: &[u8], resource: &[u8]) -> u64 {
        let source = Source::read(self, span, resource);
        // The same on every instance, and after a restart.
        let mut hasher = FixedState::default().build_hasher();
        self.key.fields.iter().for_each(|field| source.hash_field(field, &mut hasher));
        hasher.finish()
    }
}

/// What the keys of a span are made of.
struct Source<'a> {
    message: &'a [u8],
    name: &'a [u8],
    status: StatusCode,
    span: Found<'a>,
    resource: Found<'a>,
}

/// The attributes that are wanted; of those with the same key the first.
#[derive(Default)]
struct Found<'a>(SmallVec<[(&'a [u8], AnyValue<'a>); 8]>);

impl<'a> Found<'a> {
    #[inline]
    fn add(&mut self, wanted: &Wanted, (key, value): (&'a [u8], AnyValue<'a>)) {
        if wanted.has(key) && value != AnyValue::Empty && !self.0.iter().any(|(known, _)| *known == key) {
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

impl<'a> Source<'a> {
    fn read(key: &Key, message: &'a [u8], resource: &'a [u8]) -> Self {
        let mut source = Source {
            message,
            name: &[],
            status: StatusCode::Unset,
            span: Found::default(),
            resource: Found::default(),
        };
        let mut reader = Reader::new(message);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (5, Value::Len(v)) => source.name = v,
                (9, Value::Len(v)) => source.span.add(&key.span_attributes, view::key_value(v)),
                (15, Value::Len(v)) => (source.status, _) = view::status(v),
                _ => {}
            }
        }
        if !key.resource_attributes.keys.is_empty() {
            let attributes = Attributes::of_resource(resource).iter();
            attributes.for_each(|attribute| source.resource.add(&key.resource_attributes, attribute));
        }
        source
    }

    /// Hashes one field, with a number for where its value comes from.
    fn hash_field(&self, field: &KeyField, hasher: &mut impl Hasher) {
        let (origin, value) = match field {
            KeyField::Service => (0, self.resource.get(SERVICE_NAME)),
            KeyField::Name => (0, Some(AnyValue::String(self.name))),
            KeyField::Route => self.route(hasher),
            KeyField::Status => self.status(),
            KeyField::Exception => match self.exception() {
                Some(value) => (0, Some(value)),
                None => (1, self.span.get(ERROR_TYPE)),
            },
            KeyField::Attribute(key) => (0, self.span.get(key).or_else(|| self.resource.get(key))),
        };
        hasher.write_u8(origin);
        hash_value(value.unwrap_or(AnyValue::Empty), hasher);
    }

    fn route(&self, hasher: &mut impl Hasher) -> (u8, Option<AnyValue<'a>>) {
        if let Some(route) = self.span.get(HTTP_ROUTE) {
            return (0, Some(route));
        }
        let [service, method] = RPC_KEYS.map(|key| self.span.get(key));
        if service.is_none() && method.is_none() {
            return (2, Some(AnyValue::String(self.name)));
        }
        hash_value(service.unwrap_or(AnyValue::Empty), hasher);
        (1, method)
    }

    fn status(&self) -> (u8, Option<AnyValue<'a>>) {
        if let Some(code) = self.span.any_of(HTTP_STATUS_KEYS) {
            (0, Some(plain_number(code)))
        } else if let Some(code) = self.span.any_of(RPC_STATUS_KEYS) {
            (1, Some(plain_number(code)))
        } else {
            (2, Some(AnyValue::Int(self.status as i64)))
        }
    }

    fn exception(&self) -> Option<AnyValue<'a>> {
        let mut attributes = view::submessages(self.message, 11).flat_map(|event| Attributes::of_event(event).iter());
        let found = attributes.find(|(key, value)| *key == EXCEPTION_TYPE.as_bytes() && *value != AnyValue::Empty);
        found.map(|(_, value)| value)
    }
}

/// Some instrumentation sends status codes as strings.
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
        AnyValue::String(v) | AnyValue::Bytes(v) => v.hash(hasher),
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
