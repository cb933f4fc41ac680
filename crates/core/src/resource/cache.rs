//! Caches of values that are made from resources and scopes, which many spans share.
//!
//! [`ById`] finds a value by the place of the resource or scope in its request: spans of the same request share it.
//! [`Cache`] finds a value by the bytes of the resource or scope: spans of different requests share it.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use crate::otlp::visited;

/// Maximum number of entries in a [`Cache`]. Far more than the instances that send to one daemon at a time.
pub const ENTRIES_MAX: usize = 1_024;

/// Maximum bytes of all entries in a [`Cache`] together.
pub const BYTES_MAX: usize = 16 << 20;

/// Maximum bytes that are read from a resource or from a scope. The rest is dropped. This bounds the work for one span:
/// after a cache has been emptied, any span may be the first that needs its resource again. The value is twice the
/// limit of Linux for one argument of a command line, which is the longest text that resource detectors are known to
/// send.
pub const SHARED_BYTES_MAX: usize = 256 << 10;

/// Returns the head of a resource or a scope, the part that is read. If the message is longer than [`SHARED_BYTES_MAX`]
/// the head has one byte more than that, so that [`is_cut`] can tell.
#[must_use]
pub fn shared_head(message: &[u8]) -> &[u8] {
    message.get(..=SHARED_BYTES_MAX).unwrap_or(message)
}

/// Returns true if `head`, made by [`shared_head`], comes from a message that is longer than [`SHARED_BYTES_MAX`].
#[must_use]
pub fn is_cut(head: &[u8]) -> bool {
    head.len() > SHARED_BYTES_MAX
}

/// A cache of values. The key is `N` byte strings.
#[derive(Debug)]
pub struct Cache<const N: usize, V> {
    entries: HashMap<[Box<[u8]>; N], Arc<V>, RandomState>,
    size_bytes: usize,
}

/// A borrowed key for a look-up. It has the same hash as the equal owned key.
#[derive(Hash)]
struct Lookup<'a, const N: usize>([&'a [u8]; N]);

impl<const N: usize> Equivalent<[Box<[u8]>; N]> for Lookup<'_, N> {
    fn equivalent(&self, key: &[Box<[u8]>; N]) -> bool {
        self.0.iter().zip(key).all(|(a, b)| **a == **b)
    }
}

impl<const N: usize, V> Cache<N, V> {
    /// Returns the value of `key`, if it is cached.
    #[must_use]
    pub fn get(&self, key: [&[u8]; N]) -> Option<&Arc<V>> {
        visited::add(key.iter().map(|part| part.len()).sum());
        self.entries.get(&Lookup(key))
    }

    /// Adds `value`, which takes about `value_bytes`. If the cache is full it is emptied first: the values that are
    /// still in use come back with the next requests. Returns true if the cache was emptied. A value above
    /// [`BYTES_MAX`] is not cached.
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

    /// Returns the approximate memory of the entries, in bytes.
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

/// A cache of values by small keys, for example numbers. A key must always stand for the same value. A new value
/// replaces an older one whose key falls on the same place of the table.
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
    /// Number of places. It is enough, as requests have few resources and scopes, and spans of only a few requests are
    /// encoded alternately.
    const PLACES: usize = 1_024;

    /// Returns the value of `key`, if it is cached.
    #[inline]
    #[must_use]
    pub fn get(&self, key: K) -> Option<&Arc<V>> {
        match self.places.get(self.place(key)) {
            Some(Some(known)) if known.key == key => Some(&known.value),
            _ => None,
        }
    }

    /// Adds `value`. `value_bytes` is its part in [`ById::size_bytes`].
    pub fn insert(&mut self, key: K, value: Arc<V>, value_bytes: usize) {
        if self.places.is_empty() {
            self.places.resize_with(Self::PLACES, || None);
        }
        let place = self.place(key);
        let before = self.places[place].replace(Remembered { key, value, value_bytes });
        self.values_bytes += value_bytes;
        self.values_bytes -= before.map_or(0, |before| before.value_bytes);
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.places.clear();
        self.values_bytes = 0;
    }

    /// Returns the approximate memory of the values, in bytes: the sum of their `value_bytes`, and the table itself.
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
