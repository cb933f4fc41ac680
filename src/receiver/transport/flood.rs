//! Limit on HTTP/2 frames that cause work and carry no request. RFC 9113, 10.5 tells endpoints to watch the use of such
//! frames, and to close a connection that uses too many of them with ENHANCE_YOUR_CALM.
//!
//! The HTTP/2 library does not limit them. A SETTINGS frame is the most expensive: a new initial window changes the
//! window of every open stream (6.9.2), so it takes the library up to a thousand steps.

use tokio::time::Instant;

use super::frames::FrameCounts;

/// SETTINGS frames that a peer may send at once, and in each second. Peers send one at the beginning, and gRPC's
/// libraries send a few when they find that a larger window helps.
const SETTINGS_RATE: Rate = Rate { burst: 100.0, per_second: 10.0 };

/// Other frames that a peer may send at once, and in each second, in addition to [`CHORES_PER_HEAD`]. A thousand answers
/// can arrive at a peer together.
const CHORES_RATE: Rate = Rate { burst: 5_000.0, per_second: 200.0 };

/// Further frames that a peer may send for each request. grpc-go sends a PING for an answer to measure the round trip,
/// some clients send two WINDOW_UPDATE frames for each piece of an answer, and a small or empty DATA frame ends many
/// requests.
const CHORES_PER_HEAD: usize = 16;

/// The number of frames that are admitted.
#[derive(Debug)]
struct Rate {
    burst: f64,
    per_second: f64,
}

/// Frames that a peer may still send now.
#[derive(Debug)]
struct Credit {
    rate: &'static Rate,
    left: f64,
}

impl Credit {
    const fn new(rate: &'static Rate) -> Self {
        Credit { rate, left: rate.burst }
    }

    /// Adds what `seconds` and `earned` are worth, and takes `spent` frames. What is left is at most the burst, so that a
    /// peer cannot save for a flood. Returns false if the credit is used up.
    fn spend(&mut self, seconds: f64, earned: usize, spent: usize) -> bool {
        let saved = (self.left + self.rate.per_second * seconds).min(self.rate.burst);
        self.left = (saved + earned as f64 - spent as f64).min(self.rate.burst);
        self.left >= 0.0
    }
}

/// Limit for one connection.
#[derive(Debug)]
pub(super) struct FloodLimit {
    seen: FrameCounts,
    seen_at: Instant,
    settings: Credit,
    chores: Credit,
}

impl FloodLimit {
    pub(super) fn new() -> Self {
        FloodLimit {
            seen: FrameCounts::default(),
            seen_at: Instant::now(),
            settings: Credit::new(&SETTINGS_RATE),
            chores: Credit::new(&CHORES_RATE),
        }
    }

    /// Takes note of the frames that a peer has sent since the connection began. Returns false if they are too many.
    pub(super) fn admits(&mut self, frames: FrameCounts) -> bool {
        let (settings, chores) = (frames.settings - self.seen.settings, frames.chores - self.seen.chores);
        if settings + chores == 0 {
            // The heads since then count with the next frames.
            return true;
        }
        let now = Instant::now();
        let seconds = (now - self.seen_at).as_secs_f64();
        let earned = CHORES_PER_HEAD * (frames.heads - self.seen.heads);
        (self.seen, self.seen_at) = (frames, now);
        self.settings.spend(seconds, 0, settings) & self.chores.spend(seconds, earned, chores)
    }
}

#[cfg(test)]
mod tests;
