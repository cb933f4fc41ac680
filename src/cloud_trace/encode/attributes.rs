//! Attribute maps: keys renamed and checked, each key once, values as Cloud Trace has them.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use super::names::KeyNames;
use super::text::{Clip, Renderer, mended};
use super::write;
use super::{ATTRIBUTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::otlp::altered::Alteration;
use crate::otlp::view::{self, AnyValue};

/// Attributes of a message that fit on the stack.
const INLINE_COUNT: usize = 32;

/// Attributes that say nothing when they are empty: they are not written then, as Google's exporter does not.
pub(super) const IDENTITIES: [&[u8]; 3] = [b"service.name", b"service.namespace", b"service.instance.id"];

/// The attributes of one map, as they are being collected.
#[derive(Debug)]
pub(super) struct AttributeList<'a> {
    names: &'a KeyNames,
    items: SmallVec<[Attribute<'a>; INLINE_COUNT]>,
    dropped_count: u64,
    altered: Alteration,
    seen: KeyFilter,
    may_repeat: bool,
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) hash: u64,
    pub(super) value: AnyValue<'a>,
    /// False if another attribute of its key is written instead.
    pub(super) live: bool,
}

impl Attribute<'_> {
    /// Writes it as an entry, if the span has room for it.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, scratch: &mut Scratch) -> bool {
        let start = out.len();
        entry(out, &self.key, self.value, &mut scratch.renderer);
        scratch.has_room_or_cut(out, start)
    }
}

impl<'a> AttributeList<'a> {
    /// An empty list of keys that are called by `names`.
    pub(super) fn new(names: &'a KeyNames) -> Self {
        AttributeList::beside(&KeyFilter::default(), names)
    }

    /// An empty list whose keys may not repeat those in `seen` either.
    pub(super) fn beside(seen: &KeyFilter, names: &'a KeyNames) -> Self {
        let (items, altered) = (SmallVec::new(), Alteration::default());
        AttributeList { names, items, dropped_count: 0, altered, seen: seen.clone(), may_repeat: false }
    }

    /// Appends an attribute under the name that Cloud Trace gives its key. It is dropped and counted if its key is
    /// too long or empty (OTLP forbids that) or the list is full, which also keeps a hostile span from costing more
    /// than its bytes.
    #[inline]
    pub(super) fn push(&mut self, key: &'a [u8], value: AnyValue<'a>) {
        if value.is_blank() && IDENTITIES.contains(&key) {
            return;
        }
        let raw = self.names.get(key);
        // Mending never makes a key shorter.
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

    /// Counts `count` attributes that were lost before they came here.
    pub(super) fn add_dropped(&mut self, count: u32) {
        self.dropped_count += u64::from(count);
    }

    fn drop_one(&mut self) {
        self.add_dropped(1);
        self.altered.cut = true;
    }

    /// What became of keys, and of attributes that are not in the list.
    #[inline]
    pub(super) fn altered(&self) -> Alteration {
        self.altered
    }

    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Whether a key may occur twice, in the list or in the list beside it. False is certain.
    #[inline]
    pub(super) fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// Leaves the last attribute of each key live.
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

    /// The attributes that are to be written, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.items.iter().filter(|item| item.live)
    }

    /// The attributes that are to be written, in order, to be judged once more.
    pub(super) fn live_mut(&mut self) -> impl Iterator<Item = &mut Attribute<'a>> {
        self.items.iter_mut().filter(|item| item.live)
    }
}

/// Writes the attributes of an event or a link as field `number`, a message `Attributes`; nothing at all if there is
/// nothing to say. `dropped_count` were lost before they came here.
pub(super) fn attribute_map<'a>(
    out: &mut Vec<u8>,
    number: u8,
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
        write::count(out, 2, list.dropped_count + without_room as u64);
    });
}

/// Buffers that are used again for each span.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) keys: KeyIndex,
    pub(super) renderer: Renderer,
    /// Where attributes, events and links of the span end at the latest in the buffer that it is written to.
    pub(super) end: usize,
}

