//! One pass over the bytes of an `ExportTraceServiceRequest` that reads the facts for a decision and checks the rest.
//!
//! Each span yields a [`SpanFact`] of fixed size. Nothing is copied, and nothing is allocated once the buffers of
//! [`Scan`] have grown. They grow only as far as the caller grants memory ([`scan_within`]). The scan checks the
//! framing of every nested message, so that all later steps read well-formed bytes. It accepts all legal encodings:
//! fields in any order, repeated scalars (the last wins), unknown fields, a resource after its spans, and singular
//! submessages in several parts. No known sender writes such parts. A body that has them is rewritten once in canonical
//! form, so that the views need not handle them.
//!
//! The scan accepts the same bodies as prost and reads the same values, with two exceptions: it refuses groups
//! everywhere, and it does not check strings for UTF-8.

mod again;
mod canonical;
mod probe;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use bytes::Bytes;
use thiserror::Error;

pub use self::again::{ScopeNotes, SharedNotes};
pub use self::probe::{Bits, NoProbe, Probe, SpanFields};
use super::fields::{resource_spans, scope_spans};
use super::schema::{self, NestingLevel};
use super::view::{self, AnyValue, StatusCode};
use super::wire::{DEPTH_MAX, Reader, WireError};
use super::{ByteRange, TraceId, trace_state};

/// The facts about one span that a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanFact {
    /// The trace that the span belongs to; never zero.
    pub trace_id: TraceId,
    /// The start time in nanoseconds since 1970; 0 if not set.
    pub start_unix_nano: u64,
    /// The end time in nanoseconds since 1970; 0 if not set.
    pub end_unix_nano: u64,
    /// The conditions that hold for the span, its scope and its resource.
    pub bits: Bits,
    /// The explicit randomness `rv` of the tracestate (56 bits), if the span carries one.
    pub randomness: Option<u64>,
    /// The place of the `Span` message in the body.
    pub span: ByteRange,
    /// The index of the span's entry in [`Scan::scopes`].
    pub scope: u32,
    /// True if the span has no parent span id, or an all-zero one.
    pub root: bool,
    /// True if the status code is ERROR.
    pub error: bool,
}

/// The places in the body of the resource and the instrumentation scope of a group of spans, and of their schema URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The place of the `Resource` message; empty if there is none.
    pub resource: ByteRange,
    /// The place of the `schema_url` of the `ResourceSpans`; empty if there is none.
    pub resource_schema_url: ByteRange,
    /// The place of the `InstrumentationScope` message; empty if there is none.
    pub scope: ByteRange,
    /// The place of the `schema_url` of the `ScopeSpans`; empty if there is none.
    pub scope_schema_url: ByteRange,
    /// The place of the beginning of the resource's `service.name`, at most [`SERVICE_BYTES_MAX`] bytes. Empty if the
    /// resource has no `service.name`, or one that is not a string. If the key was sent twice, the first counts.
    pub service: ByteRange,
}

/// The number of bytes by which names of services are distinguished. Metrics show fewer.
pub const SERVICE_BYTES_MAX: usize = 256;

impl SpanFact {
    /// Returns the time from start to end in whole milliseconds; 0 if either is not set or the end is before the start.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        if self.start_unix_nano != 0 { self.end_unix_nano.saturating_sub(self.start_unix_nano) / 1_000_000 } else { 0 }
    }
}

labels! {
    /// The reason why one span of a request was rejected.
    #[repr(usize)]
    pub enum RejectReason {
        /// The trace id is not 16 bytes, or is all zero.
        TraceId = "invalid_trace_id",
        /// The span id is not 8 bytes, or is all zero.
        SpanId = "invalid_span_id",
        /// The parent span id is neither empty nor 8 bytes.
        ParentSpanId = "invalid_parent_span_id",
    }
}

/// The result of a scan. Reuse it: its buffers keep their capacity.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The accepted spans in the order of the body.
    pub facts: Vec<SpanFact>,
    /// Resource and scope of the accepted spans, one entry for each `ScopeSpans` that holds any.
    pub scopes: Vec<Scope>,
    /// The number of rejected spans for each [`RejectReason`].
    pub rejected: [u32; RejectReason::ALL.len()],
    /// The set of policies that the bits and keys belong to ([`Probe::generation`]).
    pub generation: u16,
    /// The numbers that [`Probe::key_attribute`] noted for the current resource.
    origin_keys: Vec<u64>,
    /// A copy of these numbers for the resource of each entry of `scopes`, one entry after the other.
    scope_keys: Vec<u64>,
}

