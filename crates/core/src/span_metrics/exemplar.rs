//! The exemplar of a series: one span of a kept trace.

use super::read::SpanPart;
use super::span_nanos;

/// Seconds after which a newer exemplar takes the place of one of a slower span. A scrape comes in between.
const STAY_S: u32 = 60;

/// A span of a kept trace. It is small, because every series has room for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exemplar {
    /// The duration in nanoseconds. Bytes need no alignment, which saves a tenth of the memory of a series.
    nanos: [u8; 8],
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    /// The time at which the trace was decided, in seconds since 1970; 0 if there is no exemplar.
    pub(super) unix_s: u32,
}

impl Exemplar {
    /// Returns the exemplar of a span of a trace that was decided at `unix_s`.
    pub(super) fn of(span: &SpanPart<'_>, unix_s: u32) -> Option<Self> {
        let (trace_id, span_id) = (span.trace_id.try_into().ok()?, span.span_id.try_into().ok()?);
        Some(Exemplar { nanos: span_nanos(span).to_ne_bytes(), trace_id, span_id, unix_s: unix_s.max(1) })
    }

    /// Returns the duration of the span in nanoseconds.
    pub(super) fn nanos(&self) -> u64 {
        u64::from_ne_bytes(self.nanos)
    }

    pub(super) fn is_set(&self) -> bool {
        self.unix_s != 0
    }

    /// Puts `other` in the place of this exemplar, unless this one is of a slower span and not old.
    pub(super) fn replace(&mut self, other: Exemplar) {
        let is_old = other.unix_s.saturating_sub(self.unix_s) >= STAY_S;
        if !self.is_set() || is_old || other.nanos() >= self.nanos() {
            *self = other;
        }
    }
}
