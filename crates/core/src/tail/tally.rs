//! Counts of the work that one round did on the trace table. The caller adds them to the metrics.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;

use super::missing_parents::MissingParent;
use super::request::Fragment;
use super::table::Millis;
use super::trace_sample::SampledArrival;
use crate::sampling::{Keep, Parent, ShadowEffect};

labels! {
    /// The reason why a trace was decided when it was.
    #[repr(u8)]
    pub enum Trigger {
        /// `decision_wait` has passed since the first span of the trace.
        DecisionWait = "decision_wait",
        /// `decision_wait_after_root_received` has passed since the root span came.
        RootReceived = "root_received",
        /// A span is evidence for a policy that keeps the trace.
        Evidence = "evidence",
        /// The trace has grown to `spans_max` or `bytes_max`.
        TraceSize = "trace_size",
        /// Memory or the journal's disk runs short, so the oldest traces are decided early.
        Pressure = "pressure",
        /// The process is shutting down.
        Shutdown = "shutdown",
        /// A late span is evidence for a trace that was dropped.
        Rescue = "rescue",
        /// The trace waited for the verdict of its owner in the fleet, and none came. Or the fleet could not be reached.
        Alone = "alone",
    }
}

/// New spans of followed traces that came after the same delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Milliseconds since the first spans of their traces came.
    pub delay_ms: Millis,
    /// Number of spans in the sample.
    pub seen: u64,
    /// Number of spans that the sampled ones stand for.
    pub spans: u64,
}

/// Counts of one service, estimated from the followed traces: each span or trace counts as many as it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounts {
    /// All spans of the service.
    pub spans: u64,
    /// Spans that came more than `decision_wait` after the first span of their trace.
    pub late_spans: u64,
    /// Traces in which the parent of a span of this service has not come, by [`Parent`].
    pub incomplete_traces: [u64; Parent::ALL.len()],
}

/// A number of spans, and their bytes as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanAmount {
    /// Spans.
    pub spans: u64,
    /// Bytes of these spans.
    pub bytes: u64,
}

impl std::ops::AddAssign for SpanAmount {
    fn add_assign(&mut self, other: SpanAmount) {
        self.spans += other.spans;
        self.bytes += other.bytes;
    }
}

/// Spans whose traces a policy kept or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedSpans {
    /// The policy; `None` if no policy kept the traces.
    pub policy: Option<u16>,
    /// True if the traces are kept.
    pub is_kept: bool,
    /// The spans.
    pub amount: SpanAmount,
}

/// Traces to which a shadow policy would have given another verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The number of the policy.
    pub policy: u16,
    /// The change.
    pub effect: ShadowEffect,
    /// The number of traces.
    pub traces: u64,
    /// The number of their spans that had come.
    pub spans: u64,
}

/// The most services that one round counts separately, in about 300 KiB. Spans of further services are not counted by
/// service. The metrics name a tenth as many.
const SERVICES_MAX: usize = 1_024;

