//! One export request from its head to its answer: its admission, its memory, and the pace of its body.
//!
//! Admission is fair between connections by one rule: a connection may hold as much as is left for all. A single
//! connection gets half. `n` greedy connections get an `(n+1)`th each, and as much stays free for the next one. The
//! rule holds for bodies that are being read and for the reserve of the memory budget.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep};

use super::queue::RequestQueue;
use super::refusal::{BODY_BYTES_PER_SECOND_MIN, BODY_GRACE, BODY_TIME_MAX, Refusal};
use crate::budget::{Budget, Room, Share, ladder};
use crate::journal::Journal;
use crate::receiver::transport::connection::Connection;
use crate::receiver::{AcceptError, Accepted, Intake, RequestMemory};
use crate::tail::journal_hold::JournalHold;

/// Number of forms that a request has on its way (compressed, JSON, protobuf). Bodies may always hold the largest
/// request in all of its forms, no matter how small the budget is.
const FORMS: usize = 3;

/// Divisor of the memory that is left for bodies, which gives the bytes of an announced length that are allocated at
/// first. Eighty connections that announce as much as they can leave a twelfth of all of it.
const ANNOUNCED_PART: usize = 32;

/// Time between two checks of a body's pace. It is also the time that a body has without progress when memory for
/// bodies is short.
const PACE_INTERVAL: Duration = Duration::from_secs(1);

/// State that the requests of all connections share.
#[derive(Debug)]
pub(in crate::receiver) struct Admission {
    pub(in crate::receiver) queue: Arc<RequestQueue>,
    reading_bytes: AtomicUsize,
    reading_bytes_max: usize,
}

impl Admission {
    pub(in crate::receiver) fn new(budget: &Budget, max_request_bytes: usize) -> Self {
        let reading_bytes_max = ladder::READING.of(budget.limit_bytes()).max(FORMS * max_request_bytes);
        Admission { queue: Arc::new(RequestQueue::new()), reading_bytes: AtomicUsize::new(0), reading_bytes_max }
    }
}

/// An export request in flight.
#[derive(Debug)]
pub(in crate::receiver) struct InFlightRequest<I> {
    intake: Arc<I>,
    admission: Arc<Admission>,
    connection: Arc<Connection>,
    start: Instant,
    /// Time at which the request joined the queue.
    joined: OnceLock<Instant>,
    /// Bytes admitted for this request.
    held_bytes: AtomicUsize,
    /// Bytes of the body that have arrived.
    arrived_bytes: Arc<AtomicU64>,
}

impl<I: Intake> InFlightRequest<I> {
    /// Begins a request of `connection`.
    pub(in crate::receiver) fn new(intake: Arc<I>, admission: Arc<Admission>, connection: Arc<Connection>) -> Self {
        let (joined, held_bytes, arrived_bytes) = (OnceLock::new(), AtomicUsize::new(0), Arc::default());
        InFlightRequest { intake, admission, connection, start: Instant::now(), joined, held_bytes, arrived_bytes }
    }

    /// Takes a place in the queue. Refuses the request if the queue is too long.
    pub(in crate::receiver) fn join(&self) -> Result<(), Refusal> {
        if self.joined.get().is_none() {
            if !self.admission.queue.join(&self.connection) {
                return Err(Refusal::Overloaded);
            }
            let _ = self.joined.set(Instant::now());
        }
        Ok(())
    }

    /// Returns the time that the request has been in the queue. `None` if it is not in the queue.
    fn queued(&self) -> Option<Duration> {
        self.joined.get().map(Instant::elapsed)
    }

    /// Wraps `body` so that its bytes count towards the pace.
    pub(in crate::receiver) fn meter<B>(&self, body: B) -> Metered<B> {
        Metered { body, arrived_bytes: Arc::clone(&self.arrived_bytes) }
    }

