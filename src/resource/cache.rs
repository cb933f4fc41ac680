//! What was made of resources, by the bytes that they are on the wire: many spans have the same one.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

/// Entries that are remembered. Far more than the instances that send to one daemon at a time.
pub const ENTRIES_MAX: usize = 1_024;

/// The bytes that remembered entries may take together.
pub const BYTES_MAX: usize = 16 << 20;

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
        self.entries.get(&Lookup(key))
    }

    /// Remembers `value`, which takes some `value_bytes`. A full cache is emptied: whoever sends is soon back.
    pub fn insert(&mut self, key: [&[u8]; N], value: Arc<V>, value_bytes: usize) {
        let size_bytes = value_bytes + key.iter().map(|part| part.len()).sum::<usize>();
        if self.entries.len() == ENTRIES_MAX || self.size_bytes + size_bytes > BYTES_MAX {
            self.entries.clear();
            self.size_bytes = 0;
        }
        if size_bytes <= BYTES_MAX {
            self.entries.insert(key.map(Box::from), value);
            self.size_bytes += size_bytes;
        }
    }
}

impl<const N: usize, V> Default for Cache<N, V> {
    fn default() -> Self {
        Cache { entries: HashMap::default(), size_bytes: 0 }
    }
}
