//! The stream of decisions: listeners, their filters and their queues.
//!
//! Invariants
//! - Without a listener, a round of decisions costs one relaxed load of [`DecisionHub::is_listened_to`].
//! - Nothing waits for a listener. What its queue has no room for, and what exceeds its rate, is left out and counted, and
//!   the stream says how many.
//! - The number of listeners is limited, and the memory of each is reserved in the budget before it listens. The receiver
//!   gives a client a part of the places only, and ends the connection of one that takes nothing.

mod filter;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::time::{Instant, Interval, interval_at};

pub use self::filter::{Filter, FilterError};
use super::answers::{DecisionAnswer, LeftOut};
use crate::budget::{Budget, Share};
use crate::receiver::{API_STREAM_SILENCE_MAX, API_STREAMS_MAX};
use crate::tail::table::Millis;

/// The most listeners of a daemon: as many as the receiver has places for.
pub const LISTENERS_MAX: usize = API_STREAMS_MAX;

/// The most bytes that wait for a listener, with the memory that is kept ready for more: some thousand decisions.
const QUEUE_BYTES_MAX: usize = 128 << 10;

/// Bytes that a listener takes of the memory budget: its queue, the part of it that is being sent, and half a queue while
/// that moves to a larger buffer.
const LISTENER_BYTES: usize = 5 * QUEUE_BYTES_MAX / 2;

/// The most bytes of the line that says how many decisions were left out.
const LEFT_OUT_BYTES_MAX: usize = 64;

/// The most decisions a second that a listener gets, and the most at once. A person cannot read faster, and a filter
/// makes the ones of interest few.
const RATE_MAX: u64 = 1_000;

/// The time without a decision after which a listener gets an empty line, so that both sides notice a broken connection.
const KEEP_ALIVE_INTERVAL: Duration = API_STREAM_SILENCE_MAX;

/// A decision that listeners may want. Its parts are made only if one wants them.
pub trait Candidate {
    /// Returns `kept` or `dropped`.
    fn verdict(&self) -> &'static str;

    /// Returns the name of the policy that kept or dropped the trace; empty if none did.
    fn policy(&self) -> String;

    /// Returns the names of the services of the trace.
    fn services(&self) -> Vec<String>;

    /// Returns the document with these services.
    fn answer(&self, services: Vec<String>) -> DecisionAnswer;
}

/// The reason why a client cannot listen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoPlace {
    /// There are as many listeners as there may be.
    #[error("{LISTENERS_MAX} clients listen already, and there may be no more; retry later")]
    Listeners,
    /// The memory budget has no room for the queue.
    #[error("the memory budget has no room for another listener; retry later")]
    Memory,
}

/// The listeners of a daemon.
#[derive(Debug, Default)]
pub struct DecisionHub {
    count: AtomicUsize,
    listeners: RwLock<Vec<Arc<Listener>>>,
}

impl DecisionHub {
    /// Returns true if there are listeners.
    #[inline]
    #[must_use]
    pub fn is_listened_to(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Adds a listener. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn listen(self: &Arc<Self>, filter: Filter, budget: &Budget) -> Result<DecisionStream, NoPlace> {
        let mut listeners = self.listeners.write();
        if listeners.len() >= LISTENERS_MAX {
            return Err(NoPlace::Listeners);
        }
        let share = budget.reserve(LISTENER_BYTES).ok_or(NoPlace::Memory)?;
        let listener = Arc::new(Listener { filter, queue: Mutex::default() });
        listeners.push(Arc::clone(&listener));
        self.count.store(listeners.len(), Relaxed);
        let keep_alive = interval_at(Instant::now() + KEEP_ALIVE_INTERVAL, KEEP_ALIVE_INTERVAL);
        Ok(DecisionStream { listener, hub: Arc::clone(self), keep_alive, _share: share })
    }

    /// Passes decisions on to the listeners that want them.
    pub fn publish<D: Candidate>(&self, decisions: impl Iterator<Item = D>, now_ms: Millis) {
        let listeners = self.listeners.read().clone();
        for decision in decisions {
            let mut services: Option<Vec<String>> = None;
            let mut line: Option<Vec<u8>> = None;
            for listener in &listeners {
                let filter = &listener.filter;
                let is_wanted = filter.wants(decision.verdict(), || decision.policy())
                    && (!filter.names_services()
                        || filter.wants_any(services.get_or_insert_with(|| decision.services())));
                if is_wanted && listener.has_room(now_ms) {
                    let services = services.get_or_insert_with(|| decision.services());
                    listener.push(line.get_or_insert_with(|| encoded(&decision.answer(services.clone()))));
                }
            }
        }
    }

    /// Ends all streams, after what waits in them.
    pub fn close(&self) {
        self.remove(|_| true);
    }

    fn remove(&self, is_it: impl Fn(&Arc<Listener>) -> bool) {
        let mut listeners = self.listeners.write();
        for listener in listeners.extract_if(.., |listener| is_it(listener)) {
            listener.close();
        }
        self.count.store(listeners.len(), Relaxed);
    }
}

/// Returns the line of a document.
fn encoded(document: &impl serde::Serialize) -> Vec<u8> {
    // Does not fail: no document has a map with keys that are not strings.
    let mut line = serde_json::to_vec(document).unwrap_or_default();
    line.push(b'\n');
    line
}

/// A client that listens.
#[derive(Debug)]
struct Listener {
    filter: Filter,
    queue: Mutex<Queue>,
}

/// The lines that wait for a listener.
#[derive(Debug)]
struct Queue {
    lines: Vec<u8>,
    /// Decisions that were left out since the stream last said how many.
    left_out: u64,
    /// Decisions that the listener may get now, in thousandths.
    tokens: u64,
    refilled_ms: Millis,
    /// True from the first line that had no room, until lines are taken.
    is_full: bool,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            lines: Vec::new(),
            left_out: 0,
            tokens: RATE_MAX * 1_000,
            refilled_ms: 0,
            is_full: false,
            is_closed: false,
            waker: None,
        }
    }
}

