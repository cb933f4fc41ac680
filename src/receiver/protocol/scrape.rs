//! The answer to a scrape: its format and its compression, as the client asks for them.
//!
//! The text may be many megabytes, because senders choose the values of labels. So it is never whole in memory if the
//! client takes gzip, which Prometheus does, and what is held is charged to the memory budget before it is taken.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

use crate::budget::{Budget, Share};
use crate::receiver::Scrape;
use crate::span_metrics::Format;

/// Content type of the Prometheus text format.
const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of OpenMetrics.
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Smallest text that is compressed. A smaller one fits into a few packets.
const GZIP_BYTES_MIN: usize = 4 << 10;

/// Bytes of the text that are compressed at once.
const PIECE_BYTES: usize = 16 << 10;

/// The bytes of an answer that are taken even if memory is full, because a scrape is needed most then. They are enough for
/// the daemon's own metrics, or for some 4,000 series of spans if they are compressed.
const BYTES_FREE: usize = 1 << 20;

/// The form of the answer to a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScrapeForm {
    pub(super) format: Format,
    /// True if the client takes gzip.
    pub(super) gzip: bool,
}

impl ScrapeForm {
    /// Returns the form that a client asks for.
    pub(super) fn asked(headers: &HeaderMap) -> Self {
        let open_metrics = quality(headers, ACCEPT, |range| range == OPEN_METRICS);
        let is_text = |range: &str| matches!(range, "text/plain" | "text/*");
        let text = quality(headers, ACCEPT, is_text);
        // A wildcard alone does not ask for OpenMetrics.
        let format = if open_metrics > 0.0 && open_metrics >= text { Format::OpenMetrics } else { Format::Prometheus };
        let gzip = quality(headers, ACCEPT_ENCODING, |coding| matches!(coding, "gzip" | "x-gzip" | "*")) > 0.0;
        ScrapeForm { format, gzip }
    }

    /// Makes the body, with its share of `budget`, and its headers. This takes some milliseconds if there are thousands
    /// of series. Returns `None` if memory has no room for it.
    pub(super) fn answer(self, scrape: &Scrape, budget: &Budget) -> Option<(Vec<u8>, Share, HeaderMap)> {
        let mut text = Text::new(self.gzip, budget);
        scrape(self.format, &mut text).ok()?;
        let mut headers = HeaderMap::new();
        let content_type = match self.format {
            Format::Prometheus => PROMETHEUS_TYPE,
            Format::OpenMetrics => OPEN_METRICS_TYPE,
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        let (Charged { bytes, share }, is_compressed) = text.finish().ok()?;
        if is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Some((bytes, share, headers))
    }
}

/// A text that is compressed while it is written, if the client takes gzip and the text is not small.
struct Text {
    /// The end of the text, up to about [`PIECE_BYTES`].
    piece: String,
    to: Target,
}

enum Target {
    Plain(Charged),
    Gzip(Box<GzEncoder<Charged>>),
}

impl Text {
    fn new(gzip: bool, budget: &Budget) -> Self {
        let charged = Charged { bytes: Vec::new(), share: budget.share() };
        let to = match gzip {
            true => Target::Gzip(Box::new(GzEncoder::new(charged, Compression::fast()))),
            false => Target::Plain(charged),
        };
        Text { piece: String::new(), to }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            Target::Plain(charged) => charged.write_all(self.piece.as_bytes())?,
            Target::Gzip(encoder) => encoder.write_all(self.piece.as_bytes())?,
        }
        self.piece.clear();
        Ok(())
    }

    /// Returns the bytes, and true if they are compressed.
    fn finish(mut self) -> io::Result<(Charged, bool)> {
        // The encoder writes its header with the first piece.
        if let Target::Gzip(encoder) = &self.to
            && encoder.get_ref().bytes.is_empty()
            && self.piece.len() < GZIP_BYTES_MIN
        {
            let share = encoder.get_ref().share.beside();
            self.to = Target::Plain(Charged { bytes: Vec::new(), share });
        }
        self.flush()?;
        match self.to {
            Target::Plain(charged) => Ok((charged, false)),
            Target::Gzip(encoder) => Ok((encoder.finish()?, true)),
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.piece.push_str(text);
        if self.piece.len() >= PIECE_BYTES { self.flush().map_err(|_| fmt::Error) } else { Ok(()) }
    }
}

/// Bytes that are charged to the memory budget before they are taken.
struct Charged {
    bytes: Vec<u8>,
    share: Share,
}

impl Charged {
    /// Makes room for `more` bytes. Returns false if memory has none.
    fn has_room(&mut self, more: usize) -> bool {
        let (needed, capacity) = (self.bytes.len() + more, self.bytes.capacity());
        if needed <= capacity {
            return true;
        }
        let next = needed.max(capacity + capacity / 2);
        if next <= BYTES_FREE {
            self.share.resize(next);
        } else if !self.share.grow(next - capacity) {
            return false;
        }
        self.bytes.reserve_exact(next - self.bytes.len());
        true
    }
}

impl Write for Charged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_room(bytes.len()) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body with all that is given back once it is sent.
pub(super) struct Held<T> {
    pub(super) bytes: Vec<u8>,
    pub(super) _rest: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T: Send + Sync + 'static> From<Held<T>> for Bytes {
    fn from(held: Held<T>) -> Self {
        Bytes::from_owner(held)
    }
}

/// Returns the highest quality of the items of a header that are wanted; 0 if there are none (RFC 9110, 12.4.2).
fn quality(headers: &HeaderMap, name: HeaderName, is_wanted: impl Fn(&str) -> bool) -> f32 {
    let values = headers.get_all(name);
    let items = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    items.fold(0.0, |best: f32, item| {
        let mut parts = item.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|first| is_wanted(&first.to_ascii_lowercase()));
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if is_it { best.max(quality) } else { best }
    })
}

#[cfg(test)]
mod tests;
