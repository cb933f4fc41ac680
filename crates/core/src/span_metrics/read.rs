//! Reads the labels of a span from its bytes.
//!
//! The key of a series is the bytes of its labels: the values in the order of [`super::settings::LABELS`] without kind and
//! status, which are one byte, and then those of the dimensions. Each value has its length before it.

use std::io::Write;

use smallvec::SmallVec;

use super::label::{self, VALUE_BYTES_MAX, label_name};
use super::names::write_normalized;
use super::settings::{SpanMetricsSettings, SpanNames};
use crate::otlp::text::is_utf8;
use crate::otlp::view::{self, AnyValue, Attributes, StatusCode};
use crate::otlp::wire::{Reader, WireError};

const HTTP_ROUTE: &str = "http.route";
/// The method in the present and in the earlier semantic conventions.
const METHODS: [&str; 2] = ["http.request.method", "http.method"];

/// The number of the wanted attributes that names are made of.
const NAME_ATTRIBUTES: usize = 3;
const ROUTE: usize = 0;

/// The bytes of a name that are read. A UUID becomes shorter, so more than [`VALUE_BYTES_MAX`].
const NAME_BYTES_MAX: usize = 4 * VALUE_BYTES_MAX;

/// The service of a span whose resource has no `service.name`, as the specification of OpenTelemetry names it.
pub(super) const UNKNOWN_SERVICE: &[u8] = b"unknown_service";

/// The first byte of an attribute whose key is written before its value: the key of the field `key`.
const KEY_FIRST: u8 = 0x0a;

/// The keys of the fields of a span.
pub(super) mod keys {
    use crate::otlp::fields::span;
    use crate::otlp::wire::{WireType, key};

    pub(in crate::span_metrics) const TRACE_ID: u32 = key(span::TRACE_ID, WireType::Len);
    pub(in crate::span_metrics) const SPAN_ID: u32 = key(span::SPAN_ID, WireType::Len);
    pub(in crate::span_metrics) const PARENT_SPAN_ID: u32 = key(span::PARENT_SPAN_ID, WireType::Len);
    pub(in crate::span_metrics) const NAME: u32 = key(span::NAME, WireType::Len);
    pub(in crate::span_metrics) const KIND: u32 = key(span::KIND, WireType::Varint);
    pub(in crate::span_metrics) const START_TIME_UNIX_NANO: u32 = key(span::START_TIME_UNIX_NANO, WireType::Fixed64);
    pub(in crate::span_metrics) const END_TIME_UNIX_NANO: u32 = key(span::END_TIME_UNIX_NANO, WireType::Fixed64);
    pub(in crate::span_metrics) const ATTRIBUTES: u32 = key(span::ATTRIBUTES, WireType::Len);
    pub(in crate::span_metrics) const STATUS: u32 = key(span::STATUS, WireType::Len);
}

/// Returns false if the key of an attribute has a length that has no bit in `lengths`, modulo 64.
#[inline]
pub(super) fn may_have_key(attribute: &[u8], lengths: u64) -> bool {
    match attribute {
        [KEY_FIRST, len, ..] => lengths >> (len % 64) & 1 == 1,
        _ => true,
    }
}

/// Skips attributes of the usual form whose keys have a length that has no bit in `lengths`, modulo 64. Most are skipped.
#[inline]
pub(super) fn skip_attributes(reader: &mut Reader<'_>, lengths: u64) {
    const KEY: u8 = keys::ATTRIBUTES as u8;
    reader.skip_short(KEY, |attribute| !may_have_key(attribute, lengths));
}

/// Values of the wanted attributes, in the order of [`KeyReader::wanted`].
type Values<'a> = SmallVec<[AnyValue<'a>; VALUES_INLINE]>;

/// The wanted attributes whose values need no memory of the heap.
const VALUES_INLINE: usize = 12;

/// Returns `count` times no value.
#[inline]
fn no_values<'a>(count: usize) -> Values<'a> {
    let none = [AnyValue::Empty; VALUES_INLINE];
    if count <= VALUES_INLINE {
        Values::from_buf_and_len(none, count)
    } else {
        SmallVec::from_elem(AnyValue::Empty, count)
    }
}

