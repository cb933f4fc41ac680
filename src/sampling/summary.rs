//! What is known of a trace: the only thing that a verdict looks at.

use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, SpanFact};

use super::threshold;

/// The merged facts of some spans of one trace. Merging is associative and commutative, and [`Summary::default`] is
/// its neutral element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Predicates that hold for any span.
    pub bits: Bits,
    /// Earliest start, nanoseconds since 1970; `u64::MAX` if no span has a time.
    pub start_unix_nano: u64,
    /// Latest end, nanoseconds since 1970; 0 if no span has a time.
    pub end_unix_nano: u64,
    /// Explicit randomness; `u64::MAX` if no span carries one. Should spans disagree, the smallest counts, so that
    /// the order of arrival does not.
    randomness: u64,
    /// Wire bytes of the spans.
    pub span_bytes: u64,
    /// Spans.
    pub span_count: u32,
    /// A root span is among them.
    pub has_root: bool,
}

impl Default for Summary {
    fn default() -> Self {
        Summary {
            bits: 0,
            start_unix_nano: u64::MAX,
            end_unix_nano: 0,
            randomness: u64::MAX,
            span_bytes: 0,
            span_count: 0,
            has_root: false,
        }
    }
}

impl Summary {
    /// Adds one span. A time that is not set (0) does not count: a span without an end must not look instant in
    /// 1970, nor one without a start 50 years long.
    #[inline]
    pub fn add(&mut self, fact: &SpanFact) {
        for time in [fact.start_unix_nano, fact.end_unix_nano] {
            if time != 0 {
                self.start_unix_nano = self.start_unix_nano.min(time);
                self.end_unix_nano = self.end_unix_nano.max(time);
            }
        }
        self.bits |= fact.bits;
        self.randomness = self.randomness.min(fact.randomness.unwrap_or(u64::MAX));
        self.span_bytes += u64::from(fact.span.len);
        self.span_count = self.span_count.saturating_add(1);
        self.has_root |= fact.root;
    }

    /// Adds the spans of another summary of the same trace.
    #[inline]
    pub fn merge(&mut self, other: &Summary) {
        self.bits |= other.bits;
        self.start_unix_nano = self.start_unix_nano.min(other.start_unix_nano);
        self.end_unix_nano = self.end_unix_nano.max(other.end_unix_nano);
        self.randomness = self.randomness.min(other.randomness);
        self.span_bytes += other.span_bytes;
        self.span_count = self.span_count.saturating_add(other.span_count);
        self.has_root |= other.has_root;
    }

    /// From the earliest start to the latest end, in whole milliseconds, as the Collector's `latency` policy counts.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano) / 1_000_000
    }

    /// The trace's randomness: explicit, or from its id.
    #[must_use]
    pub fn randomness(&self, trace_id: TraceId) -> u64 {
        if self.randomness == u64::MAX { threshold::randomness(trace_id) } else { self.randomness }
    }
}
