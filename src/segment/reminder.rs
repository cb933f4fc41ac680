//! Limits how often the log reports that a disk fails or works again. A disk that fails and works in turn must not
//! flood the log.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::log::Throttle;

/// The least time between two reports that the disk fails. Each of them is followed by at most one report that the disk
/// works again.
pub const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the reports about one kind of failure. Time is an argument.
#[derive(Debug)]
pub struct Reminder {
    lines: Throttle,
    /// True if the log has reported a failure, but not yet that the disk works again.
    is_told: bool,
}

impl Default for Reminder {
    fn default() -> Self {
        Reminder { lines: Throttle::new(1, REMINDER_INTERVAL), is_told: false }
    }
}

impl Reminder {
    /// Records a failure. Returns true if the log must report it now.
    #[must_use]
    pub fn failed(&mut self, now: Instant) -> bool {
        let is_due = self.lines.pass(now).is_some();
        self.is_told |= is_due;
        is_due
    }

    /// Records a success. Returns true if the log must report it now.
    #[must_use]
    pub fn worked(&mut self) -> bool {
        std::mem::take(&mut self.is_told)
    }
}
