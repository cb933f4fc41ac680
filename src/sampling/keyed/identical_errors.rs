//! `identical_errors`: keeps errors, but thins those that are alike.

use super::windows::Windows;
use crate::config::settings;
use crate::sampling::Threshold;

/// The state of one `identical_errors` policy: 33 B a key, 76 B with the most slack of the table.
#[derive(Debug)]
pub struct IdenticalErrors {
    windows: Windows,
    first: u32,
    rest: Threshold,
}

impl IdenticalErrors {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(settings: &settings::IdenticalErrors) -> Self {
        let window_ms = settings.window.as_millis() as u64;
        IdenticalErrors {
            windows: Windows::new(settings.max_keys, window_ms),
            first: settings.first,
            rest: Threshold::from_percent(settings.sampling_percentage),
        }
    }

    /// The most bytes that its keys take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.windows.bytes_max()
    }

    /// The threshold of the next error, which has this key: the first ones of a window are all kept, those behind them
    /// at the ratio. A window begins with the first error after the window before; errors of a new key for which
    /// there is no room are all kept.
    pub fn threshold(&mut self, key: u64, now_ms: u64) -> Threshold {
        match self.windows.count(key, now_ms) {
            Some(count) if count > self.first => self.rest,
            _ => Threshold::ALWAYS,
        }
    }
}

#[cfg(test)]
mod tests;
