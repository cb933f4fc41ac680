//! One pass over the bytes of an `ExportTraceServiceRequest` that takes what a decision needs and checks the rest.
//!
//! Each span yields a [`SpanFact`] of fixed size; nothing is copied and, once the buffers of [`Scan`] have grown,
//! nothing is allocated. The framing of every nested message is checked, so that whatever comes behind the door is
//! well-formed. All legal encodings are taken: fields in any order, repeated scalars (the last wins), unknown fields,
//! a resource after its spans, and singular submessages that were split into several occurrences. The last is legal
//! but written by no known sender: such a body is rewritten once by prost, so that the views need not know of it.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::view::{self, AnyValue, StatusCode};
use super::wire::{DEPTH_MAX, Reader, Value, WireError};
use super::{ByteRange, TraceId};

/// One bit for each compiled span predicate.
pub type Bits = u64;

/// What the policies ask of the bytes while they are scanned. Implemented by `sampling`.
pub trait Probe {
    /// Bits that an attribute of the span's resource sets. Called once per `ResourceSpans`.
    fn resource_attribute(&self, key: &[u8], value: AnyValue<'_>) -> Bits;
    /// Bits that an attribute of the span sets.
    fn span_attribute(&self, key: &[u8], value: AnyValue<'_>) -> Bits;
    /// Bits that the span's status sets.
    fn status(&self, code: StatusCode) -> Bits;
}

/// What a decision needs of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanFact {
    /// The trace that the span belongs to; never zero.
    pub trace_id: TraceId,
    /// Start, nanoseconds since 1970; 0 if not set.
    pub start_unix_nano: u64,
    /// End, nanoseconds since 1970; 0 if not set.
    pub end_unix_nano: u64,
    /// The predicates that hold for the span and its resource.
    pub bits: Bits,
    /// The explicit randomness `rv` of the tracestate (56 bits), if the span carries one.
    pub randomness: Option<u64>,
    /// The `Span` message in the body.
    pub span: ByteRange,
    /// The span's entry in [`Scan::scopes`].
    pub scope: u32,
    /// No parent span id (or an all-zero one).
    pub root: bool,
}

/// Where the resource and the instrumentation scope of a group of spans stand in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The `Resource` message; empty if there is none.
    pub resource: ByteRange,
    /// The `InstrumentationScope` message; empty if there is none.
    pub scope: ByteRange,
}

/// Why a span was rejected alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum RejectReason {
    /// A trace id that is not 16 bytes, or all zero.
    TraceId,
    /// A span id that is not 8 bytes, or all zero.
    SpanId,
}

impl RejectReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [RejectReason; 2] = [RejectReason::TraceId, RejectReason::SpanId];

    /// The reason as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            RejectReason::TraceId => "invalid_trace_id",
            RejectReason::SpanId => "invalid_span_id",
        }
    }
}

/// The result of a scan. Reuse it: its buffers keep their capacity.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The accepted spans in the order of the body.
    pub facts: Vec<SpanFact>,
    /// Resource and scope of the spans, one entry for each `ScopeSpans`.
    pub scopes: Vec<Scope>,
    /// Spans rejected, by [`RejectReason`].
    pub rejected: [u32; RejectReason::ALL.len()],
}

impl Scan {
    /// All spans that the body held, accepted or rejected.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.facts.len() + self.rejected_count()
    }

    /// The spans that were rejected, for whatever reason.
    #[must_use]
    pub fn rejected_count(&self) -> usize {
        self.rejected.iter().map(|&n| n as usize).sum()
    }

    fn clear(&mut self) {
        self.facts.clear();
        self.scopes.clear();
        self.rejected = [0; RejectReason::ALL.len()];
    }
}

