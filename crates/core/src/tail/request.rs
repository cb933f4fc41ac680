//! Requests that are held as bytes, and the fragments of traces in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::compression::{BodyForm, Compression, Excerpt, RequestBody, is_compressible};
use super::journal_hold::{JournalHold, KeptSpansHold};
use super::services::ServiceNumber;
use super::tally::SpanAmount;
use crate::budget::{BodyOwner, Share};
use crate::otlp::scan::Scope;
use crate::otlp::{ByteRange, TraceId};
use crate::sampling::Keep;

/// The body of one export request with the index of its spans. It gives back its share of the memory budget when the
/// last trace that needs it is released.
#[derive(Debug)]
pub struct Request {
    /// A number that no other request of this process has.
    number: u64,
    body: Mutex<RequestBody>,
    spans: Box<[HeldSpan]>,
    scopes: Box<[Scope]>,
    /// The service of each scope; empty in tests that do not ask for it.
    services: Box<[ServiceNumber]>,
    /// The hold on its copy in the journal; `None` without a journal.
    hold: Option<Arc<JournalHold>>,
    /// The queue for compression of the body; `None` if the body is not to be compressed.
    compression: Option<Arc<Compression>>,
}

/// The position of a span in its request. Spans of one trace are adjacent.
#[derive(Clone, Copy, Debug)]
pub struct HeldSpan {
    /// The range of the `Span` message in the body.
    pub span: ByteRange,
    /// The index of its scope, and [`COUNTED`].
    scope: u32,
}

/// The bit of [`HeldSpan`] that is set if the metrics of spans have counted it. A body is under 4 GiB, so it has fewer
/// scopes than this.
const COUNTED: u32 = 1 << 31;

impl HeldSpan {
    /// Creates the position of the `Span` message at `span`, whose scope is number `scope` of the request's scopes.
    #[must_use]
    pub fn new(span: ByteRange, scope: u32) -> Self {
        HeldSpan { span, scope }
    }

    /// Notes that the metrics of spans have counted it, if `is_counted`.
    #[must_use]
    pub(super) fn counted(self, is_counted: bool) -> Self {
        HeldSpan { scope: self.scope & !COUNTED | if is_counted { COUNTED } else { 0 }, ..self }
    }

    /// Returns true if the metrics of spans have counted it.
    pub(super) fn is_counted(self) -> bool {
        self.scope & COUNTED != 0
    }

    /// Returns the index of its scope in the request's scopes.
    pub(super) fn scope(self) -> u32 {
        self.scope & !COUNTED
    }

    /// Returns the same span with another number of its scope.
    pub(super) fn at(self, span: ByteRange, scope: u32) -> Self {
        HeldSpan::new(span, scope).counted(self.is_counted())
    }
}

/// The scopes of a request.
#[derive(Debug, Default)]
pub(super) struct HeldScopes {
    pub(super) scopes: Box<[Scope]>,
    /// The service of each scope.
    pub(super) services: Box<[ServiceNumber]>,
}

impl Request {
    /// Creates a request of `body`. The `spans` must be sorted by trace and refer to `scopes`.
    #[must_use]
    pub fn new(body: Bytes, spans: Box<[HeldSpan]>, scopes: Box<[Scope]>, share: Share) -> Arc<Self> {
        Self::held(body, spans, HeldScopes { scopes, services: Box::default() }, share, None, None)
    }

    /// Does the same as [`Request::new`], with the hold on the copy in the journal, and with a body that is compressed
    /// while it is not read.
    pub(super) fn held(
        body: Bytes,
        spans: Box<[HeldSpan]>,
        HeldScopes { scopes, services }: HeldScopes,
        share: Share,
        hold: Option<Arc<JournalHold>>,
        compression: Option<Arc<Compression>>,
    ) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let body = Mutex::new(RequestBody::new(body, share));
        let compression = compression.filter(|_| is_compressible(&scopes));
        let request = Arc::new(Request { number, body, spans, scopes, services, hold, compression });
        request.with_body(|body| body.enlist(&request));
        request.enlist();
        request
    }

    pub(super) fn with_body<T>(&self, work: impl FnOnce(&mut RequestBody) -> T) -> T {
        work(&mut self.body.lock())
    }

    fn enlist(self: &Arc<Self>) {
        if let Some(compression) = &self.compression {
            compression.enlist(self);
        }
    }
}

