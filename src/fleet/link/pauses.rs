//! The pauses between attempts that fail.

use std::time::Duration;

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The pauses of a row of attempts. Each is twice as long as the one before, up to a limit. A random part of up to a half is
/// left out, so that members that the engine has cut off at one moment do not all come back at one moment.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    max: Duration,
}

impl Pauses {
    pub(super) fn new(max: Duration) -> Self {
        Pauses { next: PAUSE_MIN.min(max), max }
    }

    /// Begins a new row, because an attempt has succeeded.
    pub(super) fn restart(&mut self) {
        *self = Pauses::new(self.max);
    }

    /// Returns the next pause. `random` is in `0.0..1.0`.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(1.0 - random / 2.0)
    }
}

#[cfg(test)]
mod tests;