/// Scans the request in `body` into `scan`. Returns the body that the ranges refer to: `body` itself, or its
/// canonical form where a singular submessage had been split.
///
/// # Errors
/// A [`WireError`] if `body` is not a well-formed request; `scan` is empty then.
pub fn scan(body: Bytes, probe: &impl Probe, scan: &mut Scan) -> Result<Bytes, WireError> {
    let mut result = Scanner::run(&body, probe, scan).map(|()| body.clone());
    if result == Err(Stop::Split) {
        result = canonical(&body).and_then(|body| Scanner::run(&body, probe, scan).map(|()| body));
    }
    result.map_err(|stop| {
        scan.clear();
        match stop {
            Stop::Wire(error) => error,
            // prost writes each submessage once.
            Stop::Split => WireError::Key,
        }
    })
}

/// Merges split submessages by decoding and encoding the request. Unlike the scan it refuses strings that are not
/// UTF-8, as prost cannot carry them.
fn canonical(body: &[u8]) -> Result<Bytes, Stop> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| WireError::WireType)?;
    Ok(request.encode_to_vec().into())
}

/// Why the pass ended early.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Wire(WireError),
    /// A singular submessage occurs twice.
    Split,
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::Wire(error)
    }
}

/// Counts down the messages that may still nest, exactly as prost does.
#[derive(Clone, Copy)]
struct Depth(u32);

impl Depth {
    #[inline]
    fn enter(self) -> Result<Depth, WireError> {
        self.0.checked_sub(1).map(Depth).ok_or(WireError::Depth)
    }

    /// prost also asks for a level in order to skip an unknown field.
    #[inline]
    fn unknown(self) -> Result<(), WireError> {
        self.enter().map(|_| ())
    }
}

/// A message's content and where it begins in the body.
#[derive(Clone, Copy)]
struct Part<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Part<'a> {
    /// The submessage `bytes` that `reader`, a reader of this part, has just read.
    #[inline]
    fn sub(self, reader: &Reader<'_>, bytes: &'a [u8]) -> Part<'a> {
        Part { bytes, offset: self.offset + reader.position() - bytes.len() }
    }

    /// The caller has checked that the body is under 4 GiB.
    #[inline]
    fn range(self) -> ByteRange {
        ByteRange { offset: self.offset as u32, len: self.bytes.len() as u32 }
    }
}

/// Keeps the only occurrence of a singular submessage.
#[inline]
fn once<'a>(slot: &mut Option<Part<'a>>, part: Part<'a>) -> Result<(), Stop> {
    if slot.replace(part).is_some() { Err(Stop::Split) } else { Ok(()) }
}

struct Scanner<'s, P> {
    probe: &'s P,
    out: &'s mut Scan,
}

