//! Renders OTLP values as text, mends text that is not UTF-8, and cuts it at a limit.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::otlp::altered::Alteration;
use crate::otlp::view::AnyValue;
use crate::otlp::wire::DEPTH_MAX;

/// Text within a limit, and the number of bytes that were cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clip<'a> {
    /// The text, which is valid UTF-8.
    pub(super) bytes: &'a [u8],
    pub(super) cut_count: u64,
}

/// Returns the beginning of a UTF-8 text that fits into `max` bytes, without cutting a character in two. The whole text
/// has `total` bytes, of which `text` needs to contain only the first `max + 1`.
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

/// Returns `raw` as text, with U+FFFD in place of bytes that are not UTF-8. Cloud Trace refuses a whole batch for one
/// invalid string.
pub(super) fn mended(raw: &[u8]) -> Cow<'_, str> {
    // This check comes first, because the lossy conversion is slower.
    std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed)
}

/// A renderer of text that keeps only as much of the text as a limit needs.
#[derive(Debug, Default)]
pub(super) struct Renderer {
    kept: Vec<u8>,
    kept_max: usize,
    total: u64,
    /// The changes since the last call of [`Renderer::take_altered`].
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
    /// Returns the string `raw`, mended and cut to `max` bytes.
    #[inline]
    pub(super) fn string<'a>(&'a mut self, raw: &'a [u8], max: usize) -> Clip<'a> {
        // The check for ASCII comes first, because it is faster and nearly all text is ASCII.
        if raw.is_ascii() || std::str::from_utf8(raw).is_ok() {
            let clip = clip(raw, raw.len() as u64, max);
            self.altered.cut |= clip.cut_count > 0;
            return clip;
        }
        self.altered.utf8 = true;
        self.render(max, |out| out.write_all(String::from_utf8_lossy(raw).as_bytes()))
    }

    /// Returns a value as text, cut to `max` bytes. Arrays and maps become compact JSON, bytes become base64, and an
    /// absent value becomes an empty text. Elements that begin after the limit are not rendered, so they do not count
    /// as cut off.
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

    /// Calls `write` to render a text, and returns it cut to `max` bytes. Writing to a renderer cannot fail; the
    /// results exist only because `write!` needs them.
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

    /// Returns true if the limit is reached, so that all further text is cut off.
    fn is_full(&self) -> bool {
        self.kept.len() == self.kept_max
    }

    /// Notes changes that were made outside of this renderer.
    #[inline]
    pub(super) fn note(&mut self, altered: Alteration) {
        self.altered |= altered;
    }

    /// Returns the changes since the last call.
    #[inline]
    pub(super) fn take_altered(&mut self) -> Alteration {
        std::mem::take(&mut self.altered)
    }
}

/// Writes the shortest decimal that reads back as `v`, never with an exponent. Infinities are written as in Go.
fn double(out: &mut impl Write, v: f64) -> io::Result<()> {
    if v.is_infinite() { out.write_all(if v > 0.0 { b"+Inf" } else { b"-Inf" }) } else { write!(out, "{v}") }
}

/// Writes `value` as compact JSON. Values for which JSON has no notation become strings: bytes in base64, NaN and
/// infinities. `depth` is the number of levels that are left. It bounds the recursion. The scan does not accept values
/// that are nested deeper.
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

/// Writes the elements of a list or map up to the limit. The rest would be cut off, so it is not rendered.
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
