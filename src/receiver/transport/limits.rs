//! Limits on the memory of connections: their number, and the settings of the HTTP libraries for each.
//!
//! Every connection may hold [`CONNECTION_BYTES`], which it borrows from the memory budget (`slots`). The first
//! connections share room for larger windows and buffers, and for more concurrent requests. Everything else that a peer
//! can make the daemon hold is in the reserve for heads (`heads`) or in the budget.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::slots::{ROOM_BYTES_MAX, SlotMemory};
use crate::budget::ladder;
use crate::receiver::admission::heads::HEAD_BYTES_MAX;

/// Bytes that a connection may hold, as measured: buffers, protocol state, one request, the refusals of one turn. An
/// HTTP/2 connection whose peer sends as many requests as it may and takes no answer holds 50 KiB, an idle one 16 KiB.
const CONNECTION_BYTES: usize = 64 << 10;

/// Bytes that TLS adds to a connection: incomplete records, and encrypted data that is not sent yet.
const TLS_BYTES: usize = 32 << 10;

/// Bounds of the number of connections. The lower one holds for any memory limit: it takes 4 MiB and is enough for a
/// front end's connections and a few probes. The upper one is sixteen times the usual soft limit of open files, and far
/// below the usual hard limit (`files`).
const CONNECTIONS_RANGE: RangeInclusive<usize> = 64..=16_384;

/// The most room that connections share: sixteen times the maximum of one connection.
const ROOM_SUM_BYTES_MAX: usize = 16 * ROOM_BYTES_MAX;

/// A connection with at least this much room has large buffers.
const LARGE_ROOM_BYTES: usize = 320 << 10;

/// Bytes that are read ahead of an HTTP/1 connection, small and large. The small buffer holds the largest head.
const HTTP1_BUFFER_BYTES: [usize; 2] = [HEAD_BYTES_MAX, 64 << 10];

/// Largest HTTP/2 frame that is accepted, small and large. Measured with batches of 512 spans (290 KB): large frames
/// take half the CPU of small ones, which are the smallest that HTTP/2 allows. Frames of 1 MiB save nothing more, and
/// idle connections would keep their read buffers.
const HTTP2_FRAME_BYTES_MAX: [u32; 2] = [16 << 10, 64 << 10];

/// Time between pings to an HTTP/2 peer that sends nothing, and the time that it has to answer. A half-open connection
/// is gone after a minute.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Bounds of the number of concurrent requests on one HTTP/2 connection. The upper one is Cloud Run's largest
/// concurrency for an instance, because its front end may send all requests through one connection. The lower one is
/// more than the number of consumers of a Collector's queue.
const HTTP2_STREAMS_RANGE: RangeInclusive<usize> = 16..=1000;

/// Room for one concurrent request. It is not the memory of a stream: that is in the reserve for heads, and what the
/// reserve has no room for is refused without a body.
const HTTP2_STREAM_ROOM_BYTES: usize = 2 << 10;

/// Bytes that a peer may send on a stream before they are read. Most requests arrive without a pause, and at a round
/// trip of 1 ms it allows 1 GB/s. As measured, 256 KiB costs half as much CPU again, and 4 MiB gains nothing.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Smallest window of a connection that HTTP/2 allows, in bytes (RFC 9113, 6.9.2).
const HTTP2_WINDOW_BYTES_MIN: usize = 65_535;

/// Number of streams that a peer resets before they are served (rapid reset, CVE-2023-44487) until the connection is
/// closed. It is the library's default.
const HTTP2_RESETS_PENDING_MAX: usize = 20;

/// Number of streams of one connection that are reset for errors of its peer (CVE-2025-8671 and similar) until the
/// connection is closed: no limit. The library never counts down, and also counts each DATA frame that arrives after a
/// request was refused, so it would disconnect every sender after enough overload. The cost of such resets is
/// bounded in other ways: the frames that cause them are counted (`flood`), and the reserve for heads bounds the
/// requests that are still served after their stream was reset.
const HTTP2_ERRORS_MAX: Option<usize> = None;

/// Size of the HPACK table that a peer may use: none. A table would save a few hundred bytes of a request that has tens
/// of thousands of bytes, and the library keeps a whole read buffer for each of up to 128 entries.
const HTTP2_TABLE_BYTES: u32 = 0;

/// Bytes of one answer that wait in the connection. Only pages are larger than a few hundred bytes.
const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;

/// Returns the bytes that a connection may hold.
fn connection_bytes(has_tls: bool) -> usize {
    CONNECTION_BYTES + if has_tls { TLS_BYTES } else { 0 }
}

/// Returns the number of connections that may borrow from a budget of `limit_bytes`.
pub(super) fn connections_max(limit_bytes: usize, has_tls: bool) -> usize {
    let connections = ladder::CONNECTIONS.of(limit_bytes) / connection_bytes(has_tls);
    connections.clamp(*CONNECTIONS_RANGE.start(), *CONNECTIONS_RANGE.end())
}

/// Returns the memory of connections beside a budget of `limit_bytes`.
pub(super) fn memory(limit_bytes: usize, has_tls: bool) -> SlotMemory {
    let each = connection_bytes(has_tls);
    let reserve = ladder::CONNECTION_RESERVE.of(limit_bytes).max(*CONNECTIONS_RANGE.start() * each);
    SlotMemory { each, reserve, room: ladder::CONNECTION_ROOM.of(limit_bytes).min(ROOM_SUM_BYTES_MAX) }
}

/// Returns the memory of the connections to the address of `telemetry.listen`, of which there are `max` at most. They
/// borrow nothing.
pub(super) fn telemetry_memory(max: usize) -> SlotMemory {
    SlotMemory { each: CONNECTION_BYTES, reserve: max * CONNECTION_BYTES, room: 0 }
}

/// Returns the number of bytes that a connection with `room_bytes` may send in one turn, before its requests are
/// served.
pub(super) fn turn_bytes_max(room_bytes: usize) -> usize {
    HTTP2_FRAME_BYTES_MAX[class(room_bytes)] as usize
}

/// Returns the limits of an HTTP/1 connection with `room_bytes`.
pub(super) fn http1_builder(room_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HTTP1_BUFFER_BYTES[class(room_bytes)]);
    builder
}

/// Returns the limits of an HTTP/2 connection with `room_bytes`.
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

/// Returns the index into pairs of small and large sizes.
fn class(room_bytes: usize) -> usize {
    usize::from(room_bytes >= LARGE_ROOM_BYTES)
}

fn streams_max(room_bytes: usize) -> u32 {
    let (least, most) = HTTP2_STREAMS_RANGE.into_inner();
    (room_bytes / HTTP2_STREAM_ROOM_BYTES).clamp(least, most) as u32
}

#[cfg(test)]
mod tests;
