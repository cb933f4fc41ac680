//! The number of traces of each key in its present window.

use super::keys::KeyTable;

/// A window with a count for each key. A window begins with the first trace after the end of the last window.
#[derive(Debug)]
pub(super) struct Windows {
    // If a key was silent for the length of a window, its window is over, so removing the key changes nothing.
    keys: KeyTable<Window>,
    length_ms: u64,
}

#[derive(Debug)]
struct Window {
    start_ms: u64,
    count: u32,
}

impl Windows {
    /// Creates windows of this length for at most `keys_max` keys. Each key takes 33 bytes, at most 76 with the unused
    /// places of the table.
    pub(super) fn new(keys_max: usize, length_ms: u64) -> Self {
        Windows { keys: KeyTable::new(keys_max, length_ms), length_ms }
    }

    /// Returns the maximum bytes that the keys take.
    pub(super) fn bytes_max(&self) -> usize {
        self.keys.bytes_max()
    }

    /// Counts a trace. Returns its number in its key's window, from 1 on; `None` if its key is new and there is no
    /// room.
    pub(super) fn count(&mut self, key: u64, now_ms: u64) -> Option<u32> {
        let window = self.keys.see(key, now_ms, || Window { start_ms: now_ms, count: 0 })?;
        if now_ms.saturating_sub(window.start_ms) >= self.length_ms {
            *window = Window { start_ms: now_ms, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        Some(window.count)
    }
}
