//! How long after the first span of their trace spans arrive, in the last minutes.

use super::table::Millis;

/// The minutes that are remembered.
pub const MINUTES: usize = 10;
const MINUTE_MS: Millis = 60_000;

/// Delays up to this are alike: no one waits less.
const SHORTEST_MS: f64 = 10.0;
/// Each bucket ends this much higher than the one before: the most by which an answer is too long.
const GROWTH: f64 = 1.1;
/// Buckets: up to [`SHORTEST_MS`] × `GROWTH`^120, a quarter of an hour, which is as long as traces are followed.
const BUCKETS: usize = 121;

/// Spans that must have been seen beyond an answer, for it to be more than chance.
const SEEN_BEYOND: f64 = 10.0;

/// The delays of the last [`MINUTES`].
#[derive(Debug)]
pub struct Delays {
    minutes: Box<[Minute; MINUTES]>,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    number: u64,
    /// Spans that were seen.
    seen: u64,
    /// What they stand for, by bucket.
    spans: [u64; BUCKETS],
}

impl Minute {
    const EMPTY: Minute = Minute { number: 0, seen: 0, spans: [0; BUCKETS] };
}

impl Default for Delays {
    fn default() -> Self {
        Delays { minutes: Box::new([Minute::EMPTY; MINUTES]) }
    }
}

impl Delays {
    /// `seen` spans, which stand for `spans`, came `delay_ms` after the first of their trace.
    pub fn record(&mut self, delay_ms: Millis, seen: u64, spans: u64, now_ms: Millis) {
        let number = now_ms / MINUTE_MS;
        let minute = &mut self.minutes[(number % MINUTES as u64) as usize];
        if minute.number != number {
            *minute = Minute { number, ..Minute::EMPTY };
        }
        minute.seen += seen;
        minute.spans[bucket(delay_ms)] += spans;
    }

    /// The shortest wait, to 10 %, within which `share` (0 to 1) of the spans came; `None` if too few were seen to tell.
    #[must_use]
    pub fn covering(&self, share: f64, now_ms: Millis) -> Option<Millis> {
        let first = (now_ms / MINUTE_MS).saturating_sub(MINUTES as u64 - 1);
        let minutes = || self.minutes.iter().filter(|minute| minute.number >= first);
        let seen: u64 = minutes().map(|minute| minute.seen).sum();
        if (seen as f64) * (1.0 - share) < SEEN_BEYOND {
            return None;
        }
        let all: u64 = minutes().flat_map(|minute| minute.spans).sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let within = (0..BUCKETS).scan(0, |sum, bucket| {
            *sum += minutes().map(|minute| minute.spans[bucket]).sum::<u64>();
            Some(*sum)
        });
        let bucket = within.take_while(|&sum| sum < wanted).count();
        Some((SHORTEST_MS * GROWTH.powi(bucket as i32)).ceil() as Millis)
    }
}

/// The bucket of a delay.
fn bucket(delay_ms: Millis) -> usize {
    let steps = ((delay_ms as f64).max(SHORTEST_MS) / SHORTEST_MS).ln() / GROWTH.ln();
    (steps.ceil() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests;