impl BodyOwner for Request {
    fn relocate(self: &Arc<Self>) {
        self.with_body(|body| body.relocate(self));
    }
}

/// The most spans of a compressed body that are unpacked for the exporter at a time: as many as it encodes at a time.
const EXCERPT_SPANS_MAX: usize = 256;

/// The spans of one trace in one request.
#[derive(Clone, Debug)]
pub struct Fragment {
    request: Arc<Request>,
    first: u32,
    count: u32,
}

/// The identity of one `ScopeSpans` of one request. Its spans share everything except their own bytes. An identity is
/// never used again, not even after the request is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId {
    /// The number of the request, unique in this process.
    pub request: u64,
    /// The index of the scope in the request's scopes.
    pub scope: u32,
}

/// The identity of one `Resource` of one request. It is never used again, not even after the request is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId {
    request: u64,
    /// The place of the resource in the body as it was received.
    offset: u32,
}

/// The places of one span and of what it shares, in the body of an [`OpenFragment`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedSpan {
    pub(crate) resource_id: ResourceId,
    pub(crate) scope_id: ScopeId,
    pub(crate) scope: Scope,
    pub(crate) span: ByteRange,
    /// True if the metrics of spans have counted it.
    pub(crate) is_counted: bool,
}

/// The bytes of one held span.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanBytes<'a> {
    /// The identity of its `ScopeSpans`; `None` if the span is not in a held request.
    pub scope_id: Option<ScopeId>,
    /// The `Resource` message; empty if the sender sent none.
    pub resource: &'a [u8],
    /// `schema_url` of the `ResourceSpans`.
    pub resource_schema_url: &'a [u8],
    /// The `InstrumentationScope` message; empty if the sender sent none.
    pub scope: &'a [u8],
    /// `schema_url` of the `ScopeSpans`.
    pub scope_schema_url: &'a [u8],
    /// The `Span` message.
    pub span: &'a [u8],
}

impl Fragment {
    /// Creates the fragment of the spans `first..first + count` of `request`.
    #[must_use]
    pub fn new(request: Arc<Request>, first: u32, count: u32) -> Self {
        Fragment { request, first, count }
    }

    /// Notes in the journal that these spans of `trace` are kept. Returns the hold on them, or `None` without a
    /// journal.
    pub(super) fn kept(&self, trace: TraceId, keep: Keep) -> Option<Arc<KeptSpansHold>> {
        let hold = self.request.hold.as_ref()?;
        Some(KeptSpansHold::new(Arc::clone(hold), trace, keep))
    }

    /// Notes in the journal that these spans of `trace` are not needed any more: they are sampled out, or another process
    /// has them.
    pub(super) fn settled(&self, trace: TraceId) {
        if let Some(hold) = &self.request.hold {
            hold.settled(trace);
        }
    }

    /// Charges `bytes` that the trace of these spans takes to the request, in place of `before_bytes`, until the request
    /// is released.
    pub(super) fn recharge(&self, before_bytes: usize, bytes: usize) {
        if bytes != before_bytes {
            self.request.with_body(|body| body.recharge(before_bytes, bytes));
        }
    }

    /// Charges `bytes` for work on the spans, beyond the limit if need be.
    pub(super) fn share(&self, bytes: usize) -> Share {
        self.request.with_body(|body| body.reading(bytes))
    }

    /// Returns the bytes of the resources and scopes of the spans, with their schema URLs. A scope counts again when it
    /// follows another one.
    pub(super) fn shared_bytes(&self) -> u64 {
        let mut last = None;
        let scopes = self.held().iter().map(|held| held.scope()).filter(|&scope| last.replace(scope) != Some(scope));
        let scopes = scopes.filter_map(|scope| self.request.scopes.get(scope as usize));
        let parts = |scope: &Scope| [scope.resource, scope.resource_schema_url, scope.scope, scope.scope_schema_url];
        scopes.flat_map(parts).map(|part| u64::from(part.len)).sum()
    }

