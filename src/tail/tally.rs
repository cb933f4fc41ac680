//! What a round of work on the trace table did, for whoever keeps the metrics.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;

use super::census::Sighting;
use super::gaps::Gap;
use super::request::Fragment;
use super::table::Millis;
use crate::sampling::{Keep, Parent};

/// What made a trace due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Trigger {
    /// `decision_wait` after its first span.
    DecisionWait,
    /// `decision_wait_after_root_received` after its root span.
    RootReceived,
    /// A span proved a keep rule.
    Evidence,
    /// It has grown to `spans_max` or `bytes_max`.
    TraceSize,
    /// Memory ran short: the oldest traces are decided early.
    Pressure,
    /// The process stops.
    Shutdown,
    /// A late span proved the drop wrong.
    Rescue,
}

impl Trigger {
    /// Every trigger in the order of their numbers.
    pub const ALL: [Trigger; 7] = [
        Trigger::DecisionWait,
        Trigger::RootReceived,
        Trigger::Evidence,
        Trigger::TraceSize,
        Trigger::Pressure,
        Trigger::Shutdown,
        Trigger::Rescue,
    ];

    /// The trigger as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Trigger::DecisionWait => "decision_wait",
            Trigger::RootReceived => "root_received",
            Trigger::Evidence => "evidence",
            Trigger::TraceSize => "trace_size",
            Trigger::Pressure => "pressure",
            Trigger::Shutdown => "shutdown",
            Trigger::Rescue => "rescue",
        }
    }
}

/// New spans of followed traces that came together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The time since the first spans of their traces.
    pub delay_ms: Millis,
    /// The spans.
    pub seen: u64,
    /// How many spans they stand for.
    pub spans: u64,
}

/// What followed traces tell of a service, in numbers of what they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounts {
    /// Spans that came.
    pub spans: u64,
    /// Those among them that came later than `decision_wait` after the first of their trace.
    pub late_spans: u64,
    /// Traces in which a span of the service has a parent that has not come, by [`Parent`].
    pub incomplete_traces: [u64; Parent::ALL.len()],
}

/// Services that are told apart in one round; what comes of more is not counted by service. Ten times as many as metrics
/// name, in some 300 KiB.
const SERVICES_MAX: usize = 1_024;

/// Counts of one round. Empty it after reading; it keeps its capacity.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Kept traces by policy and trigger.
    pub kept: Vec<(u16, Trigger, u64)>,
    /// Traces dropped by policies of type `drop`, by policy and trigger.
    pub vetoed: Vec<(u16, Trigger, u64)>,
    /// Other dropped traces by trigger.
    pub dropped: [u64; Trigger::ALL.len()],
    /// Spans let go for good.
    pub sampled_out_spans: u64,
    /// Late spans of kept traces.
    pub late_kept_spans: u64,
    /// Late spans of dropped traces.
    pub late_dropped_spans: u64,
    /// Late spans that proved a drop wrong.
    pub late_rescued_spans: u64,
    /// Ids of kept traces that made room for others.
    pub forgotten_kept_ids: u64,
    /// Ids of dropped traces that did.
    pub forgotten_dropped_ids: u64,
    /// Traces that late spans began anew, as their verdict was forgotten: an estimate, from those that are followed.
    pub restarted_traces: u64,
    /// When spans of followed traces came.
    pub delays: Vec<Delay>,
    /// What followed traces tell of services, by the beginning of their names.
    pub services: HashMap<Vec<u8>, ServiceCounts, RandomState>,
    /// Spans of traces with an id that another one of theirs has: an estimate, from those that are followed.
    pub duplicate_spans: u64,
    /// Milliseconds between due time and decision, with the number of traces.
    pub lag_ms: Vec<(u64, usize)>,
}

