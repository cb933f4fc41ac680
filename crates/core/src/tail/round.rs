//! A round of work on a shard: its inputs, and what it gives back.

use std::hash::BuildHasher;

use foldhash::fast::SeedableRandomState;

use super::decision::{Decision, DecisionLog};
use super::fleet::FleetReports;
use super::kept::KeptSpans;
use super::request::Fragment;
use super::services::{ServiceTally, Services};
use super::shard::{Released, StaleTrace};
use super::table::{Millis, SLICE_BYTES, TableLimits};
use super::tally::{Tally, Trigger};
use crate::otlp::TraceId;
use crate::sampling::{Keep, Policies, Summary, Verdict};

/// The inputs of a round of work, and the buffers for its results.
pub(super) struct WorkRound<'a> {
    pub(super) policies: &'a Policies,
    pub(super) limits: &'a TableLimits,
    pub(super) hasher: &'a SeedableRandomState,
    pub(super) services: &'a Services,
    pub(super) now_ms: Millis,
    pub(super) kept: &'a mut Vec<KeptSpans>,
    pub(super) tally: &'a mut Tally,
    /// The decisions of the round; `None` if the caller does not want them.
    pub(super) decisions: Option<&'a mut DecisionLog>,
    /// The dropped spans that `services` has not counted yet.
    pub(super) dropped_by_service: &'a mut ServiceTally,
    /// Dropped traces that are taken out of the table; their spans are let go of at the end of the round.
    pub(super) released: &'a mut Vec<Released>,
    /// Stale traces that have become full. They are to be read again at once.
    pub(super) full: &'a mut Vec<StaleTrace>,
    /// The reports to the fleet.
    pub(super) fleet: &'a mut FleetReports,
    /// True if the work is to follow a verdict of the fleet.
    pub(super) follows: bool,
    /// Bytes of spans that were read so far.
    pub(super) read_bytes: u64,
}

impl WorkRound<'_> {
    /// Takes up to `traces_max` steps, fewer if they read many bytes. Returns true if there may be more to do. A step
    /// returns `None` if there was nothing left to do.
    pub(super) fn slice(&mut self, traces_max: usize, mut step: impl FnMut(&mut Self) -> Option<()>) -> bool {
        for _ in 0..traces_max {
            if step(self).is_none() {
                return false;
            }
            if self.read_bytes >= SLICE_BYTES {
                break;
            }
        }
        true
    }

    /// Counts these spans of the trace `id` as sampled out, and lets go of them; see [`WorkRound::count_dropped`].
    pub(super) fn sampled_out(&mut self, id: TraceId, fragment: Fragment, policy: Option<u16>, is_unrepresented: bool) {
        self.count_dropped(std::slice::from_ref(&fragment), policy, is_unrepresented);
        self.dropped_by_service.count(self.services);
        self.let_go(id, [fragment], policy);
    }

    /// Counts spans that are dropped for good. `policy` is the policy of type `drop` that dropped the trace. No policy
    /// could have kept it if `is_unrepresented`. The services get their counts with [`ServiceTally::count`].
    ///
    /// [`ServiceTally::count`]: super::services::ServiceTally::count
    pub(super) fn count_dropped(&mut self, fragments: &[Fragment], policy: Option<u16>, is_unrepresented: bool) {
        for fragment in fragments {
            let amount = fragment.amounts(|service, amount| self.dropped_by_service.add(service, amount));
            self.tally.decided(policy, false, amount);
            if is_unrepresented {
                self.tally.unrepresented_calls += fragment.counted_spans();
            }
        }
    }

    /// Lets go of spans of the trace `id`, which are counted as dropped. In a dry run, sends them to the exporter.
    pub(super) fn let_go(&mut self, id: TraceId, fragments: impl IntoIterator<Item = Fragment>, policy: Option<u16>) {
        for fragment in fragments {
            if self.limits.dry_run {
                self.kept.push(KeptSpans::new(fragment, id, Keep::only_dry_run(policy)));
            } else {
                fragment.settled(id);
                self.tally.sampled_out_spans += u64::from(fragment.span_count());
            }
        }
    }

    /// Sends spans of the trace `id`, which is kept, to the exporter.
    pub(super) fn export(&mut self, id: TraceId, fragments: impl IntoIterator<Item = Fragment>, keep: Keep) {
        let keep = Keep { dry_run: self.limits.dry_run, ..keep };
        for fragment in fragments {
            let amount = fragment.amounts(|service, amount| self.services.count(service, true, amount));
            self.tally.decided(Some(keep.policy), true, amount);
            self.kept.push(KeptSpans::new(fragment, id, keep));
        }
    }

    /// Returns the verdict on the trace `id` if there is evidence; see [`Policies::proven`].
    #[inline]
    pub(super) fn proven(&mut self, id: TraceId, summary: &Summary) -> Option<Keep> {
        let keep = self.policies.proven(summary)?;
        self.shadow(id, summary, Verdict::Kept(keep));
        Some(keep)
    }

    /// Counts the changes that shadow policies would make to the verdict on the trace `id`.
    #[inline]
    pub(super) fn shadow(&mut self, id: TraceId, summary: &Summary, verdict: Verdict) {
        let WorkRound { policies, tally, now_ms, .. } = self;
        policies.shadow(summary, id, *now_ms, verdict, |policy, effect| {
            tally.count_shadowed(policy, effect, summary.span_count);
        });
    }

    #[inline]
    pub(super) fn hash(&self, id: TraceId) -> u64 {
        hash(self.hasher, id)
    }

    /// Asks the policies for the verdict on a trace.
    pub(super) fn verdict(&mut self, summary: &Summary, id: TraceId) -> Verdict {
        match &mut self.decisions {
            None => self.policies.decide(summary, id, self.now_ms),
            Some(log) => log.ask(self.policies, summary, id, self.now_ms),
        }
    }

    /// Notes a decision, if the caller wants it.
    #[inline]
    pub(super) fn note(
        &mut self,
        id: TraceId,
        verdict: Verdict,
        trigger: Trigger,
        summary: &Summary,
        fragments: &[Fragment],
    ) {
        if let Some(log) = &mut self.decisions {
            log.note(Decision::new(id, verdict, trigger, self.now_ms, summary), fragments);
        }
    }
}

/// Returns the hash of a trace id. It is seeded, so that senders cannot aim at a shard or bucket.
#[inline]
pub(super) fn hash(hasher: &SeedableRandomState, id: TraceId) -> u64 {
    hasher.hash_one(u128::from_ne_bytes(id.0))
}
