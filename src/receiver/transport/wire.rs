//! A stream that reports its traffic to its connection, bounds the bytes that are read at once, and ends floods of
//! frames.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::connection::Connection;
use super::flood::FloodLimit;
use super::frames::Frames;
use super::goaway::{self, SentFrames};
use crate::receiver::admission::heads::{HeadShare, Heads};
use crate::telemetry::metrics::CutReason;

/// Bytes that are read from an HTTP/2 connection before its requests are served. So at most this much lies unread
/// outside of the memory budget. A request of everyday size arrives in one or two turns.
const TURN_BYTES_MAX: usize = 64 << 10;

/// Heads that are read before requests are served. Until then, the library holds each as it arrived, with up to 500
/// fields.
const TURN_BLOCKS_MAX: usize = 16;

/// Bytes of an incomplete head that need no room from the reserve. They fit into what each connection may hold.
const FREE_BLOCK_BYTES: usize = 8 << 10;

/// Number of bytes, at most, that tell HTTP/2 from HTTP/1.
const GREETING_BYTES: usize = 24;

/// Largest number of entries in the HPACK table: 4096 bytes (RFC 9113, 6.5.2) of 32 or more (RFC 7541, 4.1).
const TABLE_ENTRIES_MAX: usize = 4096 / 32;

/// Bytes that the buffers of the HPACK table take from the reserve at a time. Less is free, because a peer cannot know
/// at first that it should use no table. Peers that do not obey later take from the reserve.
const TABLE_STEP_BYTES: usize = 16 << 10;

/// Largest field block as it is sent, in bytes. The library answers 431 for heads of more than 16 KiB. It closes the
/// connection if a head would hold more than twice that before its end.
const BLOCK_BYTES_MAX: usize = 32 << 10;

/// Wrapper of `stream` that reports to `connection`.
#[derive(Debug)]
pub(in crate::receiver) struct Wire<S> {
    stream: S,
    connection: Arc<Connection>,
    frames: Frames,
    flood: FloodLimit,
    sent: SentFrames,
    heads: Arc<Heads>,
    /// Share of the reserve for the incomplete head.
    block: Option<HeadShare>,
    /// Shares of the reserve for the HPACK table.
    table: Vec<HeadShare>,
    /// Bytes that were read to detect the protocol, and the number of them that the library has got.
    greeting: (Vec<u8>, usize),
    turn_bytes: usize,
    turn_blocks: usize,
    turn_bytes_max: usize,
    /// True if the peer does not take what is written. Then nothing more is read from it over HTTP/2, because each request
    /// would add an answer that waits.
    is_blocked: bool,
    /// The task that waits to read from a peer that takes no answers.
    reader: Option<Waker>,
}

impl<S> Wire<S> {
    /// Wraps `stream`. `turn_bytes_max` is the number of bytes that may be read in a turn, at most [`TURN_BYTES_MAX`].
    pub(in crate::receiver) fn new(
        stream: S,
        connection: Arc<Connection>,
        heads: Arc<Heads>,
        turn_bytes_max: usize,
    ) -> Self {
        let turn_bytes_max = turn_bytes_max.min(TURN_BYTES_MAX);
        Wire {
            stream,
            connection,
            frames: Frames::new(),
            flood: FloodLimit::new(),
            sent: SentFrames::default(),
            heads,
            block: None,
            table: Vec::new(),
            greeting: (Vec::new(), 0),
            turn_bytes: 0,
            turn_blocks: 0,
            turn_bytes_max,
            is_blocked: false,
            reader: None,
        }
    }

    /// Returns true if the turn of the peer is over. The next turn begins then.
    fn turn_is_over(&mut self) -> bool {
        let blocks = self.frames.counts().heads - self.turn_blocks;
        let is_over = self.frames.is_http2() && (self.turn_bytes >= self.turn_bytes_max || blocks >= TURN_BLOCKS_MAX);
        if is_over {
            self.begin_turn();
        }
        is_over
    }

    fn begin_turn(&mut self) {
        self.turn_bytes = 0;
        self.turn_blocks = self.frames.counts().heads;
    }

