//! The daemon's clock, read in this one place.

use std::time::Instant;

use crate::tail::table::Millis;

/// A clock in milliseconds since the daemon started. It never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Returns a clock that is at 0 now.
    #[must_use]
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// Returns the time since the start, in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> Millis {
        self.start.elapsed().as_millis() as Millis
    }
}
