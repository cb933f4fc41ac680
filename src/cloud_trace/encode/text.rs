//! OTLP values as text: mended, rendered and cut at a limit.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue;
use crate::otlp::wire::DEPTH_MAX;

/// Text within a limit, and how many bytes of it were cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clip<'a> {
    /// UTF-8.
    pub(super) bytes: &'a [u8],
    pub(super) cut_count: u64,
}

/// The part of the UTF-8 `text` of `total` bytes that fits `max` bytes without cutting a character in two.
/// `text` may lack what comes after `max + 1` bytes.
fn clip(text: &[u8], total: u64, max: usize) -> Clip<'_> {
    let mut end = text.len();
    if end > max {
        end = max;
        while end > 0 && text[end] & 0xc0 == 0x80 {
            end -= 1;
        }
    }
    Clip { bytes: &text[..end], cut_count: total - end as u64 }
}

/// `raw` as text: what is no UTF-8 becomes U+FFFD. Cloud Trace refuses a whole batch for one invalid string.
pub(super) fn mended(raw: &[u8]) -> Cow<'_, str> {
    // The lossy conversion is the slower check.
    std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed)
}

/// Renders text and keeps no more of it than a limit needs.
#[derive(Debug, Default)]
pub(super) struct Renderer {
    kept: Vec<u8>,
    kept_max: usize,
    total: u64,
    /// What became of text since this was last taken.
    altered: Alteration,
}

impl Write for Renderer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let room = self.kept_max - self.kept.len();
        self.kept.extend_from_slice(&text[..text.len().min(room)]);
        self.total += text.len() as u64;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Renderer {
    /// The string `raw`, cut to `max` bytes.
    #[inline]
    pub(super) fn string<'a>(&'a mut self, raw: &'a [u8], max: usize) -> Clip<'a> {
        // Nearly all text is ASCII, which is the faster check.
        if raw.is_ascii() || std::str::from_utf8(raw).is_ok() {
            let clip = clip(raw, raw.len() as u64, max);
            self.altered.cut |= clip.cut_count > 0;
            return clip;
        }
        self.altered.utf8 = true;
        self.render(max, |out| out.write_all(String::from_utf8_lossy(raw).as_bytes()))
    }

    /// A value as text, cut to `max` bytes: arrays and maps as compact JSON, bytes as base64, nothing as nothing. Elements that begin
    /// behind the limit are not counted as cut off.
    #[inline]
    pub(super) fn value<'a>(&'a mut self, value: AnyValue<'a>, max: usize) -> Clip<'a> {
        match value {
            AnyValue::String(raw) => self.string(raw, max),
            AnyValue::Empty => Clip { bytes: &[], cut_count: 0 },
            AnyValue::Bool(v) => self.render(max, |out| write!(out, "{v}")),
            AnyValue::Int(v) => self.render(max, |out| write!(out, "{v}")),
            AnyValue::Double(v) => self.render(max, |out| double(out, v)),
            AnyValue::Bytes(v) => self.render(max, |out| write!(out, "{}", Base64Display::new(v, &STANDARD))),
            AnyValue::Array(_) | AnyValue::KeyValues(_) => self.render(max, |out| json(out, value, DEPTH_MAX)),
        }
    }

    /// Writing to this renderer cannot fail; the results only serve `write!`.
    fn render(&mut self, max: usize, write: impl FnOnce(&mut Self) -> io::Result<()>) -> Clip<'_> {
        self.kept.clear();
        self.kept_max = max + 1;
        self.total = 0;
        let written = write(self);
        debug_assert!(written.is_ok());
        let clip = clip(&self.kept, self.total, max);
        self.altered.cut |= clip.cut_count > 0;
        clip
    }

    /// Whether what comes now is cut off.
    fn is_full(&self) -> bool {
        self.kept.len() == self.kept_max
    }

    /// Notes what was done beside the text that is rendered here.
    #[inline]
    pub(super) fn note(&mut self, altered: Alteration) {
        self.altered |= altered;
    }

    /// What was done since the last call.
    #[inline]
    pub(super) fn take_altered(&mut self) -> Alteration {
        std::mem::take(&mut self.altered)
    }
}

/// The shortest decimal that reads back as `v`, never with an exponent; infinities as Go prints them.
fn double(out: &mut impl Write, v: f64) -> io::Result<()> {
    if v.is_infinite() { out.write_all(if v > 0.0 { b"+Inf" } else { b"-Inf" }) } else { write!(out, "{v}") }
}

/// `value` as compact JSON. What JSON has no word for is a string: bytes in base64, numbers that are none. The scan
/// lets nothing nest deeper than `depth` counts down; it bounds the recursion all the same.
fn json(out: &mut Renderer, value: AnyValue<'_>, depth: u32) -> io::Result<()> {
    match value {
        _ if depth == 0 => out.write_all(b"null"),
        AnyValue::Empty => out.write_all(b"null"),
        AnyValue::Bool(v) => write!(out, "{v}"),
        AnyValue::Int(v) => write!(out, "{v}"),
        AnyValue::Double(v) if v.is_finite() => double(out, v),
        AnyValue::Double(v) => quoted(out, |out| double(out, v)),
        AnyValue::Bytes(v) => quoted(out, |out| write!(out, "{}", Base64Display::new(v, &STANDARD))),
        AnyValue::String(raw) => json_string(out, raw),
        AnyValue::Array(values) => list(out, b"[]", values.iter(), |out, value| json(out, value, depth - 1)),
        AnyValue::KeyValues(pairs) => list(out, b"{}", pairs.iter(), |out, (key, value)| {
            json_string(out, key)?;
            out.write_all(b":")?;
            json(out, value, depth - 1)
        }),
    }
}

/// The elements of a list or map, as far as the limit: what is cut off anyway is not rendered.
fn list<T>(
    out: &mut Renderer,
    [open, close]: &[u8; 2],
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Renderer, T) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(&[*open])?;
    for (i, item) in items.enumerate() {
        if out.is_full() {
            return Ok(());
        }
        if i > 0 {
            out.write_all(b",")?;
        }
        write(out, item)?;
    }
    out.write_all(&[*close])
}

fn quoted(out: &mut Renderer, write: impl FnOnce(&mut Renderer) -> io::Result<()>) -> io::Result<()> {
    out.write_all(b"\"")?;
    write(out)?;
    out.write_all(b"\"")
}

fn json_string(out: &mut Renderer, raw: &[u8]) -> io::Result<()> {
    let text = mended(raw);
    out.altered.utf8 |= matches!(text, Cow::Owned(_));
    Ok(serde_json::to_writer(out, &text)?)
}
