//! What a round of work on the trace table did, for whoever keeps the metrics.

use super::census::Sighting;
use super::gaps::Gap;
use super::request::Fragment;
use super::table::Millis;
use crate::otlp::view::service_name;
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

/// New spans of a followed trace, of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The service's name, as it was sent but for its length.
    pub service: Box<[u8]>,
    /// The spans.
    pub span_count: u64,
    /// How many traces theirs stands for.
    pub weight: u64,
    /// The time since the first spans of the trace.
    pub delay_ms: Millis,
    /// That is longer than `decision_wait`.
    pub is_late: bool,
}

/// A trace in which spans of a service have a parent that has not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The service's name, as it was sent but for its length.
    pub service: Box<[u8]>,
    /// Whose span the parent is.
    pub parent: Parent,
    /// How many traces this one stands for.
    pub weight: u64,
}

/// Of a service's name, in bytes: no one reads more.
const SERVICE_BYTES_MAX: usize = 256;

/// Services that are told apart in what one request has of one trace; spans of more are not counted by service. Senders
/// have one, proxies a handful.
const SERVICES_MAX: usize = 32;

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
    /// Spans of followed traces that came.
    pub followed: Vec<Followed>,
    /// Followed traces that were incomplete when their wait was over.
    pub incomplete: Vec<Incomplete>,
    /// Spans of traces with an id that another one of theirs has: an estimate, from those that are followed.
    pub duplicate_spans: u64,
    /// Milliseconds between due time and decision, with the number of traces.
    pub lag_ms: Vec<(u64, usize)>,
}

impl Tally {
    /// Forgets everything.
    pub fn clear(&mut self) {
        let Tally { mut kept, mut vetoed, mut lag_ms, mut followed, mut incomplete, .. } = std::mem::take(self);
        kept.clear();
        vetoed.clear();
        lag_ms.clear();
        followed.clear();
        incomplete.clear();
        *self = Tally { kept, vetoed, lag_ms, followed, incomplete, ..Tally::default() };
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
        let is_late = delay_ms > decision_wait_ms;
        let first = self.followed.len();
        for (resource, span_count) in fragment.open().spans_by_resource() {
            let service = service(resource);
            let of_fragment = &mut self.followed[first..];
            if let Some(known) = of_fragment.iter_mut().find(|known| *known.service == *service) {
                known.span_count += span_count;
            } else if of_fragment.len() < SERVICES_MAX {
                let (service, weight) = (service.into(), sighting.weight);
                self.followed.push(Followed { service, span_count, weight, delay_ms, is_late });
            }
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
        let first = self.incomplete.len();
        for gap in gaps {
            let service = service(gap.resource);
            let mut of_trace = self.incomplete[first..].iter();
            if !of_trace.any(|other| *other.service == *service && other.parent == gap.parent) {
                self.incomplete.push(Incomplete { service: service.into(), parent: gap.parent, weight });
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

/// The beginning of the name of the service that a resource is of.
fn service(resource: &[u8]) -> &[u8] {
    let name = service_name(resource);
    &name[..name.len().min(SERVICE_BYTES_MAX)]
}

/// Adds one trace. A handful of policies and triggers: a scan beats a map.
fn count(traces: &mut Vec<(u16, Trigger, u64)>, policy: u16, trigger: Trigger) {
    match traces.iter_mut().find(|(p, t, _)| *p == policy && *t == trigger) {
        Some((_, _, traces)) => *traces += 1,
        None => traces.push((policy, trigger, 1)),
    }
}
