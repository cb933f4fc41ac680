//! The requests that wait for one client.

use std::collections::VecDeque;
use std::task::Waker;

use parking_lot::Mutex;

use super::{QUEUE_BYTES_MAX, STUCK_MS_MAX};
use crate::tail::table::Millis;

/// Bytes of memory that a request takes beside its body.
const ENTRY_BYTES: usize = 64;

/// The bytes that are sent at once: enough for large writes, and little enough that a worker is not kept from other
/// connections for more than a fraction of a millisecond.
const CHUNK_BYTES: usize = 256 << 10;

/// A request and the time of its arrival, in nanoseconds since 1970.
pub(super) type Waiting = (u64, Box<[u8]>);

/// The next part to send.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Requests that came before the next ones, and were left out.
    pub(super) left_out: u64,
    /// Requests.
    pub(super) requests: Vec<Waiting>,
    /// True if nothing follows.
    pub(super) is_last: bool,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Waiting>,
    bytes: usize,
    /// Requests that were left out since the recording last said how many.
    left_out: u64,
    /// All requests that were taken, and all that were left out.
    totals: (u64, u64),
    /// The time since which the queue has been full.
    full_since_ms: Option<Millis>,
    is_closed: bool,
    waker: Option<Waker>,
}

impl State {
    fn leave_out(&mut self, requests: u64) {
        self.left_out += requests;
        self.totals.1 += requests;
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue(Mutex::default())
    }

    /// Appends a request, if there is room for it and nothing else `is_short`. Otherwise counts it as left out.
    pub(super) fn push(&self, unix_nano: u64, body: &[u8], is_short: bool, now_ms: Millis) {
        let mut state = self.0.lock();
        let bytes = body.len() + ENTRY_BYTES;
        if is_short || state.bytes + bytes > QUEUE_BYTES_MAX {
            if state.bytes > 0 {
                state.full_since_ms.get_or_insert(now_ms);
            }
            state.leave_out(1);
            return;
        }
        state.bytes += bytes;
        state.requests.push_back((unix_nano, body.into()));
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Returns true if requests have been left out for too long because the client takes nothing.
    pub(super) fn is_stuck(&self, now_ms: Millis) -> bool {
        self.0.lock().full_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) > STUCK_MS_MAX)
    }

    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Returns the number of requests that were recorded, and the number of those that were left out.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.0.lock().totals
    }

    /// Takes some of the requests that wait. If there are none, `waker` is called once there are.
    pub(super) fn take(&self, waker: &Waker) -> Taken {
        let mut state = self.0.lock();
        state.full_since_ms = None;
        if state.requests.is_empty() && !state.is_closed {
            state.waker = Some(waker.clone());
            return Taken::default();
        }
        let mut taken = Taken { left_out: std::mem::take(&mut state.left_out), ..Taken::default() };
        let mut bytes = 0;
        while bytes < CHUNK_BYTES {
            let Some(request) = state.requests.pop_front() else { break };
            bytes += request.1.len() + ENTRY_BYTES;
            taken.requests.push(request);
        }
        state.bytes -= bytes;
        state.totals.0 += taken.requests.len() as u64;
        taken.is_last = state.requests.is_empty() && state.is_closed;
        taken
    }

    /// Returns the number of requests that were left out since this was last said.
    pub(super) fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.0.lock().left_out)
    }
}
