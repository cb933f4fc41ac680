//! The interface between the scan of a request and the policies.

use crate::otlp::view::{AnyValue, StatusCode};

/// One bit for each condition on a span that the policies ask for.
pub type Bits = u128;

/// What the policies ask of the bytes while they are scanned. Implemented by `sampling`. Its answers must depend on its
/// arguments alone: a body that has to be rewritten is shown to it twice.
pub trait Probe {
    /// What is noted while attributes stream by. A span's notes begin with those of its scope, a scope's with those of
    /// its resource.
    type Notes: Clone;

    /// The notes that a resource begins with.
    fn notes(&self) -> Self::Notes;
    /// Notes an attribute of a resource: once for a `ResourceSpans`, not for each span.
    fn resource_attribute(&self, notes: &mut Self::Notes, key: &[u8], value: AnyValue<'_>);
    /// Notes a whole `Resource` (empty if there is none) after its attributes: once for a `ResourceSpans`.
    fn resource(&self, _notes: &mut Self::Notes, _resource: &[u8]) {}
    /// How many attributes of a resource [`Probe::key_attribute`] tells apart.
    fn key_attributes(&self) -> usize {
        0
    }
    /// Notes an attribute of a resource that keys of traces are made of: once for a `ResourceSpans`. `keys` has a number for
    /// each of them, 0 until it is noted.
    fn key_attribute(&self, _keys: &mut [u64], _key: &[u8], _value: AnyValue<'_>) {}
    /// Whether [`Probe::scope`] has anything to note.
    fn asks_of_scopes(&self) -> bool;
    /// Notes an `InstrumentationScope` (empty if there is none): once for a `ScopeSpans`.
    fn scope(&self, notes: &mut Self::Notes, scope: &[u8]);
    /// Notes an attribute of a span.
    fn span_attribute(&self, notes: &mut Self::Notes, key: &[u8], value: AnyValue<'_>);
    /// The conditions that hold for a span whose attributes have been noted.
    fn span(&self, notes: &mut Self::Notes, span: &SpanFields<'_>) -> Bits;
}

/// The fields of a span that the scan has read when it comes to the span's end. Strings are raw bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanFields<'a> {
    /// The whole `Span` message, for [`crate::otlp::view`].
    pub message: &'a [u8],
    /// 16 bytes.
    pub trace_id: &'a [u8],
    /// 8 bytes.
    pub span_id: &'a [u8],
    /// 8 bytes; empty or all zero for a root.
    pub parent_span_id: &'a [u8],
    /// The W3C tracestate.
    pub trace_state: &'a [u8],
    /// The name.
    pub name: &'a [u8],
    /// The kind, a number of `SpanKind` or any other.
    pub kind: i32,
    /// Start, nanoseconds since 1970; 0 if not set.
    pub start_unix_nano: u64,
    /// End, nanoseconds since 1970; 0 if not set.
    pub end_unix_nano: u64,
    /// The status code.
    pub status_code: StatusCode,
    /// The status message.
    pub status_message: &'a [u8],
    /// The W3C trace flags and the bits that OTLP adds; 0 if not set.
    pub flags: u32,
}

/// A probe that notes nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoProbe;

impl Probe for NoProbe {
    type Notes = ();

    fn notes(&self) {}

    fn resource_attribute(&self, (): &mut (), _: &[u8], _: AnyValue<'_>) {}

    fn asks_of_scopes(&self) -> bool {
        false
    }

    fn scope(&self, (): &mut (), _: &[u8]) {}

    fn span_attribute(&self, (): &mut (), _: &[u8], _: AnyValue<'_>) {}

    fn span(&self, (): &mut (), _: &SpanFields<'_>) -> Bits {
        0
    }
}
