//! How long a task that is ready waits for its turn.
//!
//! Small requests wait where nothing of them has been read: their connections are ready, and many others are before
//! them in the runtime's queue. A probe goes through that queue again and again; what has been served since it joined
//! the queue is the wait of whatever joins now.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

/// The part of each turn that is for serving when turns stay long. Senders that keep a worker busy with a few requests each make turns of 10 ms.
const TURN_MAX: Duration = Duration::from_millis(20);

/// Turns may be longer for so long: a burst, or one very large request, is no overload.
const PATIENCE: Duration = Duration::from_millis(100);

/// After a turn shorter than this the probe pauses: there is no queue to speak of, and an idle daemon shall sleep.
const TURN_SHORT: Duration = Duration::from_millis(5);

/// How long it pauses: a hundred turns a second cost nothing, and less than [`TURN_MAX`] goes unseen.
const PAUSE: Duration = Duration::from_millis(10);

/// Instead of a time: the probe pauses.
const PAUSES: u64 = u64::MAX;

/// The wait in the runtime's queue.
#[derive(Debug)]
pub(super) struct Lag {
    epoch: Instant,
    /// When the probe joined the queue, in microseconds since `epoch`.
    turn_start_us: AtomicU64,
    /// How much of the turn is for serving.
    serving_us: AtomicU64,
}

impl Lag {
    pub(super) fn new() -> Self {
        Lag {
            epoch: Instant::now(),
            turn_start_us: AtomicU64::new(PAUSES),
            serving_us: AtomicU64::new(micros(PATIENCE)),
        }
    }

    /// Whether a request is served in the present turn; `last_turn` is the one in which its connection last had a
    /// request served. When the part for serving is over, connections that had none yet have as long again. What is
    /// refused for the rest of the turn costs little, so that the next one begins soon.
    pub(super) fn serves(&self, last_turn: &AtomicU64) -> bool {
        let turn = self.turn_start_us.load(Relaxed);
        if turn == PAUSES {
            return true;
        }
        let (lasts_us, serving_us) = (micros(self.epoch.elapsed()).saturating_sub(turn), self.serving_us.load(Relaxed));
        let serves = lasts_us <= serving_us || (lasts_us <= 2 * serving_us && last_turn.load(Relaxed) != turn);
        if serves {
            last_turn.store(turn, Relaxed);
        }
        serves
    }

    /// Goes through the queue once, again at once if that took long.
    pub(super) async fn probe(&self) {
        let mut long_since = None;
        loop {
            let start = self.epoch.elapsed();
            self.turn_start_us.store(micros(start), Relaxed);
            turn().await;
            let end = self.epoch.elapsed();
            let took = end - start;
            let long_for = if took > TURN_MAX { end - *long_since.get_or_insert(start) } else { Duration::ZERO };
            // Where refusing alone takes long, half of the time is still for serving.
            let serving = if long_for > PATIENCE { TURN_MAX.max(took / 2) } else { PATIENCE };
            self.serving_us.store(micros(serving), Relaxed);
            if took <= TURN_MAX {
                long_since = None;
            }
            if took < TURN_SHORT {
                self.turn_start_us.store(PAUSES, Relaxed);
                return tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// Returns when everything that was ready has had its turn. (Not `yield_now`, which waits for the next look at sockets
/// and timers.)
async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
