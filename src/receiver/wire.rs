//! A stream that tells its connection what goes over it, and bounds what is read of it at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::connection::{Connection, LARGE_HEAD};
use super::frames::Frames;
use super::heads::{HeadShare, Heads};

/// What is read of an HTTP/2 connection before its requests have their turn: what lies unread before the memory budget
/// is no more. A request of everyday size comes in one or two turns.
const TURN_BYTES_MAX: usize = 64 << 10;

/// Heads that are read before requests have their turn. The library holds each as it came, of up to 500 fields, until then.
const TURN_BLOCKS_MAX: usize = 32;

/// A head that is under way is read into what each connection has anyway up to this; more takes room from the reserve.
const FREE_BLOCK_BYTES: usize = 8 << 10;

/// What tells HTTP/2 from HTTP/1, at most.
const GREETING_BYTES: usize = 24;

/// Entries that the table of fields has at most: 4096 bytes (RFC 9113, 6.5.2) of 32 or more (RFC 7541, 4.1).
const TABLE_ENTRIES_MAX: usize = 4096 / 32;

/// What the buffers of the table of fields take of the reserve at a time. Less is free, as peers cannot know at first that they are
/// to have no table; later it is for those that do not obey.
const TABLE_STEP_BYTES: usize = 16 << 10;

/// The largest field block as it is sent. The library answers 431 for heads of more than 16 KiB, and closes the
/// connection of one that would hold more than twice that before its end.
const BLOCK_BYTES_MAX: usize = 32 << 10;

/// `stream`, as `connection` sees it.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    connection: Arc<Connection>,
    frames: Frames,
    heads: Arc<Heads>,
    /// Of the reserve, for the head that is under way.
    block: Option<HeadShare>,
    /// Of the reserve, for the table of fields.
    table: Vec<HeadShare>,
    /// What was read to know the protocol, and how much of it the library has.
    greeting: (Vec<u8>, usize),
    turn_bytes: usize,
    turn_blocks: usize,
    turn_bytes_max: usize,
}

impl<S> Wire<S> {
    /// `turn_bytes_max`: what may be read in a turn, no more than [`TURN_BYTES_MAX`].
    pub(super) fn new(stream: S, connection: Arc<Connection>, heads: Arc<Heads>, turn_bytes_max: usize) -> Self {
        let turn_bytes_max = turn_bytes_max.min(TURN_BYTES_MAX);
        let frames = Frames::new();
        Wire {
            stream,
            connection,
            frames,
            heads,
            block: None,
            table: Vec::new(),
            greeting: (Vec::new(), 0),
            turn_bytes: 0,
            turn_blocks: 0,
            turn_bytes_max,
        }
    }

    /// Whether the peer has had its turn. The next one begins now.
    fn turn_is_over(&mut self) -> bool {
        let blocks = self.frames.blocks() - self.turn_blocks;
        let is_over = self.frames.is_http2() && (self.turn_bytes >= self.turn_bytes_max || blocks >= TURN_BLOCKS_MAX);
        if is_over {
            self.begin_turn();
        }
        is_over
    }

    fn begin_turn(&mut self) {
        self.turn_bytes = 0;
        self.turn_blocks = self.frames.blocks();
    }

    /// Takes room for the head that is under way; false if there is none.
    fn hold_block(&mut self) -> bool {
        let bytes = self.frames.block_bytes();
        if bytes <= FREE_BLOCK_BYTES {
            self.block = None;
            return true;
        }
        if self.block.is_none() && bytes <= BLOCK_BYTES_MAX {
            self.block = self.heads.take(&self.connection, BLOCK_BYTES_MAX);
        }
        self.block.is_some() && bytes <= BLOCK_BYTES_MAX
    }

    /// Takes room for the buffers that the table of fields keeps; false if there is none.
    fn hold_table(&mut self) -> bool {
        let bytes = self.frames.table_bytes().min(TABLE_ENTRIES_MAX * self.turn_bytes_max);
        let steps = bytes / TABLE_STEP_BYTES;
        self.table.truncate(steps);
        while self.table.len() < steps {
            let Some(share) = self.heads.take(&self.connection, TABLE_STEP_BYTES) else { return false };
            self.table.push(share);
        }
        true
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Whether the peer speaks HTTP/2, by the first bytes that it sends. They are read again afterwards.
    pub(super) async fn greet(&mut self) -> io::Result<bool> {
        let mut greeting = Vec::with_capacity(GREETING_BYTES);
        while !self.frames.is_known() && self.read_buf(&mut (&mut greeting).limit(GREETING_BYTES)).await? > 0 {}
        self.greeting = (greeting, 0);
        Ok(self.frames.is_known() && self.frames.is_http2())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let (greeting, given) = &mut wire.greeting;
        if *given < greeting.len() {
            let more = &greeting[*given..][..buffer.remaining().min(greeting.len() - *given)];
            buffer.put_slice(more);
            *given += more.len();
            return Poll::Ready(Ok(()));
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
                wire.connection.cut(LARGE_HEAD);
                return Poll::Ready(Err(io::Error::other("a request head that is too large")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn write<T>(&mut self, write: impl FnOnce(Pin<&mut S>) -> Poll<T>) -> Poll<T> {
        let polled = write(Pin::new(&mut self.stream));
        self.connection.wrote(polled.is_pending());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(cx, parts))
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