impl Scan {
    /// Returns the number of all spans in the body, accepted and rejected.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.facts.len() + self.rejected_count()
    }

    /// Returns the number of rejected spans, for all reasons together.
    #[must_use]
    pub fn rejected_count(&self) -> usize {
        self.rejected.iter().map(|&n| n as usize).sum()
    }

    /// Returns the numbers that [`Probe::key_attribute`] noted for the resource of entry `scope` of `scopes`.
    #[must_use]
    pub fn keys_of(&self, scope: u32) -> &[u64] {
        let (len, at) = (self.origin_keys.len(), scope as usize);
        self.scope_keys.get(at * len..(at + 1) * len).unwrap_or_default()
    }

    /// Returns the bytes of memory that the buffers take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let keys = self.origin_keys.capacity() + self.scope_keys.capacity();
        self.facts.capacity() * size_of::<SpanFact>()
            + self.scopes.capacity() * size_of::<Scope>()
            + keys * size_of::<u64>()
    }

    fn clear(&mut self) {
        self.facts.clear();
        self.origin_keys.clear();
        self.scope_keys.clear();
        self.scopes.clear();
        self.rejected = [0; RejectReason::ALL.len()];
    }
}

/// The reason why a request was not scanned.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ScanError {
    /// The body is not a well-formed request.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The facts or the canonical form need at least this many bytes of memory, and the caller did not grant them.
    #[error("the facts of the request need {0} bytes of memory")]
    NoRoom(usize),
}

/// Scans the request in `body` into `scan`, without a limit on memory. Returns the body that the ranges refer to. That
/// is `body` itself, or its canonical form if a singular submessage was split. The canonical form is never longer.
///
/// # Errors
/// A [`WireError`] if `body` is not a well-formed request. `scan` is then empty.
pub fn scan(body: Bytes, probe: &impl Probe, scan: &mut Scan) -> Result<Bytes, WireError> {
    scan_within(body, probe, scan, &mut |_| true).map_err(|error| match error {
        ScanError::Wire(error) => error,
        // The closure grants all memory, so this error does not occur.
        ScanError::NoRoom(_) => WireError::TooLarge,
    })
}

/// Does the same as [`scan`], but only in the memory that the caller grants. Before the buffers of `scan` grow, `holds`
/// is called with the number of bytes that the scan needs in total from then on. It returns true if the scan may have
/// them. The number can be smaller than in an earlier call.
///
/// # Errors
/// See [`ScanError`]. `scan` is then empty.
pub fn scan_within(
    body: Bytes,
    probe: &impl Probe,
    scan: &mut Scan,
    holds: &mut dyn FnMut(usize) -> bool,
) -> Result<Bytes, ScanError> {
    let split = Scanner::run(&body, probe, scan, holds)?;
    if !split {
        return Ok(body);
    }
    let needed = scan.heap_bytes() + canonical::bytes_max(body.len());
    if !holds(needed) {
        scan.clear();
        return Err(ScanError::NoRoom(needed));
    }
    let body = Bytes::from(canonical::request(&body).inspect_err(|_| scan.clear())?);
    holds(scan.heap_bytes());
    let split = Scanner::run(&body, probe, scan, holds)?;
    debug_assert!(!split, "the canonical form has no split submessage");
    Ok(body)
}

/// The smallest number of facts that a new buffer has room for.
const FACTS_MIN: usize = 64;

/// The attribute that distinguishes services.
const SERVICE_NAME: &[u8] = b"service.name";

struct Scanner<'s, P> {
    body: &'s [u8],
    probe: &'s P,
    out: &'s mut Scan,
    holds: &'s mut dyn FnMut(usize) -> bool,
}

