//! How many calls of one project may be under way, and how soon after one another they start. Time is an argument.
//!
//! Invariant: if the sink has a quota of calls, calls are never closer to one another than [`call_interval`], so that any
//! minute has fewer calls than the quota allows, whatever the traffic.

use std::time::Duration;

use tokio::time::Instant;

/// One part in so many of the quota is left to others in the project: the instance that this one replaces, other exporters.
const QUOTA_HEADROOM: u32 = 16;
/// Calls a second of a project from which the rate is halved when a sink without a quota of calls says RESOURCE_EXHAUSTED.
/// From this rate on, calls are not paced: they carry whatever can be received.
const UNPACED_RATE: f64 = 1000.0;
/// Where the quota is much smaller than it should be, or all but used up by others, one call a second goes on: merged
/// batches carry thousands of spans.
const SLOWEST_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the shortest time between calls of a project to a sink with this quota; zero if it has no quota. Calls are
/// spread evenly, so that no burst has to be subtracted from the quota of a minute.
pub(super) fn call_interval(calls_per_minute: Option<u32>) -> Duration {
    calls_per_minute.map_or(Duration::ZERO, |quota| Duration::from_secs(60) / (quota - quota / QUOTA_HEADROOM).max(1))
}

/// Calls of one project at a time. A call of 2,000 spans takes tenths of a second to seconds, so that sixteen carry
/// tens of thousands of spans a second; more would only add to the memory that unconfirmed batches take, and to what a
/// sink in trouble has to bear.
pub(super) const PROJECT_CALLS_MAX: usize = 16;
/// The same at the start: enough for ordinary traffic, and nothing that a sink would feel.
pub(super) const PROJECT_CALLS_START: usize = 4;
/// A round of answers that took this many times the usual says that the sink is slower, be it by its load or by ours.
/// Not less: a full batch may take twice the time of a half-full one.
const SLOWER: u32 = 2;
/// By one part in this many the usual time is raised in each round that was not faster, so that a sink that has become
/// slower for good is the usual one after some minutes. No faster: what our own growth adds must not pass for usual.
const DRIFT: u32 = 128;

/// Adapts to what a project's calls meet: the limit of calls at a time grows by one a round and is halved, as TCP does
/// with its window, and so is their rate.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the next call may start.
    next_call: Instant,
    /// The shortest time between calls.
    interval: Duration,
    /// Calls a second. At `rate_max` calls are `interval` apart.
    rate: f64,
    rate_max: f64,
    /// Calls at a time.
    limit: usize,
    round: Round,
    /// The mean time of an answer while the sink is at ease.
    usual: Option<Duration>,
}

/// As many answers as there are calls at a time.
#[derive(Debug, Default)]
struct Round {
    answers: u32,
    total: Duration,
    /// The limit was reached: to raise it would have helped.
    limited: bool,
}

impl Pace {
    /// Calls are at least `interval` apart.
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

    /// A call starts, and now there are `calls`.
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

    /// The call of a batch was answered well after `elapsed`. The rate grows by one call a second each second; the
    /// limit by one a round, unless its calls were slow. Only batches that are `full`, or nearly so, tell how fast the
    /// sink is; where calls are scarce, batches are full, because those that wait are joined.
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

    /// The sink does not keep up: it is slow, or calls fail.
    pub(super) fn slower(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.round = Round::default();
    }

    /// The quota of the project is used up.
    pub(super) fn quota_used_up(&mut self) {
        self.rate = (self.rate / 2.0).max(SLOWEST_INTERVAL.as_secs_f64().recip());
        self.slower();
    }
}

#[cfg(test)]
mod tests;
