//! What a round of work on the trace table did, for whoever keeps the metrics.

use crate::sampling::Keep;

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
    /// Milliseconds between due time and decision, with the number of traces.
    pub lag_ms: Vec<(u64, usize)>,
}

impl Tally {
    /// Forgets everything.
    pub fn clear(&mut self) {
        let Tally { mut kept, mut vetoed, mut lag_ms, .. } = std::mem::take(self);
        kept.clear();
        vetoed.clear();
        lag_ms.clear();
        *self = Tally { kept, vetoed, lag_ms, ..Tally::default() };
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
