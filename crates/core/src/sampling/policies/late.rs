//! Verdicts on spans that come late, and on a part of the spans of a trace.

use super::{Policies, surviving};
use crate::otlp::TraceId;
use crate::sampling::expression::DecisionInput;
use crate::sampling::{Keep, Summary, Threshold};

impl Policies {
    /// Returns the verdict on a dropped trace after late spans came; `None` if it stays dropped.
    ///
    /// Policies that remember other traces are not asked again. The other policies are. If one of them keeps the trace,
    /// it is kept as if the spans had come in time.
    #[must_use]
    pub fn rescue(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        let trace = self.trace(summary, trace_id, 0);
        let survival = self.lasting_survival(&trace)?;
        self.decide_keep(&trace, |keep_policy| !keep_policy.is_stateful(), |_, _| {})
            .map(|keep| rescued(surviving(keep, survival)))
    }

    /// Returns the verdict on late spans of a dropped trace whose other spans are not in memory any more; `None` if
    /// they are dropped, too. `summary` describes only the late spans, and only their own evidence counts.
    #[must_use]
    pub fn evidence(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        let trace = self.trace(summary, trace_id, 0);
        let survival = self.lasting_survival(&trace)?;
        let keep_policy = self.keep_policies.iter().find(|keep_policy| keep_policy.is_settled(summary))?;
        Some(rescued(surviving(Keep::new(keep_policy.policy, Threshold::ALWAYS), survival)))
    }

    /// Returns the verdict on a trace if `summary`, of some of its spans, is evidence whatever its other spans are; `None`
    /// if it depends on them.
    #[must_use]
    pub fn evidence_in_part(&self, summary: &Summary, trace_id: TraceId) -> Option<Keep> {
        let survives = self.drop_policies.iter().all(|drop_policy| drop_policy.survives.is_settled(summary));
        self.evidence(summary, trace_id).filter(|_| survives)
    }

    /// Returns the verdict on late spans of a kept trace. It is `keep`, the verdict on the trace, unless the late spans
    /// alone are evidence for a less strict threshold.
    ///
    /// With that threshold the adjusted count is lower. With the old one, the trace would also stand for traces that
    /// the ratio dropped. But the same evidence rescues those, and each of them counts for itself.
    #[must_use]
    #[inline]
    pub fn amended(&self, keep: Keep, summary: &Summary, trace_id: TraceId) -> Keep {
        if keep.threshold == Threshold::ALWAYS {
            return keep;
        }
        match self.evidence(summary, trace_id) {
            Some(proof) if proof.threshold < keep.threshold => {
                Keep { policy: proof.policy, threshold: proof.threshold, ..keep }
            }
            _ => keep,
        }
    }

    /// Returns the threshold at which the trace survives all policies of type `drop` without state; `None` if one of
    /// them drops it. Those with state must be asked only once for a trace, so they are left out.
    fn lasting_survival(&self, trace: &DecisionInput<'_>) -> Option<Threshold> {
        let lasting = self.drop_policies.iter().filter(|drop_policy| !drop_policy.survives.is_stateful());
        lasting
            .map(|drop_policy| drop_policy.survives.evaluate(trace))
            .try_fold(Threshold::ALWAYS, |so_far, threshold| threshold.map(|threshold| threshold.max(so_far)))
    }
}

fn rescued(keep: Keep) -> Keep {
    Keep { rescued: true, ..keep }
}
