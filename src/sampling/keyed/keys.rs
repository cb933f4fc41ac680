//! A bounded table of keys.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Sweeps in the time after which a key counts as silent: room is found at most that much late, and the cost of a sweep is
/// spread over many calls even if every key is new.
const SWEEPS_PER_SILENCE: u64 = 8;

/// What is known of each of at most `keys_max` keys. When it is full, keys that have been silent make room; as long as
/// none has, new keys are refused.
///
/// A key takes `size_of::<T>()` + 17 B; the slack of the hash table makes that at most 2.3 times as much.
#[derive(Debug)]
pub(super) struct Keys<T> {
    // The keys are hashes already. The order of iteration is the same in every run, and so are sums of floats.
    entries: HashMap<u64, Entry<T>, FixedState>,
    keys_max: usize,
    silence_ms: u64,
    next_sweep_ms: u64,
}

#[derive(Debug)]
struct Entry<T> {
    seen_ms: u64,
    state: T,
}

impl<T> Keys<T> {
    /// A table without keys. It grows as they come.
    pub(super) fn new(keys_max: usize, silence_ms: u64) -> Self {
        Keys { entries: HashMap::with_hasher(FixedState::default()), keys_max, silence_ms, next_sweep_ms: 0 }
    }

    /// The most keys that it holds.
    pub(super) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// The most bytes that it takes, the slack of the hash table included: its places are a power of two, of which
    /// 7/8 are used, each with a byte that says what is in it.
    pub(super) fn bytes_max(&self) -> usize {
        const PLACES_MIN: usize = 4;
        // Padding, and the bytes of the first places once more behind the last.
        const BESIDE: usize = 32;
        let places = (self.keys_max * 8 / 7 + 1).next_power_of_two().max(PLACES_MIN);
        places * (size_of::<(u64, Entry<T>)>() + 1) + BESIDE
    }

    /// What is known of `key`, which is seen now; `None` if it is new and there is no room.
    pub(super) fn see(&mut self, key: u64, now_ms: u64, new: impl FnOnce() -> T) -> Option<&mut T> {
        if self.is_full() && !self.entries.contains_key(&key) {
            self.sweep(now_ms);
            if self.is_full() {
                return None;
            }
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry { seen_ms: now_ms, state: new() });
        entry.seen_ms = now_ms;
        Some(&mut entry.state)
    }

    /// What is known of each key.
    pub(super) fn states(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.state)
    }

    /// What is known of each key, to change it.
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
