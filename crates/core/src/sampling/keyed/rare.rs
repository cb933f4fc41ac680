//! `rare`: the first traces of each key in each minute, so that no endpoint disappears.

use super::windows::Windows;
use crate::sampling::settings;

const MINUTE_MS: u64 = 60_000;

/// The state of one `rare` policy. It takes 33 bytes for each key, at most 76 with the unused places of the table.
#[derive(Debug)]
pub struct RareState {
    windows: Windows,
    traces_per_minute: u32,
}

impl RareState {
    /// Creates a state that has seen no trace yet.
    #[must_use]
    pub fn new(settings: &settings::Rare) -> Self {
        RareState { windows: Windows::new(settings.max_keys, MINUTE_MS), traces_per_minute: settings.traces_per_minute }
    }

    /// Returns the maximum bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.windows.bytes_max()
    }

    /// Returns true if the next trace, which has this key, is one of the first `traces_per_minute` in the minute of its
    /// key. A minute begins with the first trace after the end of the last minute. If the key is new and the table is
    /// full, the trace is not kept. So a flood of keys costs at most `max_keys` × `traces_per_minute` traces a minute.
    pub fn keeps(&mut self, key: u64, now_ms: u64) -> bool {
        self.windows.count(key, now_ms).is_some_and(|count| count <= self.traces_per_minute)
    }
}

#[cfg(test)]
mod tests;