    /// Takes room for the incomplete head. Returns false if there is none.
    fn hold_block(&mut self) -> bool {
        let bytes = self.frames.block_bytes();
        if bytes <= FREE_BLOCK_BYTES {
            self.block = None;
            return true;
        }
        if self.block.is_none() && bytes <= BLOCK_BYTES_MAX {
            self.block = self.heads.reserve(&self.connection, BLOCK_BYTES_MAX);
        }
        self.block.is_some() && bytes <= BLOCK_BYTES_MAX
    }

    /// Takes room for the buffers that the HPACK table keeps. Returns false if there is none.
    fn hold_table(&mut self) -> bool {
        let bytes = self.frames.table_bytes().min(TABLE_ENTRIES_MAX * self.turn_bytes_max);
        let steps = bytes / TABLE_STEP_BYTES;
        self.table.truncate(steps);
        while self.table.len() < steps {
            let Some(share) = self.heads.reserve(&self.connection, TABLE_STEP_BYTES) else { return false };
            self.table.push(share);
        }
        true
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Returns true if the peer speaks HTTP/2, by the first bytes that it sends. Later reads return these bytes again.
    pub(super) async fn greet(&mut self) -> io::Result<bool> {
        let mut greeting = Vec::with_capacity(GREETING_BYTES);
        while !self.frames.is_known() && self.read_buf(&mut (&mut greeting).limit(GREETING_BYTES)).await? > 0 {}
        self.greeting = (greeting, 0);
        Ok(self.frames.is_known() && self.frames.is_http2())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let (greeting, given) = &mut wire.greeting;
        if *given < greeting.len() {
            let more = &greeting[*given..][..buffer.remaining().min(greeting.len() - *given)];
            buffer.put_slice(more);
            *given += more.len();
            return Poll::Ready(Ok(()));
        }
        if wire.is_blocked && wire.frames.is_http2() {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if wire.turn_is_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut wire.stream).poll_read(cx, buffer);
        if polled.is_pending() {
            wire.begin_turn();
        }
        ready!(polled)?;
        let bytes = &buffer.filled()[before..];
        wire.turn_bytes += bytes.len();
        wire.frames.read(bytes);
        if !wire.frames.is_http2() {
            wire.connection.read_http1(bytes.len());
        } else {
            wire.connection.read_http2(wire.frames.is_in_head());
            if !wire.hold_block() || !wire.hold_table() {
                wire.connection.cut(CutReason::LargeHead);
                return Poll::Ready(Err(io::Error::other("the request head is too large, or there is no room for it")));
            }
            if !wire.flood.admits(wire.frames.counts()) {
                wire.connection.cut(CutReason::Flood);
                wire.say_goodbye(cx);
                return Poll::Ready(Err(io::Error::other("too many frames that carry no request")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Tells the peer why its connection ends, if the library has not begun another frame and the peer reads. The
    /// connection ends in any case.
    fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        if self.sent.is_between() {
            let frame = goaway::calm_down(self.frames.last_stream());
            let _ = Pin::new(&mut self.stream).poll_write(cx, &frame);
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
            // It is the last frame.
            self.sent = SentFrames::default();
        }
    }

    /// Follows `parts`, of which the first `bytes` bytes were written.
    fn follow(&mut self, parts: &[io::IoSlice<'_>], mut bytes: usize) {
        if self.frames.is_http2() {
            for part in parts {
                let written = &part[..bytes.min(part.len())];
                self.sent.follow(written);
                bytes -= written.len();
            }
        }
    }

    fn write<T>(&mut self, write: impl FnOnce(Pin<&mut S>) -> Poll<T>) -> Poll<T> {
        let polled = write(Pin::new(&mut self.stream));
        self.is_blocked = polled.is_pending();
        self.connection.wrote(self.is_blocked);
        if let Some(reader) = self.reader.take_if(|_| !self.is_blocked) {
            reader.wake();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.write(|stream| stream.poll_write(cx, bytes));
        if let Poll::Ready(Ok(written)) = polled {
            self.follow(&[io::IoSlice::new(bytes)], written);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.write(|stream| stream.poll_write_vectored(cx, parts));
        if let Poll::Ready(Ok(written)) = polled {
            self.follow(parts, written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stream| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests;