impl<P: Probe> Scanner<'_, P> {
    fn run(body: &[u8], probe: &P, out: &mut Scan) -> Result<(), Stop> {
        out.clear();
        if u32::try_from(body.len()).is_err() {
            return Err(WireError::TooLarge.into());
        }
        let mut scanner = Scanner { probe, out };
        let request = Part { bytes: body, offset: 0 };
        let mut reader = Reader::new(body);
        let depth = Depth(DEPTH_MAX);
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => scanner.resource_spans(request.sub(&reader, value.len_delimited()?), depth.enter()?)?,
                _ => depth.unknown()?,
            }
        }
        Ok(())
    }

    /// Two passes over the fields, not over their contents: the resource may stand behind its spans.
    fn resource_spans(&mut self, part: Part<'_>, depth: Depth) -> Result<(), Stop> {
        let mut reader = Reader::new(part.bytes);
        let mut resource = None;
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => once(&mut resource, part.sub(&reader, value.len_delimited()?))?,
                2 | 3 => _ = value.len_delimited()?,
                _ => depth.unknown()?,
            }
        }
        let inner = depth.enter()?;
        let bits = resource.map_or(Ok(0), |resource| self.resource(resource.bytes, inner))?;
        let mut reader = Reader::new(part.bytes);
        while let Some((number, value)) = reader.field()? {
            if let (2, Value::Len(bytes)) = (number, value) {
                let resource = resource.map(Part::range).unwrap_or_default();
                self.scope_spans(part.sub(&reader, bytes), inner, resource, bits)?;
            }
        }
        Ok(())
    }

    fn resource(&self, bytes: &[u8], depth: Depth) -> Result<Bits, Stop> {
        let mut reader = Reader::new(bytes);
        let mut bits = 0;
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => {
                    let (key, value) = key_value(value.len_delimited()?, depth.enter()?)?;
                    bits |= self.probe.resource_attribute(key, value);
                }
                2 => _ = value.varint()?,
                3 => entity_ref(value.len_delimited()?, depth.enter()?)?,
                _ => depth.unknown()?,
            }
        }
        Ok(bits)
    }

    fn scope_spans(&mut self, part: Part<'_>, depth: Depth, resource: ByteRange, bits: Bits) -> Result<(), Stop> {
        let index = self.out.scopes.len() as u32;
        let mut reader = Reader::new(part.bytes);
        let mut scope = None;
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => {
                    let found = part.sub(&reader, value.len_delimited()?);
                    instrumentation_scope(found.bytes, depth.enter()?)?;
                    once(&mut scope, found)?;
                }
                2 => {
                    let span = part.sub(&reader, value.len_delimited()?);
                    self.span(span, depth.enter()?, index, bits)?;
                }
                3 => _ = value.len_delimited()?,
                _ => depth.unknown()?,
            }
        }
        self.out.scopes.push(Scope { resource, scope: scope.map(Part::range).unwrap_or_default() });
        Ok(())
    }

    fn span(&mut self, part: Part<'_>, depth: Depth, scope: u32, resource_bits: Bits) -> Result<(), Stop> {
        let mut reader = Reader::new(part.bytes);
        let mut ids = Ids::default();
        let mut fact = SpanFact {
            trace_id: TraceId([0; 16]),
            start_unix_nano: 0,
            end_unix_nano: 0,
            bits: resource_bits,
            randomness: None,
            span: part.range(),
            scope,
            root: true,
        };
        let mut status = None;
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => ids.trace = value.len_delimited()?,
                2 => ids.span = value.len_delimited()?,
                3 => fact.randomness = trace_state_randomness(value.len_delimited()?),
                4 => fact.root = value.len_delimited()?.iter().all(|&b| b == 0),
                5 => _ = value.len_delimited()?,
                6 | 10 | 12 | 14 => _ = value.varint()?,
                7 => fact.start_unix_nano = value.fixed64()?,
                8 => fact.end_unix_nano = value.fixed64()?,
                9 => {
                    let (key, value) = key_value(value.len_delimited()?, depth.enter()?)?;
                    fact.bits |= self.probe.span_attribute(key, value);
                }
                11 => event(value.len_delimited()?, depth.enter()?)?,
                13 => link(value.len_delimited()?, depth.enter()?)?,
                15 => once(&mut status, part.sub(&reader, value.len_delimited()?))?,
                16 => _ = value.fixed32()?,
                _ => depth.unknown()?,
            }
        }
        let code = status.map_or(Ok(StatusCode::Unset), |part| status_code(part.bytes, depth))?;
        fact.bits |= self.probe.status(code);
        match ids.check() {
            Ok(trace_id) => self.out.facts.push(SpanFact { trace_id, ..fact }),
            Err(reason) => self.out.rejected[reason as usize] += 1,
        }
        Ok(())
    }
}

/// The ids of a span as they stand on the wire.
#[derive(Default)]
struct Ids<'a> {
    trace: &'a [u8],
    span: &'a [u8],
}

impl Ids<'_> {
    /// Trace ids are 16 bytes and span ids 8, and neither is all zero (trace.proto, `Span.trace_id`, `Span.span_id`).
    #[inline]
    fn check(&self) -> Result<TraceId, RejectReason> {
        let trace: [u8; 16] = self.trace.try_into().map_err(|_| RejectReason::TraceId)?;
        let span: [u8; 8] = self.span.try_into().map_err(|_| RejectReason::SpanId)?;
        if u128::from_ne_bytes(trace) == 0 {
            return Err(RejectReason::TraceId);
        }
        if u64::from_ne_bytes(span) == 0 {
            return Err(RejectReason::SpanId);
        }
        Ok(TraceId(trace))
    }
}

