//! The memory of requests apart from their bodies: heads, and the memory that the libraries hold for each stream.
//!
//! This memory is not in the memory budget, because probes must get through when the budget is used up. It has a
//! reserve of its own that all connections share. The rule is the one for bodies: a connection may hold as much as is
//! left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use super::refusal::Refusal;
use crate::budget::ladder;
use crate::receiver::API_PREFIX;
use crate::receiver::transport::connection::Connection;

/// Measured bytes that a stream holds in addition to its head: the HTTP/2 library's stream with its answer, a task, and
/// the future that answers.
pub(super) const STREAM_BYTES: usize = 8 << 10;

/// Bytes that a request may hold without a share of the reserve if it is the only one on its connection. They are part
/// of what is counted for the connection. So probes and small senders always get through.
const ALONE_BYTES_MAX: usize = 14 << 10;

/// Largest size of the header fields of one request, in bytes. OTLP needs a few hundred bytes. Cloud Run adds tokens
/// and trace headers. The HTTP/2 library counts 32 bytes more for each field.
pub(in crate::receiver) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Largest number of header fields of a request. The HTTP/1 library accepts as many.
pub(super) const FIELDS_MAX: usize = 100;

/// Bytes that a place for a field takes in a [`HeaderMap`]: name, value, hash and links, and its part of the index.
const FIELD_BYTES: usize = 112;

/// Bytes of overhead of a field's allocations: its value, and its name unless it is a standard one.
const FIELD_SLACK_BYTES: usize = 32;

/// The reserve for heads.
#[derive(Debug)]
pub(in crate::receiver) struct Heads {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

/// A share of the reserve. Dropping it gives the bytes back.
#[derive(Debug)]
pub(in crate::receiver) struct HeadShare {
    heads: Arc<Heads>,
    connection: Arc<Connection>,
    bytes: usize,
}

impl Heads {
    /// Creates the reserve that goes with a budget of `limit_bytes`.
    pub(in crate::receiver) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Heads { used_bytes: AtomicUsize::new(0), max_bytes: ladder::HEADS.of(limit_bytes) })
    }

    /// Returns the bytes in use.
    pub(in crate::receiver) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// Takes a share of `bytes` for `connection`. `None` if the connection would then hold more than what is left now.
    pub(in crate::receiver) fn reserve(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        bytes: usize,
    ) -> Option<HeadShare> {
        let own = connection.head_bytes.load(Relaxed) + bytes;
        let fits = |used: usize| used.checked_add(own).is_some_and(|sum| sum <= self.max_bytes);
        let taken = self.used_bytes.fetch_update(Relaxed, Relaxed, |used| fits(used).then_some(used + bytes));
        taken.ok()?;
        connection.head_bytes.fetch_add(bytes, Relaxed);
        Some(HeadShare { heads: Arc::clone(self), connection: Arc::clone(connection), bytes })
    }

    /// Admits a request of `connection` by its head, and reduces the head's URI to the part of it that is read
    /// later. Returns `None` as the share if the request needs none, see [`ALONE_BYTES_MAX`].
    ///
    /// # Errors
    /// The head has too many fields or is too large, or the reserve has no room for it.
    pub(in crate::receiver) fn admit(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        is_alone: bool,
        parts: &mut Parts,
    ) -> Result<Option<HeadShare>, Refusal> {
        let text_bytes = text_bytes(&parts.headers) + kept_part(&parts.uri).len();
        if parts.headers.len() > FIELDS_MAX || text_bytes > HEAD_BYTES_MAX {
            return Err(Refusal::Fields);
        }
        parts.uri = own_part(&parts.uri);
        let bytes = STREAM_BYTES + text_bytes + fields_bytes(&parts.headers);
        if is_alone && bytes <= ALONE_BYTES_MAX {
            return Ok(None);
        }
        self.reserve(connection, bytes).map(Some).ok_or(Refusal::Overloaded)
    }
}

impl Drop for HeadShare {
    fn drop(&mut self) {
        self.heads.used_bytes.fetch_sub(self.bytes, Relaxed);
        self.connection.head_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Returns the part of `uri` that is kept: the path, and for the API also the query, which no other path reads.
fn kept_part(uri: &Uri) -> &str {
    let is_api = uri.path().starts_with(API_PREFIX);
    uri.path_and_query().filter(|_| is_api).map_or(uri.path(), PathAndQuery::as_str)
}

/// Copies the kept part of `uri` to memory of its own. The libraries return a slice of the read buffer, which would keep the
/// whole buffer alive.
fn own_part(uri: &Uri) -> Uri {
    Uri::from_maybe_shared(Bytes::copy_from_slice(kept_part(uri).as_bytes())).unwrap_or_default()
}

/// Returns the number of bytes of the names and values of `headers`.
fn text_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Returns the number of bytes that `headers` hold in addition to their text.
fn fields_bytes(headers: &HeaderMap) -> usize {
    let repeated = headers.len() - headers.keys_len();
    // The list of repeated values may have allocated twice as many places as it needs.
    let places = headers.capacity() + 2 * repeated;
    places * FIELD_BYTES + headers.len() * FIELD_SLACK_BYTES
}

#[cfg(test)]
mod tests;
