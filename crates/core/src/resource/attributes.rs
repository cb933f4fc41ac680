//! The attributes of one resource.

use std::collections::HashSet;

use super::cache::is_cut;
use crate::otlp::fields::{key_value, resource as fields};
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::{Reader, WireValue};
use crate::otlp::write;

/// Maximum number of attributes that are read from one resource. The others are dropped and counted. Cloud Trace
/// accepts as many for a whole span, so more could never be exported.
pub const ATTRIBUTES_MAX: usize = 1_024;

/// The attributes of a resource, in order. Each key occurs once. If a sender repeats a key, the first one counts, as in
/// the Collector wherever it looks up an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceAttributes {
    entries: Vec<AttributeEntry>,
    dropped_count: u32,
    /// True if [`ResourceAttributes::read`] left out attributes.
    is_cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AttributeEntry {
    key: Vec<u8>,
    /// An encoded `AnyValue` message.
    value: Vec<u8>,
}

impl ResourceAttributes {
    /// Reads the attributes of `resource`, the head ([`super::cache::shared_head`]) of an encoded `Resource` message.
    pub(super) fn read(resource: &[u8]) -> Self {
        let mut attributes = ResourceAttributes::default();
        let mut seen = HashSet::new();
        let mut reader = Reader::new(resource);
        let (mut sent_dropped, mut over) = (0, 0u32);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (fields::ATTRIBUTES, WireValue::Len(pair)) => {
                    let (key, value) = raw_key_value(pair);
                    if seen.contains(key) {
                        continue;
                    }
                    if attributes.entries.len() == ATTRIBUTES_MAX {
                        over = over.saturating_add(1);
                        continue;
                    }
                    seen.insert(key);
                    attributes.entries.push(AttributeEntry { key: key.to_vec(), value: value.to_vec() });
                }
                (fields::DROPPED_ATTRIBUTES_COUNT, WireValue::Varint(count)) => sent_dropped = count as u32,
                _ => {}
            }
        }
        // The number of attributes after the head is not known. They count as one.
        over = over.saturating_add(u32::from(is_cut(resource)));
        attributes.is_cut = over > 0;
        attributes.dropped_count = over.saturating_add(sent_dropped);
        attributes
    }

    /// Iterates over the keys (raw bytes) and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], AnyValue<'_>)> {
        self.entries.iter().map(|entry| (&entry.key[..], AnyValue::new(&entry.value)))
    }

    /// Returns the value of `key`; `None` if the resource does not have it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<AnyValue<'_>> {
        self.position(key.as_bytes()).map(|i| AnyValue::new(&self.entries[i].value))
    }

    /// Returns true if there are no attributes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns true if attributes were left out when the resource was read.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the number of lost attributes: those that the sender dropped, those over [`ATTRIBUTES_MAX`], and one if
    /// the resource is longer than the head that is read.
    #[must_use]
    pub fn dropped_count(&self) -> u32 {
        self.dropped_count
    }

    /// Appends the fields of a `Resource` message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for AttributeEntry { key, value } in &self.entries {
            let len = write::field_len(key_value::KEY, key.len()) + write::field_len(key_value::VALUE, value.len());
            write::header(out, fields::ATTRIBUTES, len);
            write::bytes(out, key_value::KEY, key);
            write::bytes(out, key_value::VALUE, value);
        }
        write::int(out, fields::DROPPED_ATTRIBUTES_COUNT, u64::from(self.dropped_count));
    }

    /// Removes each attribute whose key is one of `keys` and whose value is blank.
    pub fn remove_blank(&mut self, keys: &[&[u8]]) {
        self.entries.retain(|entry| !(keys.contains(&&entry.key[..]) && AnyValue::new(&entry.value).is_blank()));
    }

    /// Removes the attributes for whose key `picks` returns true.
    pub(super) fn remove_where(&mut self, picks: impl Fn(&[u8]) -> bool) {
        self.entries.retain(|entry| !picks(&entry.key));
    }

    /// Replaces the values of the attributes for whose key `picks` returns true. If `replacement` returns `None` the
    /// value stays.
    pub(super) fn change_where(
        &mut self,
        picks: impl Fn(&[u8]) -> bool,
        replacement: impl Fn(AnyValue<'_>) -> Option<Vec<u8>>,
    ) {
        for entry in self.entries.iter_mut().filter(|entry| picks(&entry.key)) {
            if let Some(value) = replacement(AnyValue::new(&entry.value)) {
                entry.value = value;
            }
        }
    }

    /// Returns the value of `key` as an encoded `AnyValue` message.
    pub(super) fn raw(&self, key: &[u8]) -> Option<&[u8]> {
        self.position(key).map(|i| &self.entries[i].value[..])
    }

    /// Sets `key` to `value`, an encoded `AnyValue` message. A new key is added at the end.
    pub(super) fn set(&mut self, key: &[u8], value: Vec<u8>) {
        match self.position(key) {
            Some(i) => self.entries[i].value = value,
            None => self.entries.push(AttributeEntry { key: key.to_vec(), value }),
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.entries.retain(|entry| entry.key != key);
    }

    /// Renames `key` to `name`. No other attribute may have that name.
    pub(super) fn rename(&mut self, key: &[u8], name: &[u8]) {
        if let Some(i) = self.position(key) {
            self.entries[i].key = name.to_vec();
        }
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }
}

/// Returns the key and the value of a `KeyValue` message. The value is an encoded `AnyValue` message.
fn raw_key_value(pair: &[u8]) -> (&[u8], &[u8]) {
    let last = |number| view::submessages(pair, number).last().unwrap_or_default();
    (last(key_value::KEY), last(key_value::VALUE))
}