/// Reads keys as the settings say.
#[derive(Debug)]
pub(super) struct KeyReader {
    names: SpanNames,
    /// The keys of the wanted attributes: those that names are made of, and then the dimensions.
    wanted: Vec<String>,
    /// Bit `n` is set if a wanted key has `n` bytes, modulo 64.
    lengths: u64,
    /// The labels and the defaults of the dimensions.
    dimensions: Vec<(String, String)>,
}

/// The part of a key that all spans of a resource share.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResourcePart<'a> {
    /// The name of the service, as [`write_service`] has written it.
    pub(super) service: &'a [u8],
    /// The values that [`KeyReader::write_dimensions`] has written.
    pub(super) dimensions: &'a [u8],
}

/// The parts of a span that its key and its exemplar are made of.
#[derive(Debug, Default)]
pub(super) struct SpanPart<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    name: &'a [u8],
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    kind: i32,
    status: StatusCode,
    attributes: Values<'a>,
}

impl KeyReader {
    /// Creates a reader of keys with names of this form.
    pub(super) fn new(settings: &SpanMetricsSettings, names: SpanNames) -> Self {
        let of_names = std::iter::once(HTTP_ROUTE).chain(METHODS);
        let keys = of_names.chain(settings.dimensions.iter().map(|dimension| dimension.key.as_str()));
        let wanted: Vec<String> = keys.map(str::to_owned).collect();
        let is_needed = |at: usize| at >= NAME_ATTRIBUTES || settings.span_names != SpanNames::AsSent;
        let needed = wanted.iter().enumerate().filter(|(at, _)| is_needed(*at));
        let lengths = needed.fold(0, |lengths, (_, key)| lengths | 1 << (key.len() % 64));
        let dimensions = settings.dimensions.iter();
        let dimensions = dimensions.map(|dimension| (label_name(&dimension.key), dimension.default.clone())).collect();
        KeyReader { names, wanted, lengths, dimensions }
    }

    /// Returns the labels of the dimensions.
    pub(super) fn dimension_labels(&self) -> impl Iterator<Item = &str> {
        self.dimensions.iter().map(|(label, _)| label.as_str())
    }

    /// Returns the most bytes that [`KeyReader::write_dimensions`] writes; 0 if there are no dimensions.
    pub(super) fn dimensions_bytes_max(&self) -> usize {
        self.dimensions.len() * (1 + VALUE_BYTES_MAX)
    }

    /// Appends the values of the dimensions of a span that has none itself: those of its `resource`, or the defaults.
    /// This reads the whole resource, unless there are no dimensions. Call it once for all spans of a resource.
    pub(super) fn write_dimensions(&self, resource: &[u8], out: &mut Vec<u8>) {
        if self.dimensions.is_empty() {
            return;
        }
        let mut values: Values<'_> = no_values(self.wanted.len());
        for (key, value) in Attributes::of_resource(resource).iter() {
            self.take(&mut values, key, value);
        }
        for ((_, default), value) in self.dimensions.iter().zip(values.iter().skip(NAME_ATTRIBUTES)) {
            label::with_length(out, |out| write_attribute(*value, default, out));
        }
    }

