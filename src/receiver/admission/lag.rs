//! Measures how long a task that is ready waits for its turn.
//!
//! A small request waits before any part of it has been read: its connection is ready, but many others are before it in
//! the runtime's queue. A probe goes through that queue again and again. One pass is a turn. A task that joins the
//! queue now waits about as long as the present turn has lasted.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The part of a turn in which requests are served while turns are long. If senders keep a worker busy with a few
/// requests each, a turn takes 10 ms.
const TURN_MAX: Duration = Duration::from_millis(20);

/// Time for which turns may be longer than [`TURN_MAX`]. A burst or one very large request is not an overload.
const PATIENCE: Duration = Duration::from_millis(100);

/// The probe pauses after a turn shorter than this. In this case there is practically no queue.
const TURN_SHORT: Duration = Duration::from_millis(5);

/// The shortest pause. The first request after it ends the pause, so that an idle daemon sleeps, and one with few
/// requests needs no timer. It is shorter than [`TURN_MAX`], so it cannot hide a long turn.
const PAUSE: Duration = Duration::from_millis(10);

/// The bit that tells the end of a pause from the start of a turn.
const PAUSES: u64 = 1 << 63;

/// Sentinel in place of a time: a request has ended the pause, and the probe joins the queue soon.
const WAKES: u64 = u64::MAX;

/// Measurement of the wait in the runtime's queue.
#[derive(Debug)]
pub(super) struct Lag {
    epoch: Instant,
    /// Time at which the probe joined the queue, in microseconds since `epoch`; in a pause, the time from which a
    /// request ends it, with the bit [`PAUSES`]; or [`WAKES`].
    turn_start_us: AtomicU64,
    /// The part of a turn in which requests are served, in microseconds.
    serving_us: AtomicU64,
    /// Notified by the request that ends a pause, and when the measurement ends.
    wake: Arc<Notify>,
}

impl Lag {
    pub(in crate::receiver) fn new() -> Self {
        Lag {
            epoch: Instant::now(),
            turn_start_us: AtomicU64::new(PAUSES),
            serving_us: AtomicU64::new(micros(PATIENCE)),
            wake: Arc::default(),
        }
    }

    /// Returns true if a request may be served in the present turn. `last_turn` is the last turn in which a request of
    /// its connection was served. When the time for serving is over, connections that had no request served in this
    /// turn get the same time once more. All other requests are refused, which costs little, so the next turn begins
    /// soon.
    pub(in crate::receiver) fn serves(&self, last_turn: &AtomicU64) -> bool {
        let turn = self.turn_start_us.load(Relaxed);
        if turn & PAUSES != 0 {
            self.end_pause(turn);
            return true;
        }
        let (lasts_us, serving_us) = (micros(self.epoch.elapsed()).saturating_sub(turn), self.serving_us.load(Relaxed));
        let serves = lasts_us <= serving_us || (lasts_us <= 2 * serving_us && last_turn.load(Relaxed) != turn);
        if serves {
            last_turn.store(turn, Relaxed);
        }
        serves
    }

    /// Wakes the probe if its pause, which `turn` stands for, has lasted long enough.
    fn end_pause(&self, turn: u64) {
        let is_over = turn != WAKES && micros(self.epoch.elapsed()) >= turn & !PAUSES;
        if is_over && self.turn_start_us.compare_exchange(turn, WAKES, Relaxed, Relaxed).is_ok() {
            self.wake.notify_one();
        }
    }

    /// Goes through the queue again and again until a turn takes less than [`TURN_SHORT`]. Then the pause begins. It ends
    /// with the result's notification: when a request comes after [`PAUSE`], or when `self` is dropped.
    pub(in crate::receiver) async fn probe(&self) -> Arc<Notify> {
        let mut long_since = None;
        loop {
            let start = self.epoch.elapsed();
            self.turn_start_us.store(micros(start), Relaxed);
            turn().await;
            let end = self.epoch.elapsed();
            let took = end - start;
            let long_for = if took > TURN_MAX { end - *long_since.get_or_insert(start) } else { Duration::ZERO };
            // If refusing takes long by itself, half of the turn is still for serving.
            let serving = if long_for > PATIENCE { TURN_MAX.max(took / 2) } else { PATIENCE };
            self.serving_us.store(micros(serving), Relaxed);
            if took <= TURN_MAX {
                long_since = None;
            }
            if took < TURN_SHORT {
                self.turn_start_us.store(PAUSES | micros(end + PAUSE), Relaxed);
                return Arc::clone(&self.wake);
            }
        }
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// Returns once every task that was ready has had its turn. `yield_now` is not used, because it also waits until the
/// runtime has polled sockets and timers.
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
