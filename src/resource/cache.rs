//! What was made of resources and scopes: many spans have the same ones.
//!
//! A span's place in its request says that it shares them with the span before ([`ById`]); their bytes say that it shares them
//! with spans of other requests ([`Cache`]).

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use crate::otlp::visited;

/// Entries that are remembered by their bytes. Far more than the instances that send to one daemon at a time.
pub const ENTRIES_MAX: usize = 1_024;

/// The bytes that entries remembered by their bytes may take together.
pub const BYTES_MAX: usize = 16 << 20;

/// Bytes of a resource, or of a scope, that are looked at: the rest is dropped. Each span may be the first that needs them again,
/// when a cache has been emptied, so that this bounds the work for one span. Twice what Linux takes as one argument
/// of a command line, the longest text that resource detectors are known to send.
pub const SHARED_BYTES_MAX: usize = 256 << 10;

/// What is looked at of a resource or a scope. One byte more than [`SHARED_BYTES_MAX`] says that there is more.
#[must_use]
pub fn shared_head(message: &[u8]) -> &[u8] {
    message.get(..=SHARED_BYTES_MAX).unwrap_or(message)
}

/// Whether `head` is the head of something longer.
#[must_use]
pub fn is_cut(head: &[u8]) -> bool {
    head.len() > SHARED_BYTES_MAX
}

/// Remembers values by `N` pieces of bytes.
#[derive(Debug)]
pub struct Cache<const N: usize, V> {
    entries: HashMap<[Box<[u8]>; N], Arc<V>, RandomState>,
    size_bytes: usize,
}

/// A key that is looked up; equal to the one that is kept, and of the same hash.
#[derive(Hash)]
struct Lookup<'a, const N: usize>([&'a [u8]; N]);

impl<const N: usize> Equivalent<[Box<[u8]>; N]> for Lookup<'_, N> {
    fn equivalent(&self, key: &[Box<[u8]>; N]) -> bool {
        self.0.iter().zip(key).all(|(a, b)| **a == **b)
    }
}

impl<const N: usize, V> Cache<N, V> {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: [&[u8]; N]) -> Option<&Arc<V>> {
        visited::add(key.iter().map(|part| part.len()).sum());
        self.entries.get(&Lookup(key))
    }

    /// Remembers `value`, which takes some `value_bytes`. A full cache is emptied: whoever sends is soon back. Returns whether it
    /// was.
    pub fn insert(&mut self, key: [&[u8]; N], value: Arc<V>, value_bytes: usize) -> bool {
        let size_bytes = value_bytes + key.iter().map(|part| part.len()).sum::<usize>();
        let is_full = self.entries.len() == ENTRIES_MAX || self.size_bytes + size_bytes > BYTES_MAX;
        if is_full {
            self.entries.clear();
            self.size_bytes = 0;
        }
        if size_bytes <= BYTES_MAX {
            self.entries.insert(key.map(Box::from), value);
            self.size_bytes += size_bytes;
        }
        is_full
    }

    /// Roughly what the entries take.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size_bytes + self.entries.capacity() * size_of::<([Box<[u8]>; N], Arc<V>)>()
    }
}

impl<const N: usize, V> Default for Cache<N, V> {
    fn default() -> Self {
        Cache { entries: HashMap::default(), size_bytes: 0 }
    }
}

/// Remembers values by small keys that stand for one thing for ever. A new value takes the place of an older one.
#[derive(Debug)]
pub struct ById<K, V> {
    places: Vec<Option<Remembered<K, V>>>,
    values_bytes: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Remembered<K, V> {
    key: K,
    value: Arc<V>,
    value_bytes: usize,
}

impl<K: Copy + Eq + Hash, V> ById<K, V> {
    /// Requests have few resources and scopes, and spans of few requests are encoded in turn.
    const PLACES: usize = 1_024;

    /// The value of `key`.
    #[inline]
    #[must_use]
    pub fn get(&self, key: K) -> Option<&Arc<V>> {
        match self.places.get(self.place(key)) {
            Some(Some(known)) if known.key == key => Some(&known.value),
            _ => None,
        }
    }

    /// Remembers `value`, of which `value_bytes` are counted here.
    pub fn insert(&mut self, key: K, value: Arc<V>, value_bytes: usize) {
        if self.places.is_empty() {
            self.places.resize_with(Self::PLACES, || None);
        }
        let place = self.place(key);
        let before = self.places[place].replace(Remembered { key, value, value_bytes });
        self.values_bytes += value_bytes;
        self.values_bytes -= before.map_or(0, |before| before.value_bytes);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.places.clear();
        self.values_bytes = 0;
    }

    /// Roughly what the values take.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.values_bytes + self.places.capacity() * size_of::<Option<Remembered<K, V>>>()
    }

    #[inline]
    fn place(&self, key: K) -> usize {
        self.hasher.hash_one(key) as usize % Self::PLACES
    }
}

impl<K, V> Default for ById<K, V> {
    fn default() -> Self {
        ById { places: Vec::new(), values_bytes: 0, hasher: RandomState::default() }
    }
}
