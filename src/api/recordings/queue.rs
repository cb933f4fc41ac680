//! The requests that wait for one client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{CHUNK_BYTES, QUEUE_BYTES_MAX, STUCK_MS_MAX};
use crate::tail::table::Millis;

/// Bytes of memory that a request takes beside its body.
const ENTRY_BYTES: usize = 64;

/// The smallest body that is not copied. To copy 300 KB takes 50 us if neither place is in a cache, as in a daemon with
/// little to do.
pub(super) const SHARED_BYTES_MIN: usize = 32 << 10;

/// The most bodies of a client that are not copied: each keeps a block of request bodies in use ([`crate::budget`]), a
/// thirty-second of the memory limit. If more wait, the client is slow.
const SHARED_MAX: usize = 2;

/// A request and the time of its arrival, in nanoseconds since 1970.
pub(super) type Waiting = (u64, Bytes);

/// A body that is not copied, with its place among [`SHARED_MAX`].
struct SharedBody(Bytes, #[expect(dead_code, reason = "given back with the body")] Arc<()>);

impl AsRef<[u8]> for SharedBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The next part to send.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Requests that came before the next ones, and were left out.
    pub(super) left_out: u64,
    /// Requests.
    pub(super) requests: Vec<Waiting>,
    /// True if there is nothing to send yet but the number of requests that were left out.
    pub(super) has_left_out: bool,
    /// True if nothing follows.
    pub(super) is_last: bool,
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.left_out == 0
    }

    /// Returns the bytes of the requests.
    pub(super) fn bytes(&self) -> usize {
        self.requests.iter().map(|(_, body)| body.len()).sum()
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Waiting>,
    /// Bytes of the requests that wait, and of those that were taken last: these are in memory until the next ones are taken.
    bytes: usize,
    taken_bytes: usize,
    /// Requests that were left out since the recording last said how many.
    left_out: u64,
    /// All requests that were taken, and all that were left out.
    totals: (u64, u64),
    /// The time since which the queue has been full.
    full_since_ms: Option<Millis>,
    is_closed: bool,
    waker: Option<Waker>,
    /// Each body that is not copied has a clone until it is sent.
    shared: Arc<()>,
}

impl State {
    /// Counts a request that is left out. Returns the client's waker if that is news for it.
    fn leave_out(&mut self) -> Option<Waker> {
        self.left_out += 1;
        self.totals.1 += 1;
        if self.left_out == 1 { self.waker.take() } else { None }
    }

    /// Returns `body`, copied if it is small or if the client is slow.
    fn held(&self, body: &Bytes) -> Bytes {
        // Only the queue makes clones, under its lock.
        let is_shared = body.len() >= SHARED_BYTES_MIN && Arc::strong_count(&self.shared) <= SHARED_MAX;
        if is_shared {
            Bytes::from_owner(SharedBody(body.clone(), Arc::clone(&self.shared)))
        } else {
            Bytes::copy_from_slice(body)
        }
    }

    /// Takes the next requests out: as many as are sent at once, or one that is larger.
    fn next_requests(&mut self) -> Vec<Waiting> {
        let (mut requests, mut bytes) = (Vec::new(), 0);
        while let Some((_, body)) = self.requests.front() {
            bytes += body.len() + ENTRY_BYTES;
            if bytes > CHUNK_BYTES && !requests.is_empty() {
                break;
            }
            self.taken_bytes = bytes;
            requests.extend(self.requests.pop_front());
        }
        requests
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue(Mutex::default())
    }

    /// Appends a request, if there is room for it and nothing else `is_short`. Otherwise counts it as left out.
    pub(super) fn push(&self, unix_nano: u64, body: &Bytes, is_short: bool, now_ms: Millis) {
        let mut state = self.0.lock();
        let bytes = body.len() + ENTRY_BYTES;
        if is_short || state.bytes + bytes > QUEUE_BYTES_MAX {
            if state.bytes > 0 {
                state.full_since_ms.get_or_insert(now_ms);
            }
            let waker = state.leave_out();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            return;
        }
        state.bytes += bytes;
        let body = state.held(body);
        state.requests.push_back((unix_nano, body));
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

    /// Takes some of the requests that wait, when those that were taken before are no longer needed. If there are none,
    /// `waker` is called once there are, or once a request is left out.
    pub(super) fn take(&self, waker: &Waker) -> Taken {
        let mut state = self.0.lock();
        state.full_since_ms = None;
        state.bytes -= std::mem::take(&mut state.taken_bytes);
        if state.requests.is_empty() && !state.is_closed {
            state.waker = Some(waker.clone());
            return Taken { has_left_out: state.left_out > 0, ..Taken::default() };
        }
        let left_out = std::mem::take(&mut state.left_out);
        let requests = state.next_requests();
        state.totals.0 += requests.len() as u64;
        let is_last = state.requests.is_empty() && state.is_closed;
        Taken { left_out, requests, has_left_out: false, is_last }
    }

    /// Notes that so many of the requests that were taken were left out after all.
    pub(super) fn left_out_after_all(&self, requests: u64) {
        let mut state = self.0.lock();
        state.totals.0 -= requests;
        state.totals.1 += requests;
    }

    /// Returns the number of requests that were left out since this was last said.
    pub(super) fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.0.lock().left_out)
    }
}
