//! The machine's clock. Only the parts that need the date read it; everything else counts from its own start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since 1970; zero if the clock shows an earlier time.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns nanoseconds since 1970. They fit until the year 2554.
#[must_use]
pub fn unix_nano() -> u64 {
    since_1970().as_nanos() as u64
}
