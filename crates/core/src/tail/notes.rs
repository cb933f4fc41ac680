//! Notes on large resources or scopes that a reader has seen.

use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::budget::Share;

/// The most bytes of one cache: the notes on some 20,000 parts. The parts themselves are larger.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// The smallest number of notes that a cache makes room for.
const NOTES_MIN: usize = 16;

/// Notes by the part that they are on. When it has no room to grow, it forgets all.
#[derive(Debug)]
pub(crate) struct NotesCache<K, N> {
    notes: HashMap<K, N, RandomState>,
    /// Bytes on the heap that one entry takes beside the table.
    note_bytes: usize,
}

impl<K: Eq + Hash, N: Clone> NotesCache<K, N> {
    pub(crate) fn new(note_bytes: usize) -> Self {
        NotesCache { notes: HashMap::default(), note_bytes }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&N> {
        self.notes.get(key)
    }

    /// Remembers `notes`, and charges more memory to `share` if the cache has to grow.
    pub(crate) fn remember(&mut self, key: K, notes: &N, share: &mut Share) {
        if self.notes.len() == self.notes.capacity() && !self.grow(share) {
            self.notes.clear();
        }
        if self.notes.len() < self.notes.capacity() {
            self.notes.insert(key, notes.clone());
        }
    }

    /// Returns the bytes of memory that the cache takes when it is full.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.notes.allocation_size() + self.notes.capacity() * self.note_bytes
    }

    /// Makes room for twice as many notes. Returns false if that is too many, or if the budget has no room for them.
    fn grow(&mut self, share: &mut Share) -> bool {
        let capacity = (2 * self.notes.capacity()).max(NOTES_MIN);
        // A table has a power of two of places, of which it uses seven eighths, and a byte beside each.
        let places = (capacity * 8).div_ceil(7).next_power_of_two();
        let bytes = places * (size_of::<(K, N)>() + 1 + self.note_bytes) + 64;
        // While the notes move, both tables exist.
        if bytes > CACHE_BYTES_MAX || !share.grow(bytes) {
            return false;
        }
        let before_bytes = self.heap_bytes();
        self.notes.reserve(capacity - self.notes.len());
        share.resize((share.bytes() + self.heap_bytes()).saturating_sub(bytes + before_bytes));
        true
    }
}