/// The explicit randomness of a W3C tracestate: the `rv` of the OpenTelemetry entry `ot`, exactly 14 lower-case hex
/// digits (specification/trace/tracestate-handling.md). Anything else counts as absent.
#[must_use]
pub fn trace_state_randomness(trace_state: &[u8]) -> Option<u64> {
    let entry = trace_state.split(|&b| b == b',').find_map(|entry| entry.trim_ascii().strip_prefix(b"ot="))?;
    let digits = entry.split(|&b| b == b';').find_map(|field| field.strip_prefix(b"rv:"))?;
    if digits.len() != 14 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

fn key_value(bytes: &[u8], depth: Depth) -> Result<(&[u8], AnyValue<'_>), Stop> {
    let mut reader = Reader::new(bytes);
    let (mut key, mut value) = (&[][..], None);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => key = field.len_delimited()?,
            2 => {
                let found = any_value(field.len_delimited()?, depth.enter()?)?;
                if value.replace(found).is_some() {
                    return Err(Stop::Split);
                }
            }
            3 => _ = field.varint()?,
            _ => depth.unknown()?,
        }
    }
    Ok((key, value.unwrap_or(AnyValue::Empty)))
}

fn any_value(bytes: &[u8], depth: Depth) -> Result<AnyValue<'_>, Stop> {
    let mut reader = Reader::new(bytes);
    let mut found = 0;
    while let Some((number, field)) = reader.field()? {
        match number {
            1 | 7 => _ = field.len_delimited()?,
            2 | 3 | 8 => _ = field.varint()?,
            4 => _ = field.fixed64()?,
            5 => any_values(field.len_delimited()?, depth.enter()?)?,
            6 => key_values(field.len_delimited()?, 1, depth.enter()?)?,
            _ => {
                depth.unknown()?;
                continue;
            }
        }
        found += 1;
    }
    if found > 1 { Err(Stop::Split) } else { Ok(AnyValue::new(bytes)) }
}

fn any_values(bytes: &[u8], depth: Depth) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => _ = any_value(field.len_delimited()?, depth.enter()?)?,
            _ => depth.unknown()?,
        }
    }
    Ok(())
}

/// Checks a message whose only known field is the list of `KeyValue` number `list`.
fn key_values(bytes: &[u8], list: u32, depth: Depth) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        if number == list {
            key_value(field.len_delimited()?, depth.enter()?)?;
        } else {
            depth.unknown()?;
        }
    }
    Ok(())
}

fn entity_ref(bytes: &[u8], depth: Depth) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1..=4 => _ = field.len_delimited()?,
            _ => depth.unknown()?,
        }
    }
    Ok(())
}

fn instrumentation_scope(bytes: &[u8], depth: Depth) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 | 2 => _ = field.len_delimited()?,
            3 => _ = key_value(field.len_delimited()?, depth.enter()?)?,
            4 => _ = field.varint()?,
            _ => depth.unknown()?,
        }
    }
    Ok(())
}

fn event(bytes: &[u8], depth: Depth) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => _ = field.fixed64()?,
            2 => _ = field.len_delimited()?,
            3 => _ = key_value(field.len_delimited()?, depth.enter()?)?,
            4 => _ = field.varint()?,
            _ => depth.unknown()?,
        }
    }
    Ok(())
}

fn link(bytes: &[u8], depth: Depth) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.field()? {
        match number {
            1..=3 => _ = field.len_delimited()?,
            4 => _ = key_value(field.len_delimited()?, depth.enter()?)?,
            5 => _ = field.varint()?,
            6 => _ = field.fixed32()?,
            _ => depth.unknown()?,
        }
    }
    Ok(())
}

fn status_code(bytes: &[u8], depth: Depth) -> Result<StatusCode, Stop> {
    let depth = depth.enter()?;
    let mut reader = Reader::new(bytes);
    let mut code = StatusCode::Unset;
    while let Some((number, field)) = reader.field()? {
        match number {
            2 => _ = field.len_delimited()?,
            3 => code = view::status_code(field.varint()?),
            _ => depth.unknown()?,
        }
    }
    Ok(code)
}