    /// Returns the number of spans.
    #[must_use]
    pub fn span_count(&self) -> u32 {
        self.count
    }

    /// Calls `count` with the spans of each service, as far as they are adjacent, and returns the sum.
    pub(super) fn amounts(&self, mut count: impl FnMut(ServiceNumber, SpanAmount)) -> SpanAmount {
        let (mut all, mut of_scope, mut last) = (SpanAmount::default(), SpanAmount::default(), None);
        let service = |scope: u32| self.request.services.get(scope as usize).copied().unwrap_or_default();
        for held in self.held() {
            let scope = held.scope();
            if let Some(last) = last.replace(scope).filter(|&last| last != scope) {
                count(service(last), std::mem::take(&mut of_scope));
            }
            let amount = SpanAmount { spans: 1, bytes: u64::from(held.span.len) };
            all += amount;
            of_scope += amount;
        }
        if let Some(last) = last {
            count(service(last), of_scope);
        }
        all
    }

    /// Reads the first of what [`Fragment::amounts`] reads, so that the waits for the memory of many fragments overlap. The
    /// result has no meaning.
    #[inline]
    pub(super) fn glimpse(&self) -> u32 {
        let scope = self.request.spans.get(self.first as usize).map_or(0, |held| held.scope);
        scope ^ self.request.services.first().map_or(0, |&service| service.into())
    }

    /// Returns the number of spans that the metrics of spans have counted.
    #[must_use]
    pub fn counted_spans(&self) -> u64 {
        self.held().iter().filter(|held| held.is_counted()).count() as u64
    }

    /// Returns the spans after the first `done` ones, or `None` if there are none.
    #[must_use]
    pub fn behind(self, done: u32) -> Option<Self> {
        (done < self.count).then(|| Fragment { first: self.first + done, count: self.count - done, ..self })
    }

    /// Returns the first spans, up to the end of their scope, and the rest. The spans of a fragment have the order of
    /// their request, so no scope comes twice.
    #[must_use]
    pub fn split_scope(self) -> (Self, Option<Self>) {
        let mut scopes = self.held().iter().map(|held| held.scope());
        let first = scopes.next();
        let count = 1 + scopes.take_while(|&scope| Some(scope) == first).count() as u32;
        let rest = self.clone().behind(count);
        (Fragment { count: count.min(self.count), ..self }, rest)
    }

    /// Returns the identity of the `ScopeSpans` of its first span. Requests sort in the order in which they came.
    #[must_use]
    pub fn scope_id(&self) -> ScopeId {
        let scope = self.held().first().map_or(0, |held| held.scope());
        ScopeId { request: self.request.number, scope }
    }

    /// Makes the bytes of the spans readable. A compressed body is unpacked if there is room for it, because other
    /// fragments are likely to be read next. Without room, only the first `EXCERPT_SPANS_MAX` spans are readable;
    /// [`Fragment::behind`] has the others.
    #[must_use]
    pub fn open(&self) -> OpenFragment<'_> {
        if self.request.body.lock().restore() {
            self.request.enlist();
        }
        self.open_excerpt(EXCERPT_SPANS_MAX)
    }

    /// Makes the bytes of all spans readable. The body stays in its present form.
    #[must_use]
    pub(crate) fn peek(&self) -> OpenFragment<'_> {
        self.open_excerpt(usize::MAX)
    }

    /// Makes the bytes of all spans readable if the body is not compressed, and otherwise those of the first span.
    #[must_use]
    pub(super) fn glance(&self) -> OpenFragment<'_> {
        self.open_excerpt(1)
    }

    fn open_excerpt(&self, excerpt_spans_max: usize) -> OpenFragment<'_> {
        let form = self.request.body.lock().form();
        let spans = self.held();
        let packed = match form {
            BodyForm::Plain(body) => return OpenFragment { fragment: self, body, excerpt: None, _share: None },
            BodyForm::Packed(packed) => packed,
        };
        let excerpt = Excerpt::new(&packed, &spans[..spans.len().min(excerpt_spans_max)], &self.request.scopes);
        let share = self.share(excerpt.heap_bytes());
        let body = excerpt.body.clone();
        OpenFragment { fragment: self, body, excerpt: Some(excerpt), _share: Some(share) }
    }

    fn held(&self) -> &[HeldSpan] {
        let (first, count) = (self.first as usize, self.count as usize);
        self.request.spans.get(first..first + count).unwrap_or_default()
    }
}

