//! How many traces of a key there have been in its present window.

use super::keys::Keys;

/// Counts of each key. A window begins with the first trace after the one before it is over.
#[derive(Debug)]
pub(super) struct Windows {
    // A key that has been silent for a window has none: to forget it changes nothing.
    keys: Keys<Window>,
    length_ms: u64,
}

#[derive(Debug)]
struct Window {
    start_ms: u64,
    count: u32,
}

impl Windows {
    /// Windows of this length, for at most `keys_max` keys of 33 B (76 B with the most slack of the table).
    pub(super) fn new(keys_max: usize, length_ms: u64) -> Self {
        Windows { keys: Keys::new(keys_max, length_ms), length_ms }
    }

    /// The most bytes that the keys take.
    pub(super) fn bytes_max(&self) -> usize {
        self.keys.bytes_max()
    }

    /// Counts a trace: 1 for the first one of its key's window; `None` if its key is new and there is no room.
    pub(super) fn count(&mut self, key: u64, now_ms: u64) -> Option<u32> {
        let window = self.keys.see(key, now_ms, || Window { start_ms: now_ms, count: 0 })?;
        if now_ms.saturating_sub(window.start_ms) >= self.length_ms {
            *window = Window { start_ms: now_ms, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        Some(window.count)
    }
}
