//! A limit on log lines that other programs can cause. Time is an argument.

#[cfg(test)]
mod tests;

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A throttle that lets a limited number of lines pass in each interval.
#[derive(Debug)]
pub struct Throttle {
    lines_max: u32,
    interval: Duration,
    state: Mutex<ThrottleState>,
}

#[derive(Debug)]
struct ThrottleState {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl Throttle {
    /// Creates a throttle that lets `lines_max` lines pass in each `interval`.
    #[must_use]
    pub const fn new(lines_max: u32, interval: Duration) -> Self {
        Throttle { lines_max, interval, state: Mutex::new(ThrottleState { since: None, lines: 0, unsaid: 0 }) }
    }

    /// Asks to write a line at `now`. If the line may be written, returns the number of lines that were suppressed
    /// since the last written one; otherwise returns `None`.
    #[must_use]
    pub fn pass(&self, now: Instant) -> Option<u64> {
        self.pass_about(1, now)
    }

    /// Does the same as [`Throttle::pass`] for a line about `count` things. Returns the number of things that the
    /// suppressed lines were about.
    #[must_use]
    pub fn pass_about(&self, count: u64, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= self.interval) {
            (state.since, state.lines) = (Some(now), 0);
        }
        if state.lines == self.lines_max {
            state.unsaid += count;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.unsaid))
    }
}