impl<P: Probe> Scanner<'_, P> {
    /// Scans `body`. Returns true if a singular submessage was split; the facts are not reliable in this case.
    fn run(body: &[u8], probe: &P, out: &mut Scan, holds: &mut dyn FnMut(usize) -> bool) -> Result<bool, ScanError> {
        out.clear();
        out.generation = probe.generation();
        let split = Cell::new(false);
        let result = match u32::try_from(body.len()) {
            Ok(_) => Scanner { body, probe, out, holds }.request(NestingLevel::new(DEPTH_MAX, &split)),
            Err(_) => Err(WireError::TooLarge.into()),
        };
        if result.is_err() {
            out.clear();
        }
        result.map(|()| split.get())
    }

    fn request(&mut self, level: NestingLevel<'_>) -> Result<(), ScanError> {
        let mut reader = Reader::new(self.body);
        while let Some(key) = reader.key()? {
            match key {
                key::RESOURCE_SPANS => self.resource_spans(reader.len_delimited()?, level.enter()?)?,
                _ => schema::REQUEST.check_field(key, &mut reader, level)?,
            }
        }
        Ok(())
    }

    /// Scans a `ResourceSpans` in two passes over its fields, because the resource may come after its spans. The
    /// contents are read only once.
    fn resource_spans(&mut self, bytes: &[u8], level: NestingLevel<'_>) -> Result<(), ScanError> {
        let mut reader = Reader::new(bytes);
        let mut resource = None;
        let mut schema_url = None;
        let mut service = None;
        let mut notes = self.probe.notes();
        self.out.origin_keys.clear();
        self.out.origin_keys.resize(self.probe.key_attributes(), 0);
        while let Some(key) = reader.key()? {
            match key {
                key::RESOURCE => {
                    let bytes = reader.len_delimited()?;
                    self.resource(bytes, level.enter()?, &mut notes, &mut service)?;
                    level.single(&mut resource, bytes);
                }
                key::SCOPE_SPANS => _ = reader.len_delimited()?,
                key::RESOURCE_SCHEMA_URL => schema_url = Some(reader.len_delimited()?),
                _ => schema::RESOURCE_SPANS.check_field(key, &mut reader, level)?,
            }
        }
        self.probe.resource(&mut notes, resource.unwrap_or_default());
        let (resource, resource_schema_url) = (self.range(resource), self.range(schema_url));
        let service = service.filter(|name| !name.is_empty());
        let origin = Scope { resource, resource_schema_url, service: self.range(service), ..Scope::default() };
        for bytes in view::submessages(bytes, resource_spans::SCOPE_SPANS) {
            self.scope_spans(bytes, level.enter()?, origin, &notes)?;
        }
        Ok(())
    }

    fn resource<'b>(
        &mut self,
        bytes: &'b [u8],
        level: NestingLevel<'_>,
        notes: &mut P::Notes,
        service: &mut Option<&'b [u8]>,
    ) -> Result<(), WireError> {
        let mut reader = Reader::new(bytes);
        while let Some(key) = reader.key()? {
            match key {
                key::RESOURCE_ATTRIBUTES => {
                    let (key, value) = attribute(reader.len_delimited()?, level.enter()?)?;
                    self.probe.resource_attribute(notes, key, value);
                    self.probe.key_attribute(&mut self.out.origin_keys, key, value);
                    if key == SERVICE_NAME && service.is_none() {
                        *service = Some(view::text_start(value, SERVICE_BYTES_MAX));
                    }
                }
                _ => schema::RESOURCE.check_field(key, &mut reader, level)?,
            }
        }
        Ok(())
    }

    fn scope_spans(
        &mut self,
        bytes: &[u8],
        level: NestingLevel<'_>,
        origin: Scope,
        notes: &P::Notes,
    ) -> Result<(), ScanError> {
        let mut notes = notes.clone();
        let index = self.out.scopes.len() as u32;
        let fact_count = self.out.facts.len();
        // The scope, too, may come after its spans. The probe therefore gets it before it is checked. This is safe,
        // because a view never fails on malformed bytes.
        if self.probe.asks_of_scopes() {
            self.probe.scope(&mut notes, view::submessages(bytes, scope_spans::SCOPE).last().unwrap_or_default());
        }
        let mut reader = Reader::new(bytes);
        let mut scope = None;
        let mut schema_url = None;
        while let Some(key) = reader.key()? {
            match key {
                key::SCOPE => {
                    let bytes = reader.len_delimited()?;
                    schema::SCOPE.check(bytes, level.enter()?)?;
                    level.single(&mut scope, bytes);
                }
                key::SPANS => self.span(reader.len_delimited()?, level.enter()?, index, &notes)?,
                key::SCOPE_SCHEMA_URL => schema_url = Some(reader.len_delimited()?),
                _ => schema::SCOPE_SPANS.check_field(key, &mut reader, level)?,
            }
        }
        if self.out.facts.len() > fact_count {
            let (scope, scope_schema_url) = (self.range(scope), self.range(schema_url));
            self.reserve_scope()?;
            self.out.scopes.push(Scope { scope, scope_schema_url, ..origin });
            self.out.scope_keys.extend_from_slice(&self.out.origin_keys);
        }
        Ok(())
    }

    fn span(&mut self, bytes: &[u8], level: NestingLevel<'_>, scope: u32, notes: &P::Notes) -> Result<(), ScanError> {
        let mut notes = notes.clone();
        let mut reader = Reader::new(bytes);
        let mut span = SpanFields { message: bytes, ..SpanFields::default() };
        let mut status = None;
        while let Some(key) = reader.key()? {
            match key {
                key::TRACE_ID => span.trace_id = reader.len_delimited()?,
                key::SPAN_ID => span.span_id = reader.len_delimited()?,
                key::TRACE_STATE => span.trace_state = reader.len_delimited()?,
                key::PARENT_SPAN_ID => span.parent_span_id = reader.len_delimited()?,
                key::NAME => span.name = reader.len_delimited()?,
                // The value of a protobuf enum is the low 32 bits of its varint.
                key::KIND => span.kind = reader.varint()? as i32,
                key::START_TIME => span.start_unix_nano = reader.fixed64()?,
                key::END_TIME => span.end_unix_nano = reader.fixed64()?,
                key::ATTRIBUTES => {
                    let (key, value) = attribute(reader.len_delimited()?, level.enter()?)?;
                    self.probe.span_attribute(&mut notes, key, value);
                }
                key::STATUS => {
                    let bytes = reader.len_delimited()?;
                    schema::STATUS.check(bytes, level.enter()?)?;
                    level.single(&mut status, bytes);
                }
                key::FLAGS => span.flags = reader.fixed32()?,
                _ => schema::SPAN.check_field(key, &mut reader, level)?,
            }
        }
        (span.status_code, span.status_message) = view::status(status.unwrap_or_default());
        let (trace_id, root) = match span.ids() {
            Ok(ids) => ids,
            Err(reason) => {
                self.out.rejected[reason as usize] += 1;
                return Ok(());
            }
        };
        if self.out.facts.len() == self.out.facts.capacity() {
            self.reserve_facts()?;
        }
        self.out.facts.push(SpanFact {
            trace_id,
            start_unix_nano: span.start_unix_nano,
            end_unix_nano: span.end_unix_nano,
            bits: self.probe.span(&mut notes, &span),
            randomness: trace_state::randomness(span.trace_state),
            span: self.range(Some(bytes)),
            scope,
            root,
            error: span.status_code == StatusCode::Error,
        });
        Ok(())
    }

    /// Makes room for twice as many facts, if the caller grants the memory.
    #[cold]
    fn reserve_facts(&mut self) -> Result<(), ScanError> {
        let count = (2 * self.out.facts.capacity()).max(FACTS_MIN);
        self.grow(count * size_of::<SpanFact>(), |out| out.facts.reserve_exact(count - out.facts.len()))
    }

    /// Makes room for one more entry of `scopes`. A full buffer grows to twice its length, if the caller grants the
    /// memory.
    fn reserve_scope(&mut self) -> Result<(), ScanError> {
        let (len, keys) = (self.out.scopes.len(), self.out.origin_keys.len());
        let has_room = len < self.out.scopes.capacity() && (len + 1) * keys <= self.out.scope_keys.capacity();
        if has_room {
            return Ok(());
        }
        let count = (2 * len).max(1);
        self.grow(count * (size_of::<Scope>() + keys * size_of::<u64>()), |out| {
            out.scopes.reserve_exact(count - len);
            out.scope_keys.reserve_exact(count * keys - out.scope_keys.len());
        })
    }

    /// Grows a buffer to new memory of `bytes` bytes, if the caller grants them in addition to all present memory: the
    /// old and the new memory exist together while the content is copied.
    fn grow(&mut self, bytes: usize, reserve: impl FnOnce(&mut Scan)) -> Result<(), ScanError> {
        let needed = self.out.heap_bytes() + bytes;
        if !(self.holds)(needed) {
            return Err(ScanError::NoRoom(needed));
        }
        reserve(self.out);
        (self.holds)(self.out.heap_bytes());
        Ok(())
    }

    /// Returns the place of `part` in the body. The body is under 4 GiB, which was checked before.
    #[inline]
    fn range(&self, part: Option<&[u8]>) -> ByteRange {
        part.map_or(ByteRange::default(), |part| ByteRange {
            offset: (part.as_ptr().addr() - self.body.as_ptr().addr()) as u32,
            len: part.len() as u32,
        })
    }
}

