//! The number of concurrent calls of one project, and the time between their starts. Time is an argument.
//!
//! Invariant: if the sink has a quota of calls, the calls of a project are at least [`call_interval`] apart. So the
//! number of calls in any minute is below the quota, with any amount of traffic.

use std::time::Duration;

use tokio::time::Instant;

/// One part in this many of the quota is left to other programs that write to the project, such as the instance that
/// this one replaces.
const QUOTA_HEADROOM: u32 = 16;
/// The rate, in calls a second of a project, at which pacing starts when a sink without a quota answers
/// RESOURCE_EXHAUSTED. When the rate has grown to this value again, calls are not paced any more; 1,000 calls a second
/// can carry all spans that one daemon receives.
const UNPACED_RATE: f64 = 1000.0;
/// The longest time between calls. If the quota is very small, or other programs use almost all of it, one call a
/// second is still made. Joined batches carry thousands of spans.
const SLOWEST_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the shortest time between calls of a project to a sink with this quota, or zero if it has no quota. Calls
/// are spread evenly, so a minute needs no reserve for bursts.
pub(super) fn call_interval(calls_per_minute: Option<u32>) -> Duration {
    calls_per_minute.map_or(Duration::ZERO, |quota| Duration::from_secs(60) / (quota - quota / QUOTA_HEADROOM).max(1))
}

/// The largest number of concurrent calls of one project. A call of 2,000 spans takes from tenths of a second to
/// seconds, so sixteen calls carry tens of thousands of spans a second. More calls would only increase the memory for
/// unconfirmed batches and the load of a slow sink.
pub(super) const PROJECT_CALLS_MAX: usize = 16;
/// The limit of concurrent calls at the start. It is enough for usual traffic, and a small load for a sink.
pub(super) const PROJECT_CALLS_START: usize = 4;
/// A round of answers that takes this many times the usual time means that the sink has become slower, because of its
/// own load or of ours. The factor is not smaller, because a full batch may take twice the time of a half-full one.
const SLOWER: u32 = 2;
/// In each round that is not faster, the usual time grows by one part in this many. A sink that has become slower
/// permanently is the usual case after some minutes. The usual time grows no faster, because otherwise the delay that
/// our own calls cause would count as usual.
const DRIFT: u32 = 128;

/// Adapts the calls of a project to the sink. The limit of concurrent calls grows by one in each round of answers and
/// is halved after a failure, as TCP does with its window. The rate of calls is adapted in the same way.
#[derive(Debug)]
pub(super) struct Pace {
    /// The earliest start of the next call.
    next_call: Instant,
    /// The shortest time between calls.
    interval: Duration,
    /// Calls a second. At `rate_max`, calls are `interval` apart.
    rate: f64,
    rate_max: f64,
    /// The limit of concurrent calls.
    limit: usize,
    round: Round,
    /// The mean duration of a call while the sink is not overloaded.
    usual: Option<Duration>,
}

/// A number of answers: as many as the limit of concurrent calls.
#[derive(Debug, Default)]
struct Round {
    answers: u32,
    total: Duration,
    /// True if the limit was reached, so that a higher limit would have been used.
    limited: bool,
}

impl Pace {
    /// Creates the pace of a project without calls. Calls are at least `interval` apart.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        let rate_max = if interval.is_zero() { UNPACED_RATE } else { interval.as_secs_f64().recip() };
        Pace {
            next_call: now,
            interval,
            rate: rate_max,
            rate_max,
            limit: PROJECT_CALLS_START,
            round: Round::default(),
            usual: None,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn next_call(&self) -> Instant {
        self.next_call
    }

    /// Records the start of a call, after which `calls` calls are running.
    pub(super) fn started(&mut self, now: Instant, calls: usize) {
        self.next_call = now + self.call_interval();
        self.round.limited |= calls >= self.limit;
    }

    fn call_interval(&self) -> Duration {
        if self.rate >= self.rate_max {
            return self.interval;
        }
        Duration::from_secs_f64(self.rate.recip()).clamp(self.interval, SLOWEST_INTERVAL.max(self.interval))
    }

    /// Records that the call of a batch succeeded after `elapsed`. The rate grows by one call a second in each second.
    /// The limit grows by one in each round whose calls were not slow. Only batches that are `full`, or nearly so, show
    /// how fast the sink is. Where calls are limited, batches are full, because waiting batches are joined.
    pub(super) fn stored(&mut self, full: bool, elapsed: Duration) {
        self.rate = (self.rate + self.rate.recip()).min(self.rate_max);
        if full {
            self.round.answers += 1;
            self.round.total += elapsed;
            if self.round.answers as usize >= self.limit {
                self.end_round();
            }
        }
    }

    fn end_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        let mean = round.total / round.answers.max(1);
        let usual = self.usual.map_or(mean, |usual| mean.min(usual + usual / DRIFT));
        self.usual = Some(usual);
        if mean > usual * SLOWER {
            self.slower();
        } else if round.limited {
            self.limit = (self.limit + 1).min(PROJECT_CALLS_MAX);
        }
    }

    /// Halves the limit: the sink is slow, or calls fail.
    pub(super) fn slower(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.round = Round::default();
    }

    /// Halves the rate and the limit: the quota of the project is used up.
    pub(super) fn quota_used_up(&mut self) {
        self.rate = (self.rate / 2.0).max(SLOWEST_INTERVAL.as_secs_f64().recip());
        self.slower();
    }
}

#[cfg(test)]
mod tests;
