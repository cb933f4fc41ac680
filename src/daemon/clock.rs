//! The one place where the daemon's clock is read.

use std::time::Instant;

use crate::tail::table::Millis;

/// Milliseconds since the daemon started; never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins at 0 now.
    #[must_use]
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now_ms(&self) -> Millis {
        self.start.elapsed().as_millis() as Millis
    }
}
