//! The answer to a scrape: its format and its compression, as the client asks for them.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

use crate::receiver::Scrape;
use crate::span_metrics::Format;

/// Content type of the Prometheus text format.
const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of OpenMetrics.
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Smallest text that is compressed. A smaller one fits into a few packets.
const GZIP_BYTES_MIN: usize = 4 << 10;

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

    /// Makes the body and its headers. This takes some milliseconds if there are thousands of series.
    pub(super) fn answer(self, scrape: &Scrape) -> (Vec<u8>, HeaderMap) {
        let text = scrape(self.format).into_bytes();
        let mut headers = HeaderMap::new();
        let content_type = match self.format {
            Format::Prometheus => PROMETHEUS_TYPE,
            Format::OpenMetrics => OPEN_METRICS_TYPE,
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if self.gzip && text.len() >= GZIP_BYTES_MIN {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return (gzip(&text), headers);
        }
        (text, headers)
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

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
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
