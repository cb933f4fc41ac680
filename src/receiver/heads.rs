//! The memory of requests beside their bodies: heads, and what the libraries hold for each stream.
//!
//! It is not in the memory budget, because probes must get through when that is used up. It has a reserve of its own that
//! all connections share, by the rule of bodies: a connection may hold as much as is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Uri};

use super::connection::Connection;
use super::refusal::Refusal;

/// The part of `memory.limit` that the reserve is as large as.
const HEADS_PART: usize = 8;

/// What a stream holds beside its head, as measured: the stream of the HTTP/2 library with its answer, a task, and the
/// future that answers.
pub(super) const STREAM_BYTES: usize = 8 << 10;

/// A request that is alone on its connection has so much without asking: it is a part of what is counted for the
/// connection, so that probes and small senders always get through.
const ALONE_BYTES_MAX: usize = 14 << 10;

/// The header fields of one request together; OTLP needs some hundred bytes, Cloud Run adds tokens and trace headers. The
/// HTTP/2 library counts 32 bytes more for each field.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Header fields of a request. The HTTP/1 library takes as many.
pub(super) const FIELDS_MAX: usize = 100;

/// What a place for a field takes in a [`HeaderMap`]: name, value, hash and links, and its part of the index.
const FIELD_BYTES: usize = 112;

/// The allocations of a field: its value and the name, if that is none of the known ones.
const FIELD_SLACK_BYTES: usize = 32;

/// The reserve.
#[derive(Debug)]
pub(super) struct Heads {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

/// A part of the reserve; it is given back when it is dropped.
#[derive(Debug)]
pub(super) struct HeadShare {
    heads: Arc<Heads>,
    connection: Arc<Connection>,
    bytes: usize,
}

impl Heads {
    /// The reserve beside a budget of `limit_bytes`.
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Heads { used_bytes: AtomicUsize::new(0), max_bytes: limit_bytes / HEADS_PART })
    }

    /// The bytes in use.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// A share of `bytes` for `connection`, if as much is left as it holds then.
    pub(super) fn take(self: &Arc<Self>, connection: &Arc<Connection>, bytes: usize) -> Option<HeadShare> {
        let own = connection.head_bytes.load(Relaxed) + bytes;
        let fits = |used: usize| used.checked_add(own).is_some_and(|sum| sum <= self.max_bytes);
        let taken = self.used_bytes.fetch_update(Relaxed, Relaxed, |used| fits(used).then_some(used + bytes));
        taken.ok()?;
        connection.head_bytes.fetch_add(bytes, Relaxed);
        Some(HeadShare { heads: Arc::clone(self), connection: Arc::clone(connection), bytes })
    }

    /// Lets in a request of `connection` by its head, which is made small.
    ///
    /// # Errors
    /// It has too many fields, or there is no room.
    pub(super) fn admit(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        is_alone: bool,
        parts: &mut Parts,
    ) -> Result<Option<HeadShare>, Refusal> {
        let text_bytes = text_bytes(&parts.headers) + parts.uri.path().len();
        if parts.headers.len() > FIELDS_MAX || text_bytes > HEAD_BYTES_MAX {
            return Err(Refusal::Fields);
        }
        parts.uri = own_path(&parts.uri);
        let bytes = STREAM_BYTES + text_bytes + fields_bytes(&parts.headers);
        if is_alone && bytes <= ALONE_BYTES_MAX {
            return Ok(None);
        }
        self.take(connection, bytes).map(Some).ok_or(Refusal::Overloaded)
    }
}

impl Drop for HeadShare {
    fn drop(&mut self) {
        self.heads.used_bytes.fetch_sub(self.bytes, Relaxed);
        self.connection.head_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// The path of `uri` in memory of its own. What the libraries give is a slice of the read buffer, and would keep all of
/// that alive.
fn own_path(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::copy_from_slice(uri.path().as_bytes())).unwrap_or_default()
}

/// The names and values of `headers`.
fn text_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// What `headers` hold beside their text.
fn fields_bytes(headers: &HeaderMap) -> usize {
    let repeated = headers.len() - headers.keys_len();
    // The list of repeated values may have twice the room that it needs.
    let places = headers.capacity() + 2 * repeated;
    places * FIELD_BYTES + headers.len() * FIELD_SLACK_BYTES
}

#[cfg(test)]
mod tests;