    /// Reads a span. It is always inlined, so that the result is not returned through memory.
    #[inline(always)]
    pub(super) fn span<'a>(&self, message: &'a [u8]) -> SpanPart<'a> {
        let mut part = SpanPart { attributes: no_values(self.wanted.len()), ..SpanPart::default() };
        let mut reader = Reader::new(message);
        while let Ok(Some(key)) = reader.key()
            && self.field(key, &mut reader, &mut part).is_ok()
        {
            skip_attributes(&mut reader, self.lengths);
        }
        part
    }

    /// Reads the value of a field. A value whose type is known from its key is not returned through memory, and an
    /// attribute that is not wanted is skipped at once: most are.
    #[inline]
    fn field<'a>(&self, key: u32, reader: &mut Reader<'a>, part: &mut SpanPart<'a>) -> Result<(), WireError> {
        match key {
            keys::ATTRIBUTES => {
                let attribute = reader.len_delimited()?;
                if self.may_want(attribute) {
                    let (key, value) = view::key_value(attribute);
                    self.take(&mut part.attributes, key, value);
                }
            }
            keys::TRACE_ID => part.trace_id = reader.len_delimited()?,
            keys::SPAN_ID => part.span_id = reader.len_delimited()?,
            keys::NAME => part.name = reader.len_delimited()?,
            keys::KIND => part.kind = reader.varint()? as i32,
            keys::START_TIME_UNIX_NANO => part.start_unix_nano = reader.fixed64()?,
            keys::END_TIME_UNIX_NANO => part.end_unix_nano = reader.fixed64()?,
            keys::STATUS => (part.status, _) = view::status(reader.len_delimited()?),
            _ => _ = reader.value(key)?,
        }
        Ok(())
    }

    /// Returns false if the key of an attribute has a length that no wanted key has.
    #[inline]
    fn may_want(&self, attribute: &[u8]) -> bool {
        may_have_key(attribute, self.lengths)
    }

    /// Takes a value if its key is wanted. If a sender repeats an attribute, the first one with a value counts.
    fn take<'a>(&self, values: &mut Values<'a>, key: &[u8], value: AnyValue<'a>) {
        for (at, _) in self.wanted.iter().enumerate().filter(|(_, wanted)| wanted.as_bytes() == key) {
            if values[at] == AnyValue::Empty {
                values[at] = value;
            }
        }
    }

    /// Appends the key of a span.
    #[inline]
    pub(super) fn write_key(&self, resource: ResourcePart<'_>, span: &SpanPart<'_>, out: &mut Vec<u8>) {
        let kind = if (0..=5).contains(&span.kind) { span.kind as u8 } else { 0 };
        out.push(kind << 4 | span.status as u8);
        out.extend_from_slice(resource.service);
        label::with_length(out, |out| self.write_name(span, out));
        let mut of_resource = resource.dimensions;
        for value in span.attributes.iter().skip(NAME_ATTRIBUTES) {
            let written;
            (written, of_resource) = label::split_written(of_resource);
            match is_shown(*value) {
                true => label::with_length(out, |out| write_attribute(*value, "", out)),
                false => out.extend_from_slice(written),
            }
        }
    }

    fn write_name(&self, span: &SpanPart<'_>, out: &mut Vec<u8>) {
        if self.names != SpanNames::Normalized {
            return label::write_text(span.name, out);
        }
        if let AnyValue::String(route @ [_, ..]) = span.attributes[ROUTE] {
            let methods = &span.attributes[ROUTE + 1..NAME_ATTRIBUTES];
            let method = methods.iter().find_map(|value| match value {
                AnyValue::String(method @ [_, ..]) => Some(*method),
                _ => None,
            });
            if let Some(method) = method {
                label::write_text(method, out);
                out.push(b' ');
            }
            return label::write_text(route, out);
        }
        let name = label::first_bytes(span.name, NAME_BYTES_MAX);
        match is_utf8(name) {
            true => write_normalized(name, out),
            false => write_normalized(String::from_utf8_lossy(name).as_bytes(), out),
        }
    }
}

/// Appends the name of a service with its length before it. All spans of a resource share it, so call it once for them.
/// `service` is empty if the resource has none.
pub(super) fn write_service(service: &[u8], out: &mut Vec<u8>) {
    label::write_value(if service.is_empty() { UNKNOWN_SERVICE } else { service }, out);
}

/// Returns the name of the service in a key that [`KeyReader::write_key`] has written.
pub(super) fn service_of(key: &[u8]) -> &[u8] {
    key.get(1..).map_or(&[], |rest| label::split_written(rest).0)
}

/// Returns true if the value can be a label.
fn is_shown(value: AnyValue<'_>) -> bool {
    matches!(value, AnyValue::String(_) | AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_))
}

/// Appends the text of a value, or `default` if it has none. Lists, maps and bytes have none.
fn write_attribute(value: AnyValue<'_>, default: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = match value {
        AnyValue::String(text) => return label::write_text(text, out),
        AnyValue::Bool(value) => write!(out, "{value}"),
        AnyValue::Int(value) => write!(out, "{value}"),
        AnyValue::Double(value) => write!(out, "{value}"),
        _ => return label::write_text(default.as_bytes(), out),
    };
}
