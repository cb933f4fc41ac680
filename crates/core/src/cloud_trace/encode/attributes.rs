//! Attribute maps. Keys are renamed and checked, each key is written once, and values get the types of Cloud Trace.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use super::fields::{attribute_map_entry, attribute_value, attributes as fields, truncatable_string};
use super::names::KeyNames;
use super::text::{Clip, Renderer, mended};
use super::write;
use super::{ATTRIBUTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::otlp::altered::Alteration;
use crate::otlp::view::{self, AnyValue};

/// The number of attributes of a message that fit on the stack.
const INLINE_COUNT: usize = 32;

/// Attributes that have no meaning when they are empty. As in Google's exporter, they are not written then.
pub(super) const IDENTITIES: [&[u8]; 3] = [b"service.name", b"service.namespace", b"service.instance.id"];

/// The attributes of one map while they are collected.
#[derive(Debug)]
pub(super) struct AttributeList<'a> {
    names: &'a KeyNames,
    items: SmallVec<[Attribute<'a>; INLINE_COUNT]>,
    dropped_count: u64,
    altered: Alteration,
    seen: KeyFilter,
    may_repeat: bool,
}

/// One attribute, under the name that Cloud Trace gives its key.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) hash: u64,
    pub(super) value: AnyValue<'a>,
    /// True unless another attribute with the same key is written instead.
    pub(super) live: bool,
}

impl Attribute<'_> {
    /// Writes the attribute as an entry. If the span has no room for it, writes nothing and returns false.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, scratch: &mut Scratch) -> bool {
        let start = out.len();
        entry(out, &self.key, self.value, &mut scratch.renderer);
        scratch.has_room_or_cut(out, start)
    }
}

impl<'a> AttributeList<'a> {
    /// Creates an empty list whose keys are renamed by `names`.
    pub(super) fn new(names: &'a KeyNames) -> Self {
        AttributeList::beside(&KeyFilter::default(), names)
    }

    /// Creates an empty list that also notices keys that repeat those in `seen`.
    pub(super) fn beside(seen: &KeyFilter, names: &'a KeyNames) -> Self {
        let (items, altered) = (SmallVec::new(), Alteration::default());
        AttributeList { names, items, dropped_count: 0, altered, seen: seen.clone(), may_repeat: false }
    }

    /// Appends an attribute under the name that Cloud Trace gives its key. The attribute is dropped and counted if its
    /// key is too long, if its key is empty (which OTLP forbids), or if the list is full. The limit also keeps a
    /// hostile span from costing more than its bytes.
    #[inline]
    pub(super) fn push(&mut self, key: &'a [u8], value: AnyValue<'a>) {
        if value.is_blank() && IDENTITIES.contains(&key) {
            return;
        }
        let raw = self.names.get(key);
        // A key that is too long now stays too long, because mending never makes a key shorter.
        if raw.is_empty() || raw.len() > KEY_BYTES_MAX || self.items.len() == ATTRIBUTES_MAX {
            return self.drop_one();
        }
        let key = mended(raw);
        self.altered.utf8 |= matches!(key, Cow::Owned(_));
        if key.len() > KEY_BYTES_MAX {
            return self.drop_one();
        }
        let hash = key_hash(&key);
        self.may_repeat |= self.seen.insert(hash);
        self.items.push(Attribute { key, hash, value, live: true });
    }

    /// Counts `count` attributes that were lost before they reached this list.
    pub(super) fn add_dropped(&mut self, count: u32) {
        self.dropped_count += u64::from(count);
    }

    fn drop_one(&mut self) {
        self.add_dropped(1);
        self.altered.cut = true;
    }

    /// Returns the changes that were made to keys, and true for `cut` if an attribute was dropped.
    #[inline]
    pub(super) fn altered(&self) -> Alteration {
        self.altered
    }

    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Returns true if a key may occur twice, in this list or also in `seen`. If it returns false, no key does.
    #[inline]
    pub(super) fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// Marks each attribute as not live unless it is the last one with its key.
    pub(super) fn dedupe(&mut self, keys: &mut KeyIndex) {
        if !self.may_repeat {
            return;
        }
        keys.clear();
        for i in 0..self.items.len() {
            if let Some(earlier) = keys.replace(&self.items, i) {
                self.items[earlier].live = false;
            }
        }
    }