impl Queue {
    /// Adds a line. Without room for it, counts its decision as left out.
    fn add(&mut self, line: &[u8]) {
        let needed = self.lines.len() + line.len() + LEFT_OUT_BYTES_MAX;
        if needed > QUEUE_BYTES_MAX {
            self.is_full = true;
            self.left_out += 1;
            return;
        }
        if needed > self.lines.capacity() {
            let capacity = (2 * self.lines.capacity()).clamp(needed, QUEUE_BYTES_MAX);
            self.lines.reserve_exact(capacity - self.lines.len());
        }
        self.lines.extend_from_slice(line);
    }
}

impl Listener {
    /// Returns true if the listener gets another decision now. Otherwise counts it as left out.
    fn has_room(&self, now_ms: Millis) -> bool {
        let mut queue = self.queue.lock();
        let more = now_ms.saturating_sub(queue.refilled_ms).saturating_mul(RATE_MAX);
        queue.tokens = queue.tokens.saturating_add(more).min(RATE_MAX * 1_000);
        queue.refilled_ms = now_ms;
        if !queue.is_full && queue.tokens >= 1_000 {
            queue.tokens -= 1_000;
            return true;
        }
        queue.left_out += 1;
        false
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.queue.lock();
        queue.add(line);
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes the lines that wait, behind one that says how many decisions were left out. Returns true if more may come.
    fn take(&self, waker: &Waker) -> (Vec<u8>, bool) {
        let mut queue = self.queue.lock();
        let lines = std::mem::take(&mut queue.lines);
        queue.is_full = false;
        if lines.is_empty() {
            queue.waker = Some(waker.clone());
            return (lines, !queue.is_closed);
        }
        (with_left_out(std::mem::take(&mut queue.left_out), lines), true)
    }

    /// Returns a line that shows that the stream goes on.
    fn sign_of_life(&self) -> Vec<u8> {
        with_left_out(std::mem::take(&mut self.queue.lock().left_out), b"\n".to_vec())
    }
}

/// Returns `lines` behind one that says how many decisions were left out, if any were.
fn with_left_out(left_out: u64, mut lines: Vec<u8>) -> Vec<u8> {
    if left_out > 0 {
        lines.splice(0..0, encoded(&LeftOut { left_out }));
    }
    lines
}

/// The body of a stream of decisions: a line of JSON for each.
#[derive(Debug)]
pub struct DecisionStream {
    listener: Arc<Listener>,
    hub: Arc<DecisionHub>,
    keep_alive: Interval,
    _share: Share,
}

impl Body for DecisionStream {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let (lines, goes_on) = self.listener.take(cx.waker());
        if !lines.is_empty() {
            self.keep_alive.reset();
            return Poll::Ready(Some(Ok(Frame::data(lines.into()))));
        }
        if !goes_on {
            return Poll::Ready(None);
        }
        self.keep_alive.poll_tick(cx).map(|_| Some(Ok(Frame::data(self.listener.sign_of_life().into()))))
    }
}

impl Drop for DecisionStream {
    fn drop(&mut self) {
        self.hub.remove(|listener| Arc::ptr_eq(listener, &self.listener));
    }
}

#[cfg(test)]
mod tests;