/// Checks and reads an attribute of a resource or a span. The fast path does not count levels: an attribute at this
/// place cannot be nested too deep. The function is always inlined, because a result that is returned through memory
/// stalls the processor, and most values are not used.
#[inline(always)]
fn attribute<'a>(bytes: &'a [u8], level: NestingLevel<'_>) -> Result<(&'a [u8], AnyValue<'a>), WireError> {
    if let Some(found) = view::plain_key_value(bytes) {
        return Ok(found);
    }
    schema::KEY_VALUE.check(bytes, level)?;
    Ok(view::key_value(bytes))
}

impl SpanFields<'_> {
    /// Returns the trace id, and true if the span is a root. A trace id is 16 bytes and a span id 8 bytes. Neither is
    /// all zero (trace.proto, `Span.trace_id`, `Span.span_id`). The parent id of a root is empty. As in pdata, an
    /// all-zero parent id means the same, and a parent id of any other length than 0 or 8 bytes is invalid.
    #[inline]
    fn ids(&self) -> Result<(TraceId, bool), RejectReason> {
        let trace_id = id(self.trace_id).ok_or(RejectReason::TraceId)?;
        id::<8>(self.span_id).ok_or(RejectReason::SpanId)?;
        let root = id::<8>(self.parent_span_id).is_none();
        if root && !matches!(self.parent_span_id.len(), 0 | 8) {
            return Err(RejectReason::ParentSpanId);
        }
        Ok((TraceId(trace_id), root))
    }
}

