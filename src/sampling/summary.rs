//! What is known of a trace: the only thing that a verdict looks at.

use smallvec::SmallVec;

use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, SpanFact};

use super::threshold;

/// What one key of a policy says of a trace: that of the one span which the key is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFact {
    /// The hash of the key's fields: the same on every instance.
    pub hash: u64,
    /// From the start to the end of that span, in whole milliseconds; 0 if either is not set.
    pub duration_ms: u64,
}

/// A span that a key may be read from. The least of them counts, so that the order of arrival does not: the order of
/// the fields is that of the comparison, and decides for every two that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// Another one goes before it: it is no root, and roots do.
    pub(super) second: bool,
    /// Start, nanoseconds since 1970; `u64::MAX` if not set.
    pub(super) start_unix_nano: u64,
    pub(super) hash: u64,
    pub(super) duration_ms: u64,
}

/// The candidate of each key; few policies have one of their own.
type Candidates = SmallVec<[Option<Candidate>; 2]>;

/// The memory that a summary takes beside itself if it holds so many keys.
pub(super) const fn heap_bytes(keys: usize) -> usize {
    match keys {
        0 => 0,
        1..=2 => size_of::<Candidates>(),
        _ => size_of::<Candidates>() + keys.next_power_of_two() * size_of::<Option<Candidate>>(),
    }
}

/// The merged facts of some spans of one trace. Merging is associative and commutative, and [`Summary::default`] is
/// its neutral element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Predicates that hold for any span.
    pub bits: Bits,
    /// Earliest start, nanoseconds since 1970; `u64::MAX` if no span has one.
    pub start_unix_nano: u64,
    /// Latest end, nanoseconds since 1970; 0 if no span has one.
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
    /// `None` unless policies have keys.
    keys: Option<Box<Candidates>>,
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
            keys: None,
        }
    }
}

impl Summary {
    /// Adds one span. A time that is not set (0) does not count: a span without an end must not look instant in
    /// 1970, nor one without a start 50 years long. An end before its start is not a start of the trace.
    #[inline]
    pub fn add(&mut self, fact: &SpanFact) {
        if fact.start_unix_nano != 0 {
            self.start_unix_nano = self.start_unix_nano.min(fact.start_unix_nano);
        }
        self.end_unix_nano = self.end_unix_nano.max(fact.end_unix_nano);
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
        let candidates = other.keys.iter().flat_map(|keys| keys.iter().enumerate());
        for (slot, candidate) in candidates {
            candidate.iter().for_each(|candidate| self.propose(slot, *candidate));
        }
    }

    /// Offers a span that the key of `slot` may be read from.
    pub(super) fn propose(&mut self, slot: usize, candidate: Candidate) {
        let keys = self.keys.get_or_insert_default();
        if keys.len() <= slot {
            keys.resize(slot + 1, None);
        }
        let best = keys[slot].map_or(candidate, |best| best.min(candidate));
        keys[slot] = Some(best);
    }

    /// What the key of `slot` says of the trace; `None` if no span of it has that key.
    #[must_use]
    pub fn key(&self, slot: usize) -> Option<KeyFact> {
        let Candidate { hash, duration_ms, .. } = (*self.keys.as_ref()?.get(slot)?)?;
        Some(KeyFact { hash, duration_ms })
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