/// Counts of one round. Clear the tally after reading it: it keeps its capacity for the next round.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Kept traces by policy and trigger.
    pub kept: Vec<(u16, Trigger, u64)>,
    /// Traces dropped by policies of type `drop`, by policy and trigger.
    pub dropped_by_policy: Vec<(u16, Trigger, u64)>,
    /// Decided traces to which shadow policies would have given another verdict, by policy and change.
    pub shadowed: Vec<Shadowed>,
    /// Dropped traces that no policy kept, by trigger.
    pub dropped: [u64; Trigger::ALL.len()],
    /// Spans of decided traces that went to the exporter or were let go of, by policy. Each span is counted once.
    pub decided_spans: Vec<DecidedSpans>,
    /// Sampled-out spans.
    pub sampled_out_spans: u64,
    /// Late spans of kept traces.
    pub late_kept_spans: u64,
    /// Late spans of dropped traces.
    pub late_dropped_spans: u64,
    /// Late spans that rescued their trace.
    pub late_rescued_spans: u64,
    /// Ids of kept traces that a full cache forgot to make room for others.
    pub forgotten_kept_ids: u64,
    /// Ids of dropped traces that a full cache forgot to make room for others.
    pub forgotten_dropped_ids: u64,
    /// Traces that began again with a late span because their verdict was forgotten; an estimate from the followed
    /// traces.
    pub restarted_traces: u64,
    /// Traces that were decided here and elsewhere in the fleet, with different verdicts.
    pub split_traces: u64,
    /// Delays after which spans of followed traces came.
    pub delays: Vec<Delay>,
    /// Estimates from the followed traces by service. The key is the name of the service, possibly cut.
    pub services: HashMap<Vec<u8>, ServiceCounts, RandomState>,
    /// Spans whose id another span of their trace has, too; an estimate from the followed traces.
    pub duplicate_spans: u64,
    /// New spans of followed traces, each with the number of traces that its trace stands for; empty without the metrics
    /// of spans.
    pub followed: Vec<(Fragment, u64)>,
    /// Counted spans of dropped traces that no policy could have kept; 0 without the metrics of spans.
    pub unrepresented_calls: u64,
    /// Pairs of the milliseconds between due time and decision, and the number of traces.
    pub lag_ms: Vec<(u64, usize)>,
}

impl Tally {
    /// Sets all counts to 0 and keeps the capacity of the buffers.
    pub fn clear(&mut self) {
        let Tally {
            mut kept,
            mut dropped_by_policy,
            mut shadowed,
            mut lag_ms,
            mut delays,
            mut services,
            mut followed,
            mut decided_spans,
            ..
        } = std::mem::take(self);
        followed.clear();
        decided_spans.clear();
        kept.clear();
        shadowed.clear();
        dropped_by_policy.clear();
        lag_ms.clear();
        delays.clear();
        services.clear();
        *self = Tally {
            kept,
            dropped_by_policy,
            shadowed,
            lag_ms,
            delays,
            services,
            followed,
            decided_spans,
            ..Tally::default()
        };
    }

    /// Adds the counts of decisions of `other`, for tests that collect several rounds.
    #[cfg(any(test, feature = "testing"))]
    pub fn add(&mut self, other: &Tally) {
        self.kept.extend_from_slice(&other.kept);
        self.dropped_by_policy.extend_from_slice(&other.dropped_by_policy);
        self.dropped.iter_mut().zip(other.dropped).for_each(|(sum, traces)| *sum += traces);
        self.sampled_out_spans += other.sampled_out_spans;
    }

    /// Returns the bytes of memory that the buffers take.
    pub(super) fn heap_bytes(&self) -> usize {
        let counts = (self.kept.capacity() + self.dropped_by_policy.capacity()) * size_of::<(u16, Trigger, u64)>();
        let names: usize = self.services.keys().map(Vec::len).sum();
        counts
            + names
            + self.services.allocation_size()
            + self.shadowed.capacity() * size_of::<Shadowed>()
            + self.delays.capacity() * size_of::<Delay>()
            + self.decided_spans.capacity() * size_of::<DecidedSpans>()
            + self.followed.capacity() * size_of::<(Fragment, u64)>()
            + self.lag_ms.capacity() * size_of::<(u64, usize)>()
    }

    pub(super) fn kept(&mut self, keep: Keep, trigger: Trigger) {
        count(&mut self.kept, keep.policy, trigger);
    }

    /// Counts spans that are kept or dropped for good. There are only a handful of policies.
    pub(super) fn decided(&mut self, policy: Option<u16>, is_kept: bool, amount: SpanAmount) {
        let same = |known: &&mut DecidedSpans| (known.policy, known.is_kept) == (policy, is_kept);
        match self.decided_spans.iter_mut().find(same) {
            Some(known) => known.amount += amount,
            None => self.decided_spans.push(DecidedSpans { policy, is_kept, amount }),
        }
    }

    /// Counts a trace that a policy of type `drop` dropped.
    pub(super) fn count_dropped_by_policy(&mut self, policy: u16, trigger: Trigger) {
        count(&mut self.dropped_by_policy, policy, trigger);
    }