    /// Runs `read`, which yields the body. Refuses the request if the body arrives too slowly or the queue sheds the
    /// request.
    pub(in crate::receiver) async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let mut read = pin!(read);
        let mut timer = pin!(sleep(PACE_INTERVAL));
        poll_fn(|cx| {
            if self.queued().is_some_and(|wait| self.admission.queue.sheds(wait)) {
                return Poll::Ready(Err(Refusal::Overloaded));
            }
            if let Poll::Ready(result) = read.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            while timer.as_mut().poll(cx).is_ready() {
                self.check_pace()?;
                timer.as_mut().reset(Instant::now() + PACE_INTERVAL);
            }
            Poll::Pending
        })
        .await
    }

    /// Notes that the request is in the trace table. `disk_time` is its wait for the journal. That is not a wait for
    /// the processor, so it is subtracted.
    pub(in crate::receiver) fn served(&self, disk_time: Duration) {
        self.admission.queue.served(self.queued().unwrap_or_default().saturating_sub(disk_time));
    }

    /// Refuses the request if too little of the body has arrived for the time that has passed.
    fn check_pace(&self) -> Result<(), Refusal> {
        let elapsed = self.start.elapsed();
        let earned = Duration::from_secs(self.arrived_bytes.load(Relaxed) / BODY_BYTES_PER_SECOND_MIN);
        if elapsed >= (BODY_GRACE + earned).min(BODY_TIME_MAX) {
            return Err(Refusal::Slow);
        }
        // Other requests wait for the memory.
        let is_short = self.admission.reading_bytes.load(Relaxed) > self.admission.reading_bytes_max / 2;
        if is_short && elapsed > PACE_INTERVAL + earned { Err(Refusal::NoRoom) } else { Ok(()) }
    }

    /// Returns the bytes that are left of the memory for bodies that are not in the trace table yet.
    fn left_bytes(&self) -> usize {
        self.admission.reading_bytes_max.saturating_sub(self.admission.reading_bytes.load(Relaxed))
    }

    /// Returns the `bytes` of memory that `take` takes from the intake, or `of_reserve` from the reserve. `None` if this
    /// request may not have them. The only reading request of a connection may take all that is left, and the reserve
    /// if nothing is left.
    fn allocate<T>(
        &self,
        bytes: usize,
        take: impl FnOnce(&I) -> Option<T>,
        of_reserve: impl FnOnce(Share) -> T,
    ) -> Option<T> {
        let own = self.connection.reading_bytes.load(Relaxed);
        let is_only = own == self.held_bytes.load(Relaxed);
        let fits = self.left_bytes().checked_sub(bytes).is_some_and(|left| is_only || own + bytes <= left);
        if !fits && !is_only {
            return None;
        }
        let taken = if fits { take(&self.intake) } else { None };
        let taken = taken.or_else(|| self.of_reserve(bytes).map(of_reserve))?;
        for held in [&self.admission.reading_bytes, &self.connection.reading_bytes, &self.held_bytes] {
            held.fetch_add(bytes, Relaxed);
        }
        Some(taken)
    }

    /// Takes `bytes` from the reserve of the memory budget.
    fn of_reserve(&self, bytes: usize) -> Option<Share> {
        self.budget().share().claimed(&self.connection.claim).of_reserve(bytes)
    }
}

impl<I: Intake> RequestMemory for InFlightRequest<I> {
    fn budget(&self) -> &Budget {
        self.intake.budget()
    }

    fn admit(&self, bytes: usize) -> Option<Share> {
        self.allocate(bytes, |intake| intake.admit(bytes), |share| share)
    }

    fn room(&self, bytes: usize) -> Option<Room> {
        self.allocate(bytes, |intake| intake.room(bytes), Room::alone)
    }

    /// Returns a small part of what is left, so that many connections that announce bodies leave room for others.
    fn announced_bytes_max(&self) -> usize {
        self.left_bytes() / ANNOUNCED_PART
    }
}

impl<I: Intake> Intake for InFlightRequest<I> {
    fn journal(&self) -> Option<&Journal> {
        self.intake.journal()
    }

    fn accept(&self, body: Bytes, share: Share, hold: Option<Arc<JournalHold>>) -> Result<Accepted, AcceptError> {
        self.intake.accept(body, share.claimed(&self.connection.claim), hold)
    }
}

impl<I> Drop for InFlightRequest<I> {
    fn drop(&mut self) {
        let held_bytes = *self.held_bytes.get_mut();
        for held in [&self.admission.reading_bytes, &self.connection.reading_bytes] {
            held.fetch_sub(held_bytes, Relaxed);
        }
        if self.joined.get().is_some() {
            self.admission.queue.leave(&self.connection);
        }
    }
}

/// A request body that counts for its request how many bytes have arrived.
#[derive(Debug)]
pub(in crate::receiver) struct Metered<B> {
    body: B,
    arrived_bytes: Arc<AtomicU64>,
}

impl<B: Body + Unpin> Body for Metered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Buf::remaining);
            self.arrived_bytes.fetch_add(bytes as u64, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