/// A fragment whose bytes are readable.
#[derive(Debug)]
pub struct OpenFragment<'a> {
    fragment: &'a Fragment,
    body: Bytes,
    /// The positions of the spans if `body` is an excerpt from a compressed body. `_share` then charges the excerpt.
    excerpt: Option<Excerpt>,
    _share: Option<Share>,
}

impl OpenFragment<'_> {
    /// Returns the number of bytes that were unpacked to open the fragment.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        self.excerpt.as_ref().map_or(0, |excerpt| excerpt.unpacked_bytes)
    }

    /// Returns the names of the services of the spans, each with the number of adjacent spans that share it.
    pub(super) fn spans_by_service(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let mut services = self.held().map(|(_, scope)| scope.service).peekable();
        std::iter::from_fn(move || {
            let service = services.next()?;
            let more = std::iter::from_fn(|| services.next_if_eq(&service)).count();
            Some((service.of(&self.body), 1 + more as u64))
        })
    }

    /// Returns the spans in the order of their request.
    pub fn spans(&self) -> impl Iterator<Item = SpanBytes<'_>> {
        self.held().map(|(held, scope)| {
            let body = &self.body;
            SpanBytes {
                scope_id: Some(ScopeId { request: self.fragment.request.number, scope: held.scope() }),
                resource: scope.resource.of(body),
                resource_schema_url: scope.resource_schema_url.of(body),
                scope: scope.scope.of(body),
                scope_schema_url: scope.scope_schema_url.of(body),
                span: held.span.of(body),
            }
        })
    }

    /// Returns the resource of each of the [`OpenFragment::spans`].
    pub fn resources(&self) -> impl Iterator<Item = ResourceId> {
        self.placed().map(|placed| placed.resource_id)
    }

    /// Returns the bytes that the places of the spans refer to.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the places of the spans in the order of their request.
    pub(crate) fn placed(&self) -> impl Iterator<Item = PlacedSpan> {
        let request = &self.fragment.request;
        self.held().map(|(held, scope)| {
            let received = request.scopes.get(held.scope() as usize).copied().unwrap_or_default();
            PlacedSpan {
                resource_id: ResourceId { request: request.number, offset: received.resource.offset },
                scope_id: ScopeId { request: request.number, scope: held.scope() },
                scope,
                span: held.span,
                is_counted: held.is_counted(),
            }
        })
    }

    /// Returns the `Span` messages, each with the name of its service.
    pub fn spans_with_service(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.held().map(|(held, scope)| (held.span.of(&self.body), scope.service.of(&self.body)))
    }

    /// Returns the position of each span in `body`, with the number of its scope in the request, and that scope.
    fn held(&self) -> impl Iterator<Item = (HeldSpan, Scope)> {
        let excerpt = self.excerpt.as_ref();
        let spans = excerpt.map_or_else(|| self.fragment.held(), |excerpt| &excerpt.spans);
        spans.iter().map(move |held| match excerpt {
            None => (*held, self.fragment.request.scopes.get(held.scope() as usize).copied().unwrap_or_default()),
            Some(excerpt) => {
                let (scope, found) = excerpt.scopes.get(held.scope() as usize).copied().unwrap_or_default();
                (held.at(held.span, scope), found)
            }
        })
    }
}

#[cfg(test)]
mod tests;