impl Tally {
    /// Forgets everything.
    pub fn clear(&mut self) {
        let Tally { mut kept, mut vetoed, mut lag_ms, mut delays, mut services, .. } = std::mem::take(self);
        kept.clear();
        vetoed.clear();
        lag_ms.clear();
        delays.clear();
        services.clear();
        *self = Tally { kept, vetoed, lag_ms, delays, services, ..Tally::default() };
    }

    /// The memory that its buffers take.
    pub(super) fn heap_bytes(&self) -> usize {
        let counts = (self.kept.capacity() + self.vetoed.capacity()) * size_of::<(u16, Trigger, u64)>();
        let names: usize = self.services.keys().map(Vec::len).sum();
        counts
            + names
            + self.services.allocation_size()
            + self.delays.capacity() * size_of::<Delay>()
            + self.lag_ms.capacity() * size_of::<(u64, usize)>()
    }

    pub(super) fn kept(&mut self, keep: Keep, trigger: Trigger) {
        count(&mut self.kept, keep.policy, trigger);
    }

    /// This policy dropped a trace.
    pub(super) fn vetoed(&mut self, policy: u16, trigger: Trigger) {
        count(&mut self.vetoed, policy, trigger);
    }

    pub(super) fn dropped(&mut self, trigger: Trigger) {
        self.dropped[trigger as usize] += 1;
    }

    /// Late spans of a dropped trace came, and proved the drop wrong or not.
    pub(super) fn late_of_dropped(&mut self, rescued: bool, span_count: u32) {
        let spans = if rescued { &mut self.late_rescued_spans } else { &mut self.late_dropped_spans };
        *spans += u64::from(span_count);
    }

    /// Spans of a followed trace came.
    pub(super) fn follow(&mut self, sighting: Sighting, fragment: &Fragment, decision_wait_ms: Millis) {
        let delay_ms = sighting.delay_ms.unwrap_or(0);
        let seen = u64::from(fragment.span_count());
        let spans = seen * sighting.weight;
        match self.delays.last_mut() {
            Some(last) if last.delay_ms == delay_ms => {
                last.seen += seen;
                last.spans += spans;
            }
            _ => self.delays.push(Delay { delay_ms, seen, spans }),
        }
        for (service, span_count) in fragment.peek().spans_by_service() {
            let spans = span_count * sighting.weight;
            if let Some(counts) = self.service(service) {
                counts.spans += spans;
                counts.late_spans += if delay_ms > decision_wait_ms { spans } else { 0 };
            }
        }
    }

    /// The counts of the service of this name; `None` if there are too many.
    fn service(&mut self, name: &[u8]) -> Option<&mut ServiceCounts> {
        let has_room = self.services.len() < SERVICES_MAX;
        match self.services.entry_ref(name) {
            EntryRef::Occupied(counts) => Some(counts.into_mut()),
            EntryRef::Vacant(vacant) => has_room.then(|| vacant.insert(ServiceCounts::default())),
        }
    }

    /// A trace begins of which nothing is known but that it is followed: it is no new one then.
    pub(super) fn begun(&mut self, sighting: Option<Sighting>) {
        if let Some(Sighting { weight, delay_ms: Some(_) }) = sighting {
            self.restarted_traces += weight;
        }
    }

    /// A trace that stands for `weight` has `gaps`.
    pub(super) fn incomplete(&mut self, gaps: &[Gap<'_>], weight: u64) {
        for (at, gap) in gaps.iter().enumerate() {
            if !gaps[..at].contains(gap)
                && let Some(counts) = self.service(gap.service)
            {
                counts.incomplete_traces[gap.parent as usize] += weight;
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

/// Adds one trace. A handful of policies and triggers: a scan beats a map.
fn count(traces: &mut Vec<(u16, Trigger, u64)>, policy: u16, trigger: Trigger) {
    match traces.iter_mut().find(|(p, t, _)| *p == policy && *t == trigger) {
        Some((_, _, traces)) => *traces += 1,
        None => traces.push((policy, trigger, 1)),
    }
}
