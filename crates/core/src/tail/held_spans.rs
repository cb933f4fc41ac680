//! The spans of a trace in the table as an export request, for people who ask for them.

use thiserror::Error;

use super::request::{Fragment, PlacedSpan, SpanBytes};
use crate::budget::{Budget, Share};
use crate::otlp::fields::{export_trace_service_request, resource_spans, scope_spans};
use crate::otlp::write::{self, field_len};

/// The spans of a pending or rescuable trace. Their requests stay in memory as long as it lives.
#[derive(Debug)]
pub struct HeldSpans {
    fragments: Vec<Fragment>,
}

/// The most bytes that are unpacked, as a multiple of the allowed bytes of the copy.
const UNPACKED_FACTOR_MAX: u64 = 8;

/// The reason why held spans are not copied.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TooLarge {
    /// They take more bytes than the caller allows.
    #[error("the spans of the trace in memory take more than {max_bytes} bytes, or are compressed among many others")]
    Ever {
        /// The allowed bytes.
        max_bytes: usize,
    },
    /// The memory budget has no room for the copy.
    #[error("the memory budget has no room for a copy of the spans; retry later")]
    Now,
}

impl HeldSpans {
    pub(super) fn new(fragments: Vec<Fragment>) -> Self {
        HeldSpans { fragments }
    }

    /// Copies the spans to an `ExportTraceServiceRequest`, in the order in which they came. A resource or scope that
    /// spans of a request share is copied once for them. The copy is charged to `budget` as long as the share lives.
    /// Unpacks compressed requests, as far as they hold the spans.
    ///
    /// # Errors
    /// The copy has more than `max_bytes`, or no room in the budget.
    pub fn to_request(&self, max_bytes: usize, budget: &Budget) -> Result<(Vec<u8>, Share), TooLarge> {
        let groups = self.measure(max_bytes)?;
        let len = groups.iter().map(ResourceGroup::field_len).sum();
        let share = budget.reserve(len).ok_or(TooLarge::Now)?;
        let mut out = Vec::with_capacity(len);
        let mut groups = groups.into_iter();
        let mut scope_lens = Vec::new().into_iter();
        self.each(|span, new| {
            if new >= New::Resource
                && let Some(group) = groups.next()
            {
                write::header(&mut out, export_trace_service_request::RESOURCE_SPANS, group.len());
                put(&mut out, resource_spans::RESOURCE, span.resource);
                put(&mut out, resource_spans::SCHEMA_URL, span.resource_schema_url);
                scope_lens = group.scope_lens.into_iter();
            }
            if new >= New::Scope
                && let Some(scope_len) = scope_lens.next()
            {
                write::header(&mut out, resource_spans::SCOPE_SPANS, scope_len);
                put(&mut out, scope_spans::SCOPE, span.scope);
                put(&mut out, scope_spans::SCHEMA_URL, span.scope_schema_url);
            }
            write::bytes(&mut out, scope_spans::SPANS, span.span);
            Ok(())
        })?;
        debug_assert_eq!(out.len(), len);
        Ok((out, share))
    }

    /// Returns the lengths of all groups of spans with one resource.
    fn measure(&self, max_bytes: usize) -> Result<Vec<ResourceGroup>, TooLarge> {
        let mut groups: Vec<ResourceGroup> = Vec::new();
        let mut least_len = 0;
        self.check_unpacked(max_bytes)?;
        self.each(|span, new| {
            if new >= New::Resource {
                let own_len = optional_len(resource_spans::RESOURCE, span.resource)
                    + optional_len(resource_spans::SCHEMA_URL, span.resource_schema_url);
                groups.push(ResourceGroup { own_len, scope_lens: Vec::new() });
                least_len += own_len;
            }
            let Some(group) = groups.last_mut() else { return Ok(()) };
            if new >= New::Scope {
                let own_len = optional_len(scope_spans::SCOPE, span.scope)
                    + optional_len(scope_spans::SCHEMA_URL, span.scope_schema_url);
                group.scope_lens.push(own_len);
                least_len += own_len;
            }
            let span_len = field_len(scope_spans::SPANS, span.span.len());
            group.scope_lens.iter_mut().last().into_iter().for_each(|len| *len += span_len);
            least_len += span_len;
            if least_len > max_bytes { Err(TooLarge::Ever { max_bytes }) } else { Ok(()) }
        })?;
        let len: usize = groups.iter().map(ResourceGroup::field_len).sum();
        if len > max_bytes { Err(TooLarge::Ever { max_bytes }) } else { Ok(groups) }
    }

    /// Refuses spans for which more than [`UNPACKED_FACTOR_MAX`] times `max_bytes` would have to be unpacked.
    fn check_unpacked(&self, max_bytes: usize) -> Result<(), TooLarge> {
        let unpacked_bytes_max = UNPACKED_FACTOR_MAX * max_bytes as u64;
        let mut unpacked_bytes = 0;
        for fragment in &self.fragments {
            unpacked_bytes += fragment.peek().unpacked_bytes();
            if unpacked_bytes > unpacked_bytes_max {
                return Err(TooLarge::Ever { max_bytes });
            }
        }
        Ok(())
    }

    /// Calls `work` for each span, with what it does not share with the span before it. That does not depend on the form
    /// in which the body is held, which can change between two calls.
    fn each(&self, mut work: impl FnMut(&SpanBytes<'_>, New) -> Result<(), TooLarge>) -> Result<(), TooLarge> {
        for fragment in &self.fragments {
            let open = fragment.peek();
            let mut last: Option<(PlacedSpan, &[u8])> = None;
            for (span, placed) in open.spans().zip(open.placed()) {
                let new = match last {
                    Some((last, _)) if last.scope_id == placed.scope_id => New::Span,
                    Some((last, schema_url))
                        if last.resource_id == placed.resource_id && schema_url == span.resource_schema_url =>
                    {
                        New::Scope
                    }
                    _ => New::Resource,
                };
                work(&span, new)?;
                last = Some((placed, span.resource_schema_url));
            }
        }
        Ok(())
    }
}

/// The parts of a span that the span before it does not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum New {
    /// Its own bytes only.
    Span,
    /// Its scope, too.
    Scope,
    /// Its scope and its resource, too.
    Resource,
}

/// The lengths of the parts of a `ResourceSpans`.
#[derive(Debug)]
struct ResourceGroup {
    /// The bytes beside the `ScopeSpans`.
    own_len: usize,
    /// The bytes of each `ScopeSpans`.
    scope_lens: Vec<usize>,
}

impl ResourceGroup {
    fn len(&self) -> usize {
        let scopes = self.scope_lens.iter().map(|len| field_len(resource_spans::SCOPE_SPANS, *len));
        self.own_len + scopes.sum::<usize>()
    }

    fn field_len(&self) -> usize {
        field_len(export_trace_service_request::RESOURCE_SPANS, self.len())
    }
}

/// Returns the bytes of a field that is left out if it is empty.
fn optional_len(number: u32, content: &[u8]) -> usize {
    if content.is_empty() { 0 } else { field_len(number, content.len()) }
}

/// Appends a field that is left out if it is empty.
fn put(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    if !content.is_empty() {
        write::bytes(out, number, content);
    }
}

#[cfg(test)]
mod tests;
