//! Requests with their times of arrival, through the daemon's trace table in virtual time.
//!
//! The table gets the requests in the way in which the receiver gives them to it, and is swept in the way in which the
//! daemon sweeps it. The clock is that of the requests, so a day of traffic takes as long as its work.
//!
//! Invariants
//! - The same requests, settings and seed give the same decisions in the same order.
//! - At a given time, traces that are due are decided before the requests of that time are taken in.
//! - Memory follows the table's budget, as in the daemon. Nothing is kept of what has been reported.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::budget::Budget;
use crate::otlp::scan::{Scan, scan};
use crate::otlp::wire::WireError;
use crate::sampling::Policies;
use crate::tail::kept::KeptSpans;
use crate::tail::settings::TailSampling;
use crate::tail::table::{Millis, NoRoom, RoundOutcome};
use crate::tail::{Decision, DecisionLog, Table, Tally};

const NANOS_PER_MS: u64 = 1_000_000;
const NANOS_PER_S: u64 = 1_000_000_000;

/// One request with the time of its arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedRequest {
    /// The time of arrival, in nanoseconds since 1970. A request that is earlier than the one before it arrives with
    /// that one.
    pub unix_nano: u64,
    /// The body: an `ExportTraceServiceRequest` in protobuf.
    pub body: Bytes,
}

/// The surroundings of a replay, as far as the configuration does not give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// The memory budget in bytes.
    pub limit_bytes: usize,
    /// The shortest time between two searches for due traces. The daemon searches every 50 ms. With 0, each trace is
    /// decided at the millisecond at which it is due.
    pub sweep_ms: Millis,
    /// The seed of the table's hash.
    pub seed: u64,
    /// True if decisions have the answers of the policies. This costs time.
    pub with_answers: bool,
}

/// The reason why a request was not taken in. The replay can go on with the next one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not an `ExportTraceServiceRequest`.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// There is no room in the memory budget, although all that could give way did. The daemon would have told the
    /// sender to repeat the request later, or never.
    #[error("no room for the request in the memory budget")]
    NoRoom(NoRoom),
}

/// The receiver of what happens in a replay. All methods do nothing by default.
pub trait Observer {
    /// The clock begins at this time, in nanoseconds since 1970: the first request comes.
    fn begins(&mut self, _unix_nano: u64) {}

    /// These policies are in force from now on: at the beginning, and whenever the time of one of them is over.
    fn in_force(&mut self, _policies: &Arc<Policies>) {}

    /// A request was taken in. `scan` has the facts about its spans; their places are in `body`.
    fn accepted(&mut self, _body: &Bytes, _scan: &Scan, _now_ms: Millis) {}

    /// A trace was decided. [`Decision::at_ms`] counts from the first request.
    fn decided(&mut self, _decision: Decision) {}

    /// Spans of a kept trace left for the exporter: those of the trace at its decision, or late ones.
    fn kept(&mut self, _spans: KeptSpans, _now_ms: Millis) {}

    /// A round of work ended with these counts, sampled-out and late spans among them.
    fn counted(&mut self, _tally: &Tally, _now_ms: Millis) {}
}

/// An observer that ignores everything.
impl Observer for () {}

/// A trace table with a clock of its own.
#[derive(Debug)]
pub struct Replay {
    /// The settings, with the policies whose time is over.
    tail_sampling: TailSampling,
    /// The policies in force.
    policies: Arc<Policies>,
    /// The next end of a policy, in seconds since 1970.
    next_end_s: Option<u64>,
    table: Table,
    scan: Scan,
    outcome: RoundOutcome,
    sweep_ms: Millis,
    /// The time of the first request; `None` before it.
    start_unix_nano: Option<u64>,
    now_ms: Millis,
    swept_ms: Millis,
}

impl Replay {
    /// Makes a replay. `policies` are all policies of `tail_sampling`, compiled, whatever their `until` is. A policy
    /// stops counting when the clock of the replay reaches its `until`, as it does in the daemon.
    #[must_use]
    pub fn new(tail_sampling: &TailSampling, policies: Arc<Policies>, settings: ReplaySettings) -> Self {
        let ReplaySettings { limit_bytes, sweep_ms, seed, with_answers } = settings;
        let table = Table::seeded(tail_sampling, Arc::clone(&policies), Budget::new(limit_bytes), seed);
        let mut outcome = RoundOutcome::default();
        outcome.decisions = Some(if with_answers { DecisionLog::with_answers() } else { DecisionLog::default() });
        Replay {
            next_end_s: next_end_s(tail_sampling),
            tail_sampling: tail_sampling.clone(),
            policies,
            table,
            scan: Scan::default(),
            outcome,
            sweep_ms,
            start_unix_nano: None,
            now_ms: 0,
            swept_ms: 0,
        }
    }

    /// Returns the replay with decisions that know the services of kept traces ([`Decision::services`]), in place of the
    /// answers of policies.
    #[must_use]
    pub fn with_services_of_kept(mut self) -> Self {
        self.outcome.decisions = Some(DecisionLog::with_services_of_kept());
        self
    }

    /// Returns the policies in force.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Returns the trace table, for what it holds and for its budget.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the milliseconds from the first request to the present.
    #[must_use]
    pub fn now_ms(&self) -> Millis {
        self.now_ms
    }

    /// Moves the clock to the arrival of `request`, decides what is due until then, and takes the request in. Returns
    /// the number of its spans, accepted and rejected.
    ///
    /// # Errors
    /// See [`Refusal`]. Nothing of the request was taken in, but the clock has moved.
    pub fn take(&mut self, request: TimedRequest, observer: &mut impl Observer) -> Result<usize, Refusal> {
        if self.start_unix_nano.is_none() {
            observer.begins(request.unix_nano);
            observer.in_force(&self.policies);
        }
        let start = *self.start_unix_nano.get_or_insert(request.unix_nano);
        let at_ms = request.unix_nano.saturating_sub(start) / NANOS_PER_MS;
        self.advance(at_ms, observer);
        self.now_ms = self.now_ms.max(at_ms);
        self.expire(observer);
        let taken = self.insert(request.body, observer);
        self.settle(observer);
        taken
    }

