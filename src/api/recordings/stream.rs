//! The body of a recording: one segment in the format of `src/journal/format.rs`, not compressed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, interval_at};

use super::queue::Taken;
use super::records::{Made, RecordMaker};
use super::redaction::Redaction;
use super::{Client, RecordingHub};
use crate::budget::Share;
use crate::receiver::API_STREAM_SILENCE_MAX;

/// The time without a request after which the client gets an empty remark, so that both sides notice a broken connection.
const KEEP_ALIVE_INTERVAL: Duration = API_STREAM_SILENCE_MAX;

/// The most time for which the client does not know of a request that was left out. A client that ends its recording reads
/// on for so long (`spansieve record`).
pub const REMARK_DELAY_MAX: Duration = Duration::from_secs(1);

/// The body of a recording.
#[derive(Debug)]
pub struct RecordingStream {
    hub: Arc<RecordingHub>,
    client: Arc<Client>,
    keep_alive: Interval,
    /// True if the next remark is due within [`REMARK_DELAY_MAX`].
    is_hastened: bool,
    has_ended: bool,
    maker: RecordMaker,
    /// Records that are being made on a thread that may block.
    job: Option<JoinHandle<Made>>,
    /// Parts of the body that are ready.
    parts: VecDeque<Bytes>,
    /// Given back when the stream and its last job are gone.
    share: Arc<Share>,
}

impl RecordingStream {
    pub(super) fn new(hub: Arc<RecordingHub>, client: Arc<Client>, redaction: Redaction, share: Share) -> Self {
        let (redact, hash) = (redaction.redacted().join(", "), redaction.hashed().join(", "));
        tracing::info!(redact, hash, "A client of the API records what is received.");
        let maker = RecordMaker::new(redaction);
        RecordingStream {
            hub,
            client,
            keep_alive: interval_at(Instant::now() + KEEP_ALIVE_INTERVAL, KEEP_ALIVE_INTERVAL),
            is_hastened: false,
            has_ended: false,
            parts: VecDeque::from([maker.head()]),
            maker,
            job: None,
            share: Arc::new(share),
        }
    }

    /// Makes the records of `taken`, on another thread if that takes long.
    fn make(&mut self, taken: Taken) {
        let maker = self.maker.clone();
        if self.maker.is_heavy(&taken) {
            let share = Arc::clone(&self.share);
            self.job = Some(tokio::task::spawn_blocking(move || {
                let made = maker.make(taken);
                drop(share);
                made
            }));
        } else {
            self.add(maker.make(taken));
        }
    }

    fn add(&mut self, made: Made) {
        self.maker.sequence = made.next_sequence;
        self.client.queue.left_out_after_all(made.left_out);
        self.parts.extend(made.parts);
    }

    /// Waits for the records that are being made, if there are any.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(job) = &mut self.job {
            let made = ready!(Pin::new(job).poll(cx));
            self.job = None;
            match made {
                Ok(made) => self.add(made),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => self.has_ended = true,
            }
        }
        Poll::Ready(())
    }

    /// Waits until a remark is due that no request carries: a sign of life, or the number of requests that were left out.
    fn poll_remark(&mut self, has_left_out: bool, cx: &mut Context<'_>) -> Poll<()> {
        if has_left_out && !std::mem::replace(&mut self.is_hastened, true) {
            self.keep_alive.reset_after(REMARK_DELAY_MAX);
        }
        ready!(self.keep_alive.poll_tick(cx));
        self.is_hastened = false;
        let left_out = self.client.queue.take_left_out();
        self.parts.push_back(self.maker.remark(left_out));
        Poll::Ready(())
    }
}

impl Body for RecordingStream {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        loop {
            ready!(self.poll_job(cx));
            if let Some(part) = self.parts.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if self.has_ended {
                return Poll::Ready(None);
            }
            let taken = self.client.queue.take(cx.waker());
            self.has_ended = taken.is_last;
            if !taken.is_empty() {
                self.keep_alive.reset();
                self.is_hastened = false;
                self.make(taken);
            } else if !taken.is_last {
                ready!(self.poll_remark(taken.has_left_out, cx));
            }
        }
    }
}

impl Drop for RecordingStream {
    fn drop(&mut self) {
        self.hub.remove(|client| Arc::ptr_eq(client, &self.client));
        let (requests, left_out) = self.client.queue.totals();
        tracing::info!(requests, left_out, "A recording has ended.");
    }
}
