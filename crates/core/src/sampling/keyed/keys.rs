//! A bounded table of keys.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Maximum number of sweeps in the time after which a key counts as silent. So a silent key makes room with a delay of
/// at most an eighth of that time, and the cost of a sweep is spread over many calls, even if every key is new.
const SWEEPS_PER_SILENCE: u64 = 8;

/// A table with a state of each key, for at most `keys_max` keys. When it is full, keys that were not seen for
/// `silence_ms` (silent keys) make room. If there are none, new keys are refused.
///
/// A key takes `size_of::<T>()` + 17 bytes, at most 2.3 times as much with the unused places of the hash table.
#[derive(Debug)]
pub(super) struct KeyTable<T> {
    // The keys are hashes already. With a fixed hasher the order of iteration, and so any sum of floats, is the same in
    // every run.
    entries: HashMap<u64, KeyEntry<T>, FixedState>,
    keys_max: usize,
    silence_ms: u64,
    next_sweep_ms: u64,
}

#[derive(Debug)]
struct KeyEntry<T> {
    seen_ms: u64,
    state: T,
}

impl<T> KeyTable<T> {
    /// Creates a table without keys. It grows when keys are added.
    pub(super) fn new(keys_max: usize, silence_ms: u64) -> Self {
        KeyTable { entries: HashMap::with_hasher(FixedState::default()), keys_max, silence_ms, next_sweep_ms: 0 }
    }

    /// Returns the maximum number of keys.
    pub(super) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Returns the maximum bytes of the table, including unused places. The number of places is a power of two, at most
    /// 7/8 of them are used, and each one has a control byte.
    pub(super) fn bytes_max(&self) -> usize {
        const PLACES_MIN: usize = 4;
        // Padding, and copies of the first control bytes after the last one.
        const BESIDE: usize = 32;
        let places = (self.keys_max * 8 / 7 + 1).next_power_of_two().max(PLACES_MIN);
        places * (size_of::<(u64, KeyEntry<T>)>() + 1) + BESIDE
    }

    /// Returns the state of `key` and notes that it was seen at `now_ms`. A new key gets the state `new`. Returns
    /// `None` if the key is new and there is no room.
    pub(super) fn see(&mut self, key: u64, now_ms: u64, new: impl FnOnce() -> T) -> Option<&mut T> {
        if self.is_full() && !self.entries.contains_key(&key) {
            self.sweep(now_ms);
            if self.is_full() {
                return None;
            }
        }
        let entry = self.entries.entry(key).or_insert_with(|| KeyEntry { seen_ms: now_ms, state: new() });
        entry.seen_ms = now_ms;
        Some(&mut entry.state)
    }

    /// Iterates over the states of all keys.
    pub(super) fn states(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.state)
    }

    /// Iterates over the states of all keys, to change them.
    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.values_mut().map(|entry| &mut entry.state)
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.keys_max
    }

    fn sweep(&mut self, now_ms: u64) {
        if now_ms >= self.next_sweep_ms {
            self.entries.retain(|_, entry| now_ms.saturating_sub(entry.seen_ms) < self.silence_ms);
            self.next_sweep_ms = now_ms + self.silence_ms / SWEEPS_PER_SILENCE + 1;
        }
    }
}

#[cfg(test)]
mod tests;