impl Scratch {
    /// Takes back what was written to `out` from `start` on, if the span has no room for it; false in this case.
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

/// A set of keys that may say yes wrongly, but never no: nearly every span repeats no key, and so needs no more than
/// this. One of 26 keys (a usual span with its resource) is taken for another in about 8 % of such sets.
#[derive(Clone, Debug)]
pub(super) struct KeyFilter {
    bits: [u64; Self::WORDS],
}

impl KeyFilter {
    const WORDS: usize = 64;

    /// Whether a key of this hash may have been inserted before.
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

/// Anything with a key and its hash.
pub(super) trait Keyed {
    fn key(&self) -> &str;
    fn hash(&self) -> u64;
}

impl Keyed for Attribute<'_> {
    fn key(&self) -> &str {
        &self.key
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

/// Finds the place of a key in a list that is kept elsewhere.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    table: HashTable<u32>,
}

impl KeyIndex {
    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    /// Notes item `i` under its key; returns the item that was noted there before. Lists are far below 2^32.
    pub(super) fn replace<T: Keyed>(&mut self, items: &[T], i: usize) -> Option<usize> {
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

    /// The item of this key.
    #[inline]
    pub(super) fn find<T: Keyed>(&self, items: &[T], key: &str, hash: u64) -> Option<usize> {
        self.table.find(hash, |&j| items[j as usize].key() == key).map(|&j| j as usize)
    }
}

/// The same in every encoder, as an encoded resource may be shared; another one in each process, so that senders cannot make keys
/// that are told apart slowly.
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

/// [`entry`], with a text of at most `max` bytes.
#[inline]
pub(super) fn cut_entry(out: &mut Vec<u8>, key: &str, value: AnyValue<'_>, max: usize, renderer: &mut Renderer) {
    match value {
        AnyValue::Bool(v) => scalar_entry(out, key, 3, u64::from(v)),
        AnyValue::Int(v) => scalar_entry(out, key, 2, v.cast_unsigned()),
        _ => string_entry(out, key, renderer.value(value, max)),
    }
}

/// An entry whose value is the varint field `number` of `AttributeValue`; written even if zero, as it is in a oneof.
fn scalar_entry(out: &mut Vec<u8>, key: &str, number: u8, value: u64) {
    entry_header(out, key, 1 + write::varint_len(value));
    out.push(write::varint_key(number));
    write::varint(out, value);
}

#[inline]
fn string_entry(out: &mut Vec<u8>, key: &str, text: Clip<'_>) {
    let text_len = truncatable_len(text);
    entry_header(out, key, write::field_len(text_len));
    write::header(out, 1, text_len);
    truncatable(out, text);
}

/// An entry up to and with the header of its value, an `AttributeValue` of `value_len` bytes.
#[inline]
fn entry_header(out: &mut Vec<u8>, key: &str, value_len: usize) {
    let len = write::field_len(key.len()) + write::field_len(value_len);
    write::header(out, 1, len);
    write::bytes(out, 1, key.as_bytes());
    write::header(out, 2, value_len);
}

#[inline]
fn truncatable_len(text: Clip<'_>) -> usize {
    let value = if text.bytes.is_empty() { 0 } else { write::field_len(text.bytes.len()) };
    value + if text.cut_count == 0 { 0 } else { 1 + write::varint_len(write::clamped(text.cut_count)) }
}

/// The fields of a `TruncatableString`.
#[inline]
fn truncatable(out: &mut Vec<u8>, text: Clip<'_>) {
    if !text.bytes.is_empty() {
        write::bytes(out, 1, text.bytes);
    }
    write::count(out, 2, text.cut_count);
}

/// A `TruncatableString` as field `number`.
pub(super) fn truncatable_string(out: &mut Vec<u8>, number: u8, text: Clip<'_>) {
    write::header(out, number, truncatable_len(text));
    truncatable(out, text);
}