/// Returns the id if it is `N` bytes that are not all zero.
#[inline]
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

/// The keys of the fields that the scan reads itself.
mod key {
    use crate::fields::{export_trace_service_request, resource, resource_spans, scope_spans, span};
    use crate::wire::WireType::{Fixed32, Fixed64, Len, Varint};
    use crate::wire::key;

    pub(super) const RESOURCE_SPANS: u32 = key(export_trace_service_request::RESOURCE_SPANS, Len);

    pub(super) const RESOURCE: u32 = key(resource_spans::RESOURCE, Len);
    pub(super) const SCOPE_SPANS: u32 = key(resource_spans::SCOPE_SPANS, Len);
    pub(super) const RESOURCE_SCHEMA_URL: u32 = key(resource_spans::SCHEMA_URL, Len);

    pub(super) const RESOURCE_ATTRIBUTES: u32 = key(resource::ATTRIBUTES, Len);

    pub(super) const SCOPE: u32 = key(scope_spans::SCOPE, Len);
    pub(super) const SPANS: u32 = key(scope_spans::SPANS, Len);
    pub(super) const SCOPE_SCHEMA_URL: u32 = key(scope_spans::SCHEMA_URL, Len);

    pub(super) const TRACE_ID: u32 = key(span::TRACE_ID, Len);
    pub(super) const SPAN_ID: u32 = key(span::SPAN_ID, Len);
    pub(super) const TRACE_STATE: u32 = key(span::TRACE_STATE, Len);
    pub(super) const PARENT_SPAN_ID: u32 = key(span::PARENT_SPAN_ID, Len);
    pub(super) const NAME: u32 = key(span::NAME, Len);
    pub(super) const KIND: u32 = key(span::KIND, Varint);
    pub(super) const START_TIME: u32 = key(span::START_TIME_UNIX_NANO, Fixed64);
    pub(super) const END_TIME: u32 = key(span::END_TIME_UNIX_NANO, Fixed64);
    pub(super) const ATTRIBUTES: u32 = key(span::ATTRIBUTES, Len);
    pub(super) const STATUS: u32 = key(span::STATUS, Len);
    pub(super) const FLAGS: u32 = key(span::FLAGS, Fixed32);
}
