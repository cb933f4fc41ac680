//! `rare`: the first traces of each key in each minute, so that no endpoint disappears.

use super::windows::Windows;
use crate::config::settings;

const MINUTE_MS: u64 = 60_000;

/// The state of one `rare` policy: 33 B a key, 76 B with the most slack of the table.
#[derive(Debug)]
pub struct Rare {
    windows: Windows,
    traces_per_minute: u32,
}

impl Rare {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(settings: &settings::Rare) -> Self {
        Rare { windows: Windows::new(settings.max_keys, MINUTE_MS), traces_per_minute: settings.traces_per_minute }
    }

    /// The most bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.windows.bytes_max()
    }

    /// Whether the next trace, which has this key, is among the first of its key's minute. A minute begins with the
    /// first trace after the minute before; a new key for which there is no room is not kept, so a flood of keys
    /// costs at most `max_keys` × `traces_per_minute` traces a minute.
    pub fn keeps(&mut self, key: u64, now_ms: u64) -> bool {
        self.windows.count(key, now_ms).is_some_and(|count| count <= self.traces_per_minute)
    }
}

#[cfg(test)]
mod tests;
