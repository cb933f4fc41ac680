//! `identical_errors`: keeps the first errors of each key, and a ratio of the further ones.

use super::windows::Windows;
use crate::sampling::Threshold;
use crate::sampling::settings;

/// The state of one `identical_errors` policy. It takes 33 bytes for each key, at most 76 with the unused places of the
/// table.
#[derive(Debug)]
pub struct IdenticalErrorsState {
    windows: Windows,
    first: u32,
    rest: Threshold,
}

impl IdenticalErrorsState {
    /// Creates a state that has seen no trace yet.
    #[must_use]
    pub fn new(settings: &settings::IdenticalErrors) -> Self {
        let window_ms = settings.window.as_millis() as u64;
        IdenticalErrorsState {
            windows: Windows::new(settings.max_keys, window_ms),
            first: settings.first,
            rest: Threshold::from_percent(settings.sampling_percentage),
        }
    }

    /// Returns the maximum bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.windows.bytes_max()
    }

    /// Returns the threshold of the next error, which has this key. The first errors of a window are all kept, the
    /// further ones at the ratio. A window begins with the first error after the end of the last window. If the key is
    /// new and the table is full, all its errors are kept.
    pub fn threshold(&mut self, key: u64, now_ms: u64) -> Threshold {
        match self.windows.count(key, now_ms) {
            Some(count) if count > self.first => self.rest,
            _ => Threshold::ALWAYS,
        }
    }
}

#[cfg(test)]
mod tests;
