//! The attributes of one resource.

use std::collections::HashSet;

use super::cache::is_cut;
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::{Reader, Value};
use crate::otlp::write;

/// Attributes that are read of one resource; what comes behind them is dropped and counted. As many as Cloud Trace
/// takes of a whole span, so that more could never be exported.
pub const ATTRIBUTES_MAX: usize = 1_024;

/// The attributes of a resource, in order. Each key occurs once: of a key that was sent twice the first counts, as
/// it does wherever the Collector looks an attribute up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    entries: Vec<Entry>,
    dropped_count: u32,
    /// Some were left out here.
    is_cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Vec<u8>,
    /// A message `AnyValue`.
    value: Vec<u8>,
}

impl Attributes {
    /// Reads the message `Resource`, as far as it is looked at ([`super::cache::shared_head`]).
    pub(super) fn read(resource: &[u8]) -> Self {
        let mut attributes = Attributes::default();
        let mut seen = HashSet::new();
        let mut reader = Reader::new(resource);
        let (mut sent_dropped, mut over) = (0, 0u32);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (1, Value::Len(pair)) => {
                    let (key, value) = raw_key_value(pair);
                    if seen.contains(key) {
                        continue;
                    }
                    if attributes.entries.len() == ATTRIBUTES_MAX {
                        over = over.saturating_add(1);
                        continue;
                    }
                    seen.insert(key);
                    attributes.entries.push(Entry { key: key.to_vec(), value: value.to_vec() });
                }
                (2, Value::Varint(count)) => sent_dropped = count as u32,
                _ => {}
            }
        }
        // Behind the part that is looked at there may be any number.
        over = over.saturating_add(u32::from(is_cut(resource)));
        attributes.is_cut = over > 0;
        attributes.dropped_count = over.saturating_add(sent_dropped);
        attributes
    }

    /// Keys (raw bytes) and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], AnyValue<'_>)> {
        self.entries.iter().map(|entry| (&entry.key[..], AnyValue::new(&entry.value)))
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<AnyValue<'_>> {
        self.position(key.as_bytes()).map(|i| AnyValue::new(&self.entries[i].value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether attributes were left out here.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Attributes that were lost: before they came here, or over [`ATTRIBUTES_MAX`], and one for all that is beyond the part that
    /// is looked at.
    #[must_use]
    pub fn dropped_count(&self) -> u32 {
        self.dropped_count
    }

    /// Appends the message `Resource`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for Entry { key, value } in &self.entries {
            write::header(out, 1, write::field_len(key.len()) + write::field_len(value.len()));
            write::bytes(out, 1, key);
            write::bytes(out, 2, value);
        }
        write::int(out, 2, u64::from(self.dropped_count));
    }

    /// Removes those of `keys` that are blank.
    pub fn remove_blank(&mut self, keys: &[&[u8]]) {
        self.entries.retain(|entry| !(keys.contains(&&entry.key[..]) && AnyValue::new(&entry.value).is_blank()));
    }

    /// Removes those whose keys `picks` names.
    pub(super) fn remove_where(&mut self, picks: impl Fn(&[u8]) -> bool) {
        self.entries.retain(|entry| !picks(&entry.key));
    }

    /// Replaces the values whose keys `picks` names, where there is a replacement.
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

    /// The value of `key` as a message `AnyValue`.
    pub(super) fn raw(&self, key: &[u8]) -> Option<&[u8]> {
        self.position(key).map(|i| &self.entries[i].value[..])
    }

    /// Sets `key` to the message `AnyValue` `value`, in its place if it is there, behind the others if not.
    pub(super) fn set(&mut self, key: &[u8], value: Vec<u8>) {
        match self.position(key) {
            Some(i) => self.entries[i].value = value,
            None => self.entries.push(Entry { key: key.to_vec(), value }),
        }
    }

    /// Removes `key`.
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.entries.retain(|entry| entry.key != key);
    }

    /// Calls `key` by a name that nothing has.
    pub(super) fn rename(&mut self, key: &[u8], name: &[u8]) {
        if let Some(i) = self.position(key) {
            self.entries[i].key = name.to_vec();
        }
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }
}

/// Key and value of a `KeyValue`, the value still as a message `AnyValue`.
fn raw_key_value(pair: &[u8]) -> (&[u8], &[u8]) {
    let last = |number| view::submessages(pair, number).last().unwrap_or_default();
    (last(1), last(2))
}