    /// Counts a trace of `spans` spans whose verdict the shadow policy `policy` would change.
    pub(super) fn count_shadowed(&mut self, policy: u16, effect: ShadowEffect, spans: u32) {
        let same = |known: &&mut Shadowed| (known.policy, known.effect) == (policy, effect);
        match self.shadowed.iter_mut().find(same) {
            Some(known) => {
                known.traces += 1;
                known.spans += u64::from(spans);
            }
            None => self.shadowed.push(Shadowed { policy, effect, traces: 1, spans: u64::from(spans) }),
        }
    }

    pub(super) fn dropped(&mut self, trigger: Trigger) {
        self.dropped[trigger as usize] += 1;
    }

    /// Counts late spans of a dropped trace. `rescued` is true if they rescued it.
    pub(super) fn late_of_dropped(&mut self, rescued: bool, span_count: u32) {
        let spans = if rescued { &mut self.late_rescued_spans } else { &mut self.late_dropped_spans };
        *spans += u64::from(span_count);
    }

    /// Counts new spans of a followed trace.
    pub(super) fn follow(&mut self, sampled: SampledArrival, fragment: &Fragment, decision_wait_ms: Millis) {
        let delay_ms = sampled.delay_ms.unwrap_or(0);
        let seen = u64::from(fragment.span_count());
        let spans = seen * sampled.weight;
        match self.delays.last_mut() {
            Some(last) if last.delay_ms == delay_ms => {
                last.seen += seen;
                last.spans += spans;
            }
            _ => self.delays.push(Delay { delay_ms, seen, spans }),
        }
        for (service, span_count) in fragment.peek().spans_by_service() {
            let spans = span_count * sampled.weight;
            if let Some(counts) = self.service(service) {
                counts.spans += spans;
                counts.late_spans += if delay_ms > decision_wait_ms { spans } else { 0 };
            }
        }
    }

    /// Notes new spans of a followed trace for the graph of services.
    pub(super) fn follow_calls(&mut self, sampled: SampledArrival, fragment: &Fragment) {
        self.followed.push((fragment.clone(), sampled.weight));
    }

    /// Returns the counts of the service of this name, or `None` if the round has too many services.
    fn service(&mut self, name: &[u8]) -> Option<&mut ServiceCounts> {
        let has_room = self.services.len() < SERVICES_MAX;
        match self.services.entry_ref(name) {
            EntryRef::Occupied(counts) => Some(counts.into_mut()),
            EntryRef::Vacant(vacant) => has_room.then(|| vacant.insert(ServiceCounts::default())),
        }
    }

    /// Counts a trace that begins although no verdict on it is known. If the sample has seen it before, it is not new
    /// but begins again.
    pub(super) fn begun(&mut self, sampled: Option<SampledArrival>) {
        if let Some(SampledArrival { weight, delay_ms: Some(_) }) = sampled {
            self.restarted_traces += weight;
        }
    }

    /// Counts `missing_parents` of a trace that stands for `weight` traces.
    pub(super) fn incomplete(&mut self, missing_parents: &[MissingParent<'_>], weight: u64) {
        for (at, missing_parent) in missing_parents.iter().enumerate() {
            if !missing_parents[..at].contains(missing_parent)
                && let Some(counts) = self.service(missing_parent.service)
            {
                counts.incomplete_traces[missing_parent.parent as usize] += weight;
            }
        }
    }

    pub(super) fn lag(&mut self, lag_ms: u64) {
        match self.lag_ms.last_mut() {
            Some((last_ms, traces)) if *last_ms == lag_ms => *traces += 1,
            _ => self.lag_ms.push((lag_ms, 1)),
        }
    }
}

/// Adds one trace. There are only a handful of policies and triggers, so a linear search is faster than a map.
fn count(traces: &mut Vec<(u16, Trigger, u64)>, policy: u16, trigger: Trigger) {
    match traces.iter_mut().find(|(p, t, _)| *p == policy && *t == trigger) {
        Some((_, _, traces)) => *traces += 1,
        None => traces.push((policy, trigger, 1)),
    }
}
