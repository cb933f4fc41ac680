//! The facts about a trace that a decision needs. A verdict depends on nothing else of the trace.

pub(crate) mod wire;

use smallvec::SmallVec;

use crate::otlp::TraceId;
use crate::otlp::scan::{Bits, SpanFact};

use super::threshold;

/// A policy's key of a trace, and the duration of the span that it is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFact {
    /// The hash of the key's fields. It is the same on every instance.
    pub hash: u64,
    /// The duration of that span, in whole milliseconds; 0 if its start or end is not set.
    pub duration_ms: u64,
}

/// A span that a key may be read from. The smallest candidate of a trace counts, so that the order of arrival has no
/// effect. The comparison uses all fields, in their order here, so two different candidates are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// True if root spans have precedence over this one: the key is read from the entry span, and this is not a root
    /// span.
    pub(super) second: bool,
    /// Start, nanoseconds since 1970; `u64::MAX` if not set.
    pub(super) start_unix_nano: u64,
    pub(super) hash: u64,
    pub(super) duration_ms: u64,
}

/// The candidate of each key. Two of them need no heap of their own, because few policies have different keys.
type Candidates = SmallVec<[Option<Candidate>; 2]>;

/// Returns the bytes that a summary with this number of keys takes on the heap.
pub(super) const fn heap_bytes(keys: usize) -> usize {
    match keys {
        0 => 0,
        1..=2 => size_of::<Candidates>(),
        _ => size_of::<Candidates>() + keys.next_power_of_two() * size_of::<Option<Candidate>>(),
    }
}

/// The merged facts about some spans of one trace. Merging is associative and commutative, and [`Summary::default`] is
/// the neutral element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The conditions that hold for at least one span.
    pub bits: Bits,
    /// Earliest start, in nanoseconds since 1970; `u64::MAX` if no span has one.
    pub start_unix_nano: u64,
    /// Latest end, in nanoseconds since 1970; 0 if no span has one.
    pub end_unix_nano: u64,
    /// Explicit randomness; `u64::MAX` if no span carries one. If spans disagree, the smallest counts, so that the
    /// order of arrival has no effect.
    randomness: u64,
    /// Size of the encoded spans, in bytes.
    pub span_bytes: u64,
    /// Number of spans. It saturates.
    pub span_count: u32,
    /// The set of policies that found `bits` and the candidates; see [`Policies::generation`](super::Policies::generation).
    pub generation: u16,
    /// True if one of the spans is a root span.
    pub has_root: bool,
    /// The candidates for the keys of the policies, by slot. `None` if there are none.
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
            generation: 0,
            has_root: false,
            keys: None,
        }
    }
}

impl Summary {
    /// Returns the summary of no span, for the policies of this generation.
    #[must_use]
    pub fn of_generation(generation: u16) -> Self {
        Summary { generation, ..Summary::default() }
    }

    /// Adds one span. A time that is not set (0) does not count: a span without a start must not make the trace 50
    /// years long. If the end of a span is before its start, the end does not become the start of the trace.
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

    /// Takes `after` in place of `before`, the earlier summary of a part of the spans, which is merged into this one.
    pub fn grow(&mut self, before: &Summary, after: &Summary) {
        self.span_bytes = self.span_bytes.saturating_sub(before.span_bytes);
        self.span_count = self.span_count.saturating_sub(before.span_count);
        self.merge(after);
    }

    /// Returns the bytes that the summary takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| heap_bytes(keys.len()))
    }

    /// Takes the bits and the keys of `again`, the summary of the same spans for other policies.
    pub fn take_found(&mut self, again: Summary) {
        let Summary { bits, keys, generation, .. } = again;
        (self.bits, self.keys, self.generation) = (bits, keys, generation);
    }

    /// Proposes a span that the key in `slot` may be read from. The smallest candidate stays.
    pub(super) fn propose(&mut self, slot: usize, candidate: Candidate) {
        let keys = self.keys.get_or_insert_default();
        if keys.len() <= slot {
            keys.resize(slot + 1, None);
        }
        let best = keys[slot].map_or(candidate, |best| best.min(candidate));
        keys[slot] = Some(best);
    }

    /// Returns the trace's key in `slot`; `None` if no span of the trace has that key.
    #[must_use]
    pub fn key(&self, slot: usize) -> Option<KeyFact> {
        let Candidate { hash, duration_ms, .. } = (*self.keys.as_ref()?.get(slot)?)?;
        Some(KeyFact { hash, duration_ms })
    }

    /// Returns the time from the earliest start to the latest end, in whole milliseconds, like the Collector's
    /// `latency` policy.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano) / 1_000_000
    }

    /// Returns the trace's randomness: the explicit one if there is one, else from the trace id.
    #[must_use]
    pub fn randomness(&self, trace_id: TraceId) -> u64 {
        if self.randomness == u64::MAX { threshold::randomness(trace_id) } else { self.randomness }
    }
}