    /// Returns the live attributes, which are to be written, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.items.iter().filter(|item| item.live)
    }

    /// Returns the live attributes in order, so that the caller can mark some of them as not live.
    pub(super) fn live_mut(&mut self) -> impl Iterator<Item = &mut Attribute<'a>> {
        self.items.iter_mut().filter(|item| item.live)
    }
}

/// Writes the attributes of an event or a link as field `number`, a message `Attributes`. Writes nothing if there are
/// no attributes and none were dropped. `dropped_count` is the number of attributes that the sender dropped.
pub(super) fn attribute_map<'a>(
    out: &mut Vec<u8>,
    number: u32,
    attributes: view::Attributes<'a>,
    dropped_count: u32,
    names: &KeyNames,
    scratch: &mut Scratch,
) {
    let mut list = AttributeList::new(names);
    for (key, value) in attributes.iter() {
        list.push(key, value);
    }
    list.add_dropped(dropped_count);
    scratch.renderer.note(list.altered());
    if list.items.is_empty() && list.dropped_count == 0 {
        return;
    }
    list.dedupe(&mut scratch.keys);
    write::message(out, number, |out| {
        let without_room = list.live().filter(|item| !item.write(out, scratch)).count();
        write::count(out, fields::DROPPED_ATTRIBUTES_COUNT, list.dropped_count + without_room as u64);
    });
}

/// The buffers that are reused for each span.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) keys: KeyIndex,
    pub(super) renderer: Renderer,
    /// The position in the output buffer at which the attributes, events and links of the span must end at the latest.
    pub(super) end: usize,
}

impl Scratch {
    /// Removes all that was written to `out` from `start` on if the span has no room for it. Returns false in this
    /// case.
    #[inline]
    pub(super) fn has_room_or_cut(&mut self, out: &mut Vec<u8>, start: usize) -> bool {
        let has_room = out.len() <= self.end;
        if !has_room {
            out.truncate(start);
            self.renderer.note(Alteration { cut: true, ..Alteration::default() });
        }
        has_room
    }
}

/// A set of keys in which a lookup may give a false yes, but never a false no. It is enough for nearly every span,
/// because most spans repeat no key. With 26 keys (a usual span with its resource), about 8 % of the sets give a false
/// yes.
#[derive(Clone, Debug)]
pub(super) struct KeyFilter {
    bits: [u64; Self::WORDS],
}

impl KeyFilter {
    const WORDS: usize = 64;

    /// Inserts a key by its hash. Returns true if it may have been inserted before.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        let word = &mut self.bits[(hash >> 6) as usize % Self::WORDS];
        let before = *word;
        *word |= 1 << (hash % 64);
        before == *word
    }
}

impl Default for KeyFilter {
    fn default() -> Self {
        KeyFilter { bits: [0; Self::WORDS] }
    }
}

/// An item that has a key and the hash of the key.
pub(super) trait HasKey {
    fn key(&self) -> &str;
    fn hash(&self) -> u64;
}

impl HasKey for Attribute<'_> {
    fn key(&self) -> &str {
        &self.key
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

/// A hash index of the keys in a list that is stored elsewhere.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    table: HashTable<u32>,
}

impl KeyIndex {
    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    /// Notes item `i` under its key. Returns the index of the item that was noted there before. Lists have far fewer
    /// than 2^32 items.
    pub(super) fn replace<T: HasKey>(&mut self, items: &[T], i: usize) -> Option<usize> {
        let item = &items[i];
        let same = |&j: &u32| items[j as usize].key() == item.key();
        match self.table.entry(item.hash(), same, |&j| items[j as usize].hash()) {
            Entry::Occupied(mut place) => Some(std::mem::replace(place.get_mut(), i as u32) as usize),
            Entry::Vacant(place) => {
                place.insert(i as u32);
                None
            }
        }
    }

