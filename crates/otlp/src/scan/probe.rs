//! The interface through which the scan of a request evaluates the conditions of the policies.

use crate::view::{AnyValue, StatusCode};

/// A set of bits, one for each condition on a span that the policies use.
pub type Bits = u128;

/// The evaluator of the policies' conditions, which the scan calls while it reads the bytes. `sampling` implements it.
/// The results must depend on the arguments alone, because the scan reads a body twice if it has to be rewritten.
pub trait Probe {
    /// The notes that a probe takes while it is shown attributes. The notes of a span begin as a copy of the notes of
    /// its scope, and those of a scope as a copy of the notes of its resource.
    type Notes: Clone;

    /// Returns the number of the set of policies that the probe belongs to. The scan passes it on.
    fn generation(&self) -> u16 {
        0
    }
    /// Returns the notes that a resource begins with.
    fn notes(&self) -> Self::Notes;
    /// Notes an attribute of a resource. The scan calls it once for a `ResourceSpans`, not for each span.
    fn resource_attribute(&self, notes: &mut Self::Notes, key: &[u8], value: AnyValue<'_>);
    /// Notes a whole `Resource` (empty if there is none) after its attributes. The scan calls it once for a
    /// `ResourceSpans`.
    fn resource(&self, _notes: &mut Self::Notes, _resource: &[u8]) {}
    /// Returns the number of resource attributes that [`Probe::key_attribute`] notes.
    fn key_attributes(&self) -> usize {
        0
    }
    /// Notes an attribute of a resource if the keys of traces use it. The scan calls it for each attribute, once for a
    /// `ResourceSpans`. `keys` has one number for each attribute that the keys use. The number is 0 until it is noted.
    fn key_attribute(&self, _keys: &mut [u64], _key: &[u8], _value: AnyValue<'_>) {}
    /// Returns true if [`Probe::scope`] has anything to note.
    fn asks_of_scopes(&self) -> bool;
    /// Notes an `InstrumentationScope` (empty if there is none). The scan calls it once for a `ScopeSpans`.
    fn scope(&self, notes: &mut Self::Notes, scope: &[u8]);
    /// Notes an attribute of a span.
    fn span_attribute(&self, notes: &mut Self::Notes, key: &[u8], value: AnyValue<'_>);
    /// Returns the conditions that hold for a span whose attributes have been noted.
    fn span(&self, notes: &mut Self::Notes, span: &SpanFields<'_>) -> Bits;
}

/// The fields of a span that the scan has read once it reaches the end of the span. Strings are raw bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanFields<'a> {
    /// The whole `Span` message, for [`crate::view`].
    pub message: &'a [u8],
    /// The trace id as sent; 16 bytes if valid.
    pub trace_id: &'a [u8],
    /// The span id as sent; 8 bytes if valid.
    pub span_id: &'a [u8],
    /// The parent span id as sent: 8 bytes if valid, empty or all zero for a root.
    pub parent_span_id: &'a [u8],
    /// The W3C tracestate; empty if not set.
    pub trace_state: &'a [u8],
    /// The name of the span; empty if not set.
    pub name: &'a [u8],
    /// The kind: a number of `SpanKind`, or any other number that the sender wrote.
    pub kind: i32,
    /// The start time in nanoseconds since 1970; 0 if not set.
    pub start_unix_nano: u64,
    /// The end time in nanoseconds since 1970; 0 if not set.
    pub end_unix_nano: u64,
    /// The status code; unset if there is no status.
    pub status_code: StatusCode,
    /// The status message; empty if not set.
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
