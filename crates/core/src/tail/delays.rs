//! The delays between the first span of a trace and its later spans, over the last minutes.

use super::table::Millis;

/// Number of minutes that are remembered.
pub const MINUTES: usize = 10;
const MINUTE_MS: Millis = 60_000;

/// The end of the first bucket. Shorter delays need not be told apart, because no operator sets a shorter wait.
const SHORTEST_MS: f64 = 10.0;
/// The ratio between the ends of neighbouring buckets. An answer is too long by at most this factor.
const GROWTH: f64 = 1.1;
/// Number of buckets. The last ends at [`SHORTEST_MS`] × `GROWTH`^120, a quarter of an hour, which is as long as traces
/// are followed.
const BUCKETS: usize = 121;

/// The least number of seen spans beyond an answer. With fewer, the answer would depend on chance.
const SEEN_BEYOND: f64 = 10.0;

/// A histogram of the delays of the last [`MINUTES`] minutes.
#[derive(Debug)]
pub struct Delays {
    minutes: Box<[Minute; MINUTES]>,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    number: u64,
    /// Number of spans in the sample.
    seen: u64,
    /// Number of spans that the sampled ones stand for, by bucket.
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
    /// Records `seen` spans, which stand for `spans`, that came `delay_ms` after the first span of their trace.
    pub fn record(&mut self, delay_ms: Millis, seen: u64, spans: u64, now_ms: Millis) {
        let number = now_ms / MINUTE_MS;
        let minute = &mut self.minutes[(number % MINUTES as u64) as usize];
        if minute.number != number {
            *minute = Minute { number, ..Minute::EMPTY };
        }
        minute.seen += seen;
        minute.spans[bucket(delay_ms)] += spans;
    }

    /// Returns the shortest wait, to 10 %, within which `share` (0 to 1) of the spans came, or `None` if too few spans
    /// were seen to tell.
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

/// Returns the number of the bucket that a delay falls into.
fn bucket(delay_ms: Millis) -> usize {
    let steps = ((delay_ms as f64).max(SHORTEST_MS) / SHORTEST_MS).ln() / GROWTH.ln();
    (steps.ceil() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests;
