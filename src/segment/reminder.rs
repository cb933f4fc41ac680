//! When the log says that a disk fails and that it works again: a disk that does both in turn must not flood it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

/// The log says at most this often that the disk fails, and after each time once that it works again.
pub const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// The failures of one thing, for the log. Time is an argument.
#[derive(Debug, Default)]
pub struct Reminder {
    told_at: Option<Instant>,
    /// The log has said that it fails, and not yet that it works again.
    is_told: bool,
}

impl Reminder {
    /// It has failed: whether the log is to say so now.
    #[must_use]
    pub fn failed(&mut self, now: Instant) -> bool {
        let is_due = self.told_at.is_none_or(|told| now.saturating_duration_since(told) >= REMINDER_INTERVAL);
        if is_due {
            self.told_at = Some(now);
            self.is_told = true;
        }
        is_due
    }

    /// It works: whether the log is to say so now.
    #[must_use]
    pub fn worked(&mut self) -> bool {
        std::mem::take(&mut self.is_told)
    }
}
