//! The body of a recording: one segment in the format of `src/journal/format.rs`, not compressed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Interval, interval_at};

use super::queue::{Taken, Waiting};
use super::redaction::Redaction;
use super::{Client, RecordingHub};
use crate::budget::Share;
use crate::journal::format::{RECORD_HEADER_LEN, RecordKind, put_record, segment_header};
use crate::journal::recording::Remark;
use crate::receiver::API_STREAM_SILENCE_MAX;

/// The time without a request after which the client gets an empty remark, so that both sides notice a broken connection.
const KEEP_ALIVE_INTERVAL: Duration = API_STREAM_SILENCE_MAX;

/// The body of a recording.
#[derive(Debug)]
pub struct RecordingStream {
    hub: Arc<RecordingHub>,
    client: Arc<Client>,
    redaction: Redaction,
    keep_alive: Interval,
    has_begun: bool,
    has_ended: bool,
    /// The number of the next request.
    sequence: u64,
    /// A request while its attributes are changed.
    redacted: Vec<u8>,
    _share: Share,
}

impl RecordingStream {
    pub(super) fn new(hub: Arc<RecordingHub>, client: Arc<Client>, redaction: Redaction, share: Share) -> Self {
        let (redact, hash) = (redaction.redacted().join(", "), redaction.hashed().join(", "));
        tracing::info!(redact, hash, "A client of the API records what is received.");
        RecordingStream {
            hub,
            client,
            redaction,
            keep_alive: interval_at(Instant::now() + KEEP_ALIVE_INTERVAL, KEEP_ALIVE_INTERVAL),
            has_begun: false,
            has_ended: false,
            sequence: 1,
            redacted: Vec::new(),
            _share: share,
        }
    }

    /// Returns the beginning: the header of the segment, and what is changed in all requests.
    fn head(&self) -> Vec<u8> {
        let mut out = segment_header();
        let (redacted, hashed) = (self.redaction.redacted().to_vec(), self.redaction.hashed().to_vec());
        put_remark(&mut out, &Remark { redacted, hashed, ..Remark::default() });
        out
    }

    fn records(&mut self, taken: Taken) -> Vec<u8> {
        let bytes: usize = taken.requests.iter().map(|(_, body)| RECORD_HEADER_LEN + body.len()).sum();
        let mut out = Vec::with_capacity(bytes);
        let mut left_out = taken.left_out;
        if left_out > 0 {
            put_remark(&mut out, &Remark { requests_left_out: left_out, ..Remark::default() });
            left_out = 0;
        }
        for request in taken.requests {
            left_out += u64::from(!self.put_request(&mut out, &request));
        }
        if left_out > 0 {
            put_remark(&mut out, &Remark { requests_left_out: left_out, ..Remark::default() });
        }
        out
    }

    /// Appends a request with its attributes changed. Returns false if that is not possible, which does not happen: the
    /// scan has accepted the request.
    fn put_request(&mut self, out: &mut Vec<u8>, (unix_nano, body): &Waiting) -> bool {
        let body = if self.redaction.is_empty() {
            body
        } else {
            self.redacted.clear();
            if self.redaction.apply(body, &mut self.redacted).is_err() {
                return false;
            }
            &self.redacted[..]
        };
        put_record(out, RecordKind::Request, self.sequence, *unix_nano, body);
        self.sequence += 1;
        true
    }
}

fn put_remark(out: &mut Vec<u8>, remark: &Remark) {
    put_record(out, RecordKind::Remark, 0, 0, &remark.encode());
}

impl Body for RecordingStream {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Poll::Ready(Some(Ok(Frame::data(self.head().into()))));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let taken = self.client.queue.take(cx.waker());
        self.has_ended = taken.is_last;
        if !taken.requests.is_empty() || taken.left_out > 0 {
            self.keep_alive.reset();
            return Poll::Ready(Some(Ok(Frame::data(self.records(taken).into()))));
        }
        if taken.is_last {
            return Poll::Ready(None);
        }
        ready!(self.keep_alive.poll_tick(cx));
        let mut out = Vec::new();
        let requests_left_out = self.client.queue.take_left_out();
        put_remark(&mut out, &Remark { requests_left_out, ..Remark::default() });
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }
}

impl Drop for RecordingStream {
    fn drop(&mut self) {
        self.hub.remove(|client| Arc::ptr_eq(client, &self.client));
        let (requests, left_out) = self.client.queue.totals();
        tracing::info!(requests, left_out, "A recording has ended.");
    }
}