    /// Returns the index of the item with this key.
    #[inline]
    pub(super) fn find<T: HasKey>(&self, items: &[T], key: &str, hash: u64) -> Option<usize> {
        self.table.find(hash, |&j| items[j as usize].key() == key).map(|&j| j as usize)
    }
}

/// Returns the hash of a key. It is the same in every encoder, because encoders may share an encoded resource. It
/// differs in each process, so that senders cannot choose keys whose hashes collide.
#[inline]
pub(super) fn key_hash(key: &str) -> u64 {
    const SEED: u64 = 0;
    let mut hasher = SeedableRandomState::with_seed(SEED, SharedSeed::global_random()).build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// Writes an entry of `attribute_map`.
#[inline]
pub(super) fn entry(out: &mut Vec<u8>, key: &str, value: AnyValue<'_>, renderer: &mut Renderer) {
    cut_entry(out, key, value, VALUE_BYTES_MAX, renderer);
}

/// Writes an entry of `attribute_map` with a text of at most `max` bytes.
#[inline]
pub(super) fn cut_entry(out: &mut Vec<u8>, key: &str, value: AnyValue<'_>, max: usize, renderer: &mut Renderer) {
    match value {
        AnyValue::Bool(v) => scalar_entry(out, key, attribute_value::BOOL_VALUE, u64::from(v)),
        AnyValue::Int(v) => scalar_entry(out, key, attribute_value::INT_VALUE, v.cast_unsigned()),
        _ => string_entry(out, key, renderer.value(value, max)),
    }
}

/// Writes an entry whose value is the varint field `number` of `AttributeValue`. A zero is written as well, because the
/// field is a member of a oneof.
fn scalar_entry(out: &mut Vec<u8>, key: &str, number: u32, value: u64) {
    entry_header(out, key, write::varint_field_len(number, value));
    write::varint(out, number, value);
}

#[inline]
fn string_entry(out: &mut Vec<u8>, key: &str, text: Clip<'_>) {
    let text_len = truncatable_len(text);
    entry_header(out, key, write::field_len(attribute_value::STRING_VALUE, text_len));
    write::header(out, attribute_value::STRING_VALUE, text_len);
    truncatable(out, text);
}

/// Writes an entry up to the header of its value, including that header. The value is an `AttributeValue` of
/// `value_len` bytes.
#[inline]
fn entry_header(out: &mut Vec<u8>, key: &str, value_len: usize) {
    let len =
        write::field_len(attribute_map_entry::KEY, key.len()) + write::field_len(attribute_map_entry::VALUE, value_len);
    write::header(out, fields::ATTRIBUTE_MAP, len);
    write::bytes(out, attribute_map_entry::KEY, key.as_bytes());
    write::header(out, attribute_map_entry::VALUE, value_len);
}

#[inline]
fn truncatable_len(text: Clip<'_>) -> usize {
    let (text_len, cut_count) = (text.bytes.len(), write::clamped(text.cut_count));
    let value = if text_len == 0 { 0 } else { write::field_len(truncatable_string::VALUE, text_len) };
    let cut = write::varint_field_len(truncatable_string::TRUNCATED_BYTE_COUNT, cut_count);
    value + if cut_count == 0 { 0 } else { cut }
}

/// Writes the fields of a `TruncatableString`.
#[inline]
fn truncatable(out: &mut Vec<u8>, text: Clip<'_>) {
    if !text.bytes.is_empty() {
        write::bytes(out, truncatable_string::VALUE, text.bytes);
    }
    write::count(out, truncatable_string::TRUNCATED_BYTE_COUNT, text.cut_count);
}

/// Writes a `TruncatableString` as field `number`.
pub(super) fn truncatable_string(out: &mut Vec<u8>, number: u32, text: Clip<'_>) {
    write::header(out, number, truncatable_len(text));
    truncatable(out, text);
}
