//! The facts that a shard has about one trace.

use super::{DropKind, HeldState, HeldTrace, Shard};
use crate::otlp::TraceId;
use crate::tail::decision_facts::DecisionFacts;
use crate::tail::fate::{Fate, HeldReport, TraceReport};
use crate::tail::packed::unpack;
use crate::tail::request::Fragment;
use crate::tail::table::{Millis, TableLimits};

impl HeldTrace {
    /// Returns the facts about the decision: those of the drop if the trace is dropped, otherwise those of a decision
    /// at `now_ms`.
    pub(super) fn facts_at(&self, now_ms: Millis, limits: &TableLimits) -> DecisionFacts {
        let (at_ms, trigger, late_spans) = match self.state {
            HeldState::Pending { trigger, .. } => (now_ms, trigger, 0),
            HeldState::Dropped { expiry, trigger, notes } => {
                let window_ms = limits.rescue_window_ms.unwrap_or_default();
                (expiry.near(now_ms).saturating_sub(window_ms), trigger, notes.late_spans())
            }
        };
        DecisionFacts { at_ms, trigger, spans: self.summary.span_count, late_spans, drop_policy: None }
    }

    fn report(&self, now_ms: Millis, limits: &TableLimits) -> TraceReport {
        let facts = self.facts_at(now_ms, limits);
        let until_ms = self.state.due().near(now_ms);
        let (fate, decision) = match self.state {
            HeldState::Pending { .. } => (Fate::Pending, None),
            HeldState::Dropped { .. } => (Fate::SampledOut { rescuable: true }, Some(facts)),
        };
        let held = HeldReport { summary: self.summary.clone(), trigger: facts.trigger, until_ms };
        TraceReport { fate, keep: None, decision, held: Some(held) }
    }
}

impl Shard {
    /// Returns the fragments of the trace `id` with this hash, in the order in which they came.
    pub(in crate::tail) fn fragments(&self, id: TraceId, hash: u64) -> Option<Vec<Fragment>> {
        let trace = self.traces.get(self.slot(id, hash)?)?;
        Some(trace.fragments.to_vec())
    }

    /// Returns the fate of the trace `id` with this hash. The caches do not count it as a lookup.
    pub(in crate::tail) fn report(&self, id: TraceId, hash: u64, now_ms: Millis, limits: &TableLimits) -> TraceReport {
        if let Some(trace) = self.slot(id, hash).and_then(|slot| self.traces.get(slot)) {
            return trace.report(now_ms, limits);
        }
        let find = |kind: &DropKind| Some((*kind, self.dropped_ids.peek(kind.hash(hash))?.facts));
        let (fate, keep, facts) = if let Some(found) = self.kept_ids.peek(hash) {
            let keep = unpack(found.value);
            (Fate::Kept { policy: keep.policy }, Some(keep), found.facts)
        } else if let Some((kind, facts)) = DropKind::all(true).iter().find_map(find) {
            let fate = if kind.by_policy { Fate::DroppedByPolicy } else { Fate::SampledOut { rescuable: false } };
            (fate, None, facts)
        } else {
            (Fate::Unknown, None, 0)
        };
        TraceReport { fate, keep, decision: DecisionFacts::unpack(facts), held: None }
    }
}