    /// Takes in all `requests`, then decides what is left when it is due. `refused` is called with each request that was
    /// not taken in, by its index.
    pub fn run(
        mut self,
        requests: impl Iterator<Item = TimedRequest>,
        observer: &mut impl Observer,
        mut refused: impl FnMut(usize, Refusal),
    ) {
        for (index, request) in requests.enumerate() {
            if let Err(refusal) = self.take(request, observer) {
                refused(index, refusal);
            }
        }
        self.finish(observer);
    }

    /// Lets the time pass until every trace is decided and no dropped trace can be rescued any more.
    pub fn finish(&mut self, observer: &mut impl Observer) {
        self.advance(Millis::MAX, observer);
    }

    fn insert(&mut self, body: Bytes, observer: &mut impl Observer) -> Result<usize, Refusal> {
        let Replay { table, outcome, now_ms, .. } = self;
        let share = table.admit(body.len(), *now_ms, outcome);
        let share = share.ok_or_else(|| Refusal::NoRoom(table.no_room(body.len())))?;
        let body = scan(body, self.policies.probe(), &mut self.scan)?;
        table.insert_within(body.clone(), &self.scan, share, None, *now_ms, outcome).map_err(Refusal::NoRoom)?;
        observer.accepted(&body, &self.scan, *now_ms);
        Ok(self.scan.span_count())
    }

    /// Decides what is due up to `to_ms`. Leaves the clock at the last search.
    fn advance(&mut self, to_ms: Millis, observer: &mut impl Observer) {
        while self.swept_ms + self.sweep_ms <= to_ms {
            let Some(due_ms) = self.table.next_due(self.now_ms) else { break };
            let at_ms = due_ms.max(self.swept_ms + self.sweep_ms);
            if let Some(end_ms) = self.next_end_ms().filter(|end_ms| *end_ms <= at_ms.min(to_ms)) {
                // What becomes due is decided by the policies that are left.
                self.now_ms = self.now_ms.max(end_ms);
                self.expire(observer);
                continue;
            }
            if at_ms > to_ms {
                break;
            }
            (self.now_ms, self.swept_ms) = (at_ms, at_ms);
            self.sweep(observer);
        }
    }

    fn sweep(&mut self, observer: &mut impl Observer) {
        for shard in 0..self.table.shard_count() {
            while self.table.sweep(shard, self.now_ms, &mut self.outcome) {
                self.settle(observer);
            }
        }
        self.settle(observer);
        while self.table.relieve(self.now_ms, &mut self.outcome) {
            self.settle(observer);
        }
        self.settle(observer);
    }

    /// Returns the time of the next end of a policy.
    fn next_end_ms(&self) -> Option<Millis> {
        let end_nano = self.next_end_s?.saturating_mul(NANOS_PER_S);
        Some(end_nano.saturating_sub(self.start_unix_nano?).div_ceil(NANOS_PER_MS))
    }

    /// Takes the policies out of force whose time is over, as a reload of the daemon does.
    fn expire(&mut self, observer: &mut impl Observer) {
        if self.next_end_ms().is_none_or(|end_ms| self.now_ms < end_ms) {
            return;
        }
        let now = self.start_unix_nano.unwrap_or(0).saturating_add(self.now_ms.saturating_mul(NANOS_PER_MS));
        let counting = self.tail_sampling.at(now / NANOS_PER_S);
        // Beyond the year 2554 the clock stands still.
        let before = self.next_end_s.take();
        self.next_end_s = next_end_s(&counting).filter(|next| Some(*next) != before);
        // Fewer policies fit where more did.
        let Ok(policies) = Policies::compile_set(counting.policy_set(), Some(&self.policies)) else { return };
        self.policies = Arc::new(policies);
        observer.in_force(&self.policies);
        let Replay { table, policies, outcome, now_ms, .. } = self;
        table.replace(&counting, Arc::clone(policies));
        table.rescan(outcome, || *now_ms, |outcome| settle(policies, outcome, *now_ms, observer));
    }

    fn settle(&mut self, observer: &mut impl Observer) {
        settle(&self.policies, &mut self.outcome, self.now_ms, observer);
    }
}

/// Reports the outcome of a round, and charges kept spans to the budgets of policies, as the daemon does.
fn settle(policies: &Policies, outcome: &mut RoundOutcome, now_ms: Millis, observer: &mut impl Observer) {
    let RoundOutcome { kept, tally, decisions, .. } = outcome;
    // In a dry run, spans of dropped traces leave, too.
    let charged = kept.iter().filter(|kept| !kept.keep.is_dropped());
    let spans = charged.map(|kept| kept.fragment.span_count()).fold(0, u32::saturating_add);
    if spans > 0 {
        policies.kept(spans, now_ms);
    }
    decisions.iter_mut().flat_map(DecisionLog::drain).for_each(|decision| observer.decided(decision));
    kept.drain(..).for_each(|kept| observer.kept(kept, now_ms));
    observer.counted(tally, now_ms);
    tally.clear();
}

/// Returns the first end of a policy, in seconds since 1970.
fn next_end_s(tail_sampling: &TailSampling) -> Option<u64> {
    let policies = tail_sampling.policies.iter().chain(&tail_sampling.shadow.policies);
    policies.filter_map(|policy| policy.until).min()
}

#[cfg(test)]
mod tests;
