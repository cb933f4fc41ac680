//! What connections may hold beside the memory budget: how many there are, and what the HTTP libraries are told for each.
//!
//! Every connection may hold [`CONNECTION_BYTES`], and the first ones share room for larger windows and buffers and for more
//! requests at once. What else a peer can make the daemon hold is in the reserve for heads (`heads`) or in the budget.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::heads::HEAD_BYTES_MAX;
use super::slots::ROOM_BYTES_MAX;

/// What a connection may hold: buffers, the state of its protocol, a request; as measured. A silent one holds 3 KiB. It
/// is not in the budget, because probes and scrapes must get through when that is used up.
const CONNECTION_BYTES: usize = 32 << 10;

/// The same for TLS beside it: records that are not whole, and what is encrypted and not sent yet.
const TLS_BYTES: usize = 32 << 10;

/// Connections at once, on all addresses, by memory: as many as hold three eighths of `memory.limit`. 4,300 in 512 MiB: a
/// few thousand processes that keep one each.
const CONNECTIONS_PART: (usize, usize) = (3, 8);

/// So many however small the memory is, which is 2 MiB of them: enough for a front end's connections and a few probes. No
/// more however large it is: the usual limit of open files is near.
const CONNECTIONS_RANGE: RangeInclusive<usize> = 64..=16_384;

/// The room that connections share is this part of `memory.limit`, and no more than sixteen times the most that one has.
const ROOM_PART: usize = 8;
const ROOM_SUM_BYTES_MAX: usize = 16 * ROOM_BYTES_MAX;

/// From this room on a connection has large buffers.
const LARGE_ROOM_BYTES: usize = 256 << 10;

/// What is read of an HTTP/1 connection ahead of what is used; a small one holds the largest head.
const HTTP1_BUFFER_BYTES: [usize; 2] = [HEAD_BYTES_MAX, 64 << 10];

/// The largest HTTP/2 frame taken. Measured on batches of 512 spans (290 KB): the large ones take half the CPU of the small
/// ones (which are the least that there are), and no more than frames of 1 MiB, whose read buffers idle connections would
/// keep.
const HTTP2_FRAME_BYTES_MAX: [u32; 2] = [16 << 10, 64 << 10];

/// An HTTP/2 peer that says nothing is asked this often whether it still lives, and given as long to answer: a
/// half-open connection is gone after a minute.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Requests at once on one HTTP/2 connection, by its room. At most Cloud Run's largest concurrency for an instance, as its
/// front end may send all of them through one connection; at least what a Collector's queue has consumers, and some.
const HTTP2_STREAMS_RANGE: RangeInclusive<usize> = 16..=1000;
const HTTP2_STREAM_ROOM_BYTES: usize = 2 << 10;

/// What a peer may send on a stream ahead of what was read: most requests go through without a pause, and
/// at 1 ms of round trip it allows 1 GB/s. Measured, 256 KiB costs half as much CPU again, and 4 MiB gains nothing.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// No window of a connection can be smaller (RFC 9113, 6.9.2).
const HTTP2_WINDOW_BYTES_MIN: usize = 65_535;

/// Streams that a peer reset before they were looked at (rapid reset, CVE-2023-44487), then the connection is closed: as
/// many as the library's default.
const HTTP2_RESETS_PENDING_MAX: usize = 20;

/// Streams of one connection that had to be reset for errors of its peer (CVE-2025-8671 and the like), then it is
/// closed: as many as the library's default.
const HTTP2_ERRORS_MAX: usize = 1024;

/// The table of fields that a peer may have: none. It would save some hundred bytes a request, of some tens of thousands, and the
/// library keeps a whole read buffer for each of up to 128 entries.
const HTTP2_TABLE_BYTES: u32 = 0;

/// What of one answer waits in the connection; only pages are larger than some hundred bytes.
const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;

/// Connections that memory beside a budget of `limit_bytes` has room for.
pub(super) fn connections_max(limit_bytes: usize, has_tls: bool) -> usize {
    let (part, whole) = CONNECTIONS_PART;
    let each = CONNECTION_BYTES + if has_tls { TLS_BYTES } else { 0 };
    (limit_bytes / whole * part / each).clamp(*CONNECTIONS_RANGE.start(), *CONNECTIONS_RANGE.end())
}

/// The room that connections share beside a budget of `limit_bytes`.
pub(super) fn room_bytes(limit_bytes: usize) -> usize {
    (limit_bytes / ROOM_PART).min(ROOM_SUM_BYTES_MAX)
}

/// What a connection with so much room may send in one turn, before its requests have theirs.
pub(super) fn turn_bytes_max(room_bytes: usize) -> usize {
    HTTP2_FRAME_BYTES_MAX[class(room_bytes)] as usize
}

/// Limits of an HTTP/1 connection with so much room.
pub(super) fn http1_builder(room_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HTTP1_BUFFER_BYTES[class(room_bytes)]);
    builder
}

/// Limits of an HTTP/2 connection with so much room.
pub(super) fn http2_builder(room_bytes: usize) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max(room_bytes))
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(room_bytes.max(HTTP2_WINDOW_BYTES_MIN) as u32)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX[class(room_bytes)])
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .header_table_size(HTTP2_TABLE_BYTES)
        .max_pending_accept_reset_streams(HTTP2_RESETS_PENDING_MAX)
        .max_local_error_reset_streams(HTTP2_ERRORS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_INTERVAL);
    builder
}

/// Small or large, as an index.
fn class(room_bytes: usize) -> usize {
    usize::from(room_bytes >= LARGE_ROOM_BYTES)
}

fn streams_max(room_bytes: usize) -> u32 {
    let (least, most) = HTTP2_STREAMS_RANGE.into_inner();
    (room_bytes / HTTP2_STREAM_ROOM_BYTES).clamp(least, most) as u32
}

#[cfg(test)]
mod tests;
