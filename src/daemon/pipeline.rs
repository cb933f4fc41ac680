//! The path from the bytes of a request to the trace table: scan, insert, account.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::clock::Clock;
use super::decisions;
use super::fleet::FleetPort;
use super::sample_statistics::SampleStatistics;
use crate::activity::Activity;
use crate::api::decisions::DecisionHub;
use crate::api::recordings::RecordingHub;
use crate::budget::{Budget, Room, Share, ladder};
use crate::clock;
use crate::journal::Journal;
use crate::otlp::TraceId;
use crate::otlp::scan::{self, Scan, ScanError};
use crate::otlp::wire::WireError;
use crate::receiver::{AcceptError, Accepted, Intake, RequestMemory};
use crate::sampling::PolicyNames;
use crate::span_metrics::{KeyBuffer, SpanMetrics};
use crate::tail::fleet::Followed;
use crate::tail::journal_hold::JournalHold;
use crate::tail::kept::KeptQueue;
use crate::tail::table::{Millis, RoundOutcome};
use crate::tail::tally::{DecidedSpans, Shadowed};
use crate::tail::{Table, Trigger};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{LateVerdict, TraceVerdict};

/// The buffers that a worker reuses from request to request, with their share of the memory budget.
#[derive(Default)]
struct Workspace {
    keys: KeyBuffer,
    scan: Scan,
    outcome: RoundOutcome,
    share: Option<Share>,
}

/// The most memory that one worker's buffers keep between requests: enough for about 16,000 spans. The buffers of a
/// larger request are freed after it.
const WORKSPACE_BYTES_MAX: usize = 2 << 20;

impl Workspace {
    fn heap_bytes(&self) -> usize {
        self.scan.heap_bytes() + self.outcome.heap_bytes() + self.keys.heap_bytes()
    }

    /// Returns the buffers and their share of `budget`.
    fn parts(&mut self, budget: &Budget) -> (&mut Scan, &mut RoundOutcome, &mut Share) {
        // Tests run several daemons in one thread, so the share may belong to another budget.
        let share = self.share.take().filter(|share| share.budget().is(budget));
        let share = share.unwrap_or_else(|| budget.force(self.heap_bytes()));
        (&mut self.scan, &mut self.outcome, self.share.insert(share))
    }

    /// Frees the buffers of a large request. Charges the growth of smaller buffers to the budget.
    fn trim(&mut self) {
        let bytes = self.heap_bytes();
        if bytes > WORKSPACE_BYTES_MAX {
            *self = Workspace::default();
        } else if let Some(share) = self.share.as_mut().filter(|share| share.bytes() != bytes) {
            share.resize(bytes);
        }
    }
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// The trace table with its inputs and outputs.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) table: Table,
    pub(super) kept: Arc<KeptQueue>,
    pub(super) clock: Clock,
    /// The names of the policies, those of the future included.
    pub(super) policy_names: PolicyNames,
    pub(super) followed: SampleStatistics,
    /// The listeners of decisions.
    pub(super) decisions: Arc<DecisionHub>,
    /// The clients that record requests.
    pub(super) recordings: Arc<RecordingHub>,
    journal: Option<Journal>,
    pub(super) metrics: Arc<Metrics>,
    /// The metrics of all spans, if they are on.
    pub(super) span_metrics: Option<Arc<SpanMetrics>>,
    /// The way to the fleet, if the daemon is a member of one.
    pub(super) fleet: Option<Arc<FleetPort>>,
    /// Noted by each request that comes into the table.
    pub(super) arrivals: Activity,
    /// Notified when work on the table has panicked.
    broken: Notify,
}

impl Pipeline {
    pub(super) fn new(
        table: Table,
        policy_names: PolicyNames,
        kept: Arc<KeptQueue>,
        journal: Option<Journal>,
        metrics: Arc<Metrics>,
        span_metrics: Option<Arc<SpanMetrics>>,
    ) -> Self {
        let clock = Clock::start();
        let followed = SampleStatistics::new(clock, Arc::clone(&metrics));
        let (arrivals, broken) = (Activity::default(), Notify::new());
        Pipeline {
            table,
            kept,
            clock,
            policy_names,
            followed,
            decisions: Arc::default(),
            recordings: Arc::default(),
            journal,
            metrics,
            span_metrics,
            fleet: None,
            arrivals,
            broken,
        }
    }

    /// Returns the pipeline as a part of a fleet.
    pub(super) fn with_fleet(self, fleet: Option<Arc<FleetPort>>) -> Self {
        Pipeline { fleet, ..self }
    }

    /// Returns a guard for work on the table in a task of its own.
    pub(super) fn breaks_on_panic(&self) -> impl Drop + '_ {
        BreaksOnPanic(&self.broken)
    }

    /// Follows verdicts of the fleet.
    pub(super) fn follow(&self, verdicts: &[Followed], outcome: &mut RoundOutcome) {
        let _guard = BreaksOnPanic(&self.broken);
        self.listen(outcome);
        let now_ms = self.clock.now_ms();
        verdicts.iter().for_each(|followed| self.table.follow(followed, now_ms, outcome));
        self.settle(outcome);
        // A verdict can plan a report that is due soon.
        self.arrivals.note();
    }

    /// Resolves when a panic has left the table half changed: its accounts are wrong, and the process must not
    /// continue. A panic in the scan or in a decoder does not count: no part of the request was taken in, and only its
    /// connection ends.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Returns the time for which no trace becomes due, at most `time_max`; none as long as memory of bodies or the disk is to
    /// be given back. A request that comes meanwhile is noted in [`Pipeline::arrivals`].
    pub(super) fn pause(&self, time_max: Duration) -> Duration {
        let budget = self.table.budget();
        if budget.idle_bytes() > 0 || budget.disk().is_some_and(|disk| disk.is_over(ladder::RESCUE)) {
            return Duration::ZERO;
        }
        let now_ms = self.clock.now_ms();
        let due = self.table.next_due(now_ms).map(|due_ms| Duration::from_millis(due_ms - now_ms));
        due.map_or(time_max, |due| due.min(time_max))
    }

    /// Makes `outcome` note single decisions if there are listeners. Call it before each round of decisions.
    pub(super) fn listen(&self, outcome: &mut RoundOutcome) {
        decisions::prepare(&self.decisions, outcome);
    }

    /// Takes in a request that an earlier process accepted, except for the spans of the traces in `settled`. Returns
    /// the number of spans taken in. Their decisions wait as if the spans came now, because other spans of their traces
    /// may still come.
    pub(super) fn recover(
        &self,
        body: Bytes,
        share: Share,
        hold: Arc<JournalHold>,
        mut settled: Vec<TraceId>,
    ) -> Result<u64, WireError> {
        settled.sort_unstable();
        let is_settled = |trace: &TraceId| settled.binary_search(trace).is_ok();
        WORKSPACE.with_borrow_mut(|workspace| {
            let (scan, outcome, room) = workspace.parts(self.table.budget());
            let mut extra = room.beside();
            self.listen(outcome);
            let scanned = self.scan(body, scan, outcome, room, &mut extra, true);
            let taken = scanned.map(|body| {
                let _guard = BreaksOnPanic(&self.broken);
                scan.facts.retain(|fact| !is_settled(&fact.trace_id));
                self.table.insert_held(body, scan, share, Some(hold), self.clock.now_ms(), outcome);
                self.arrivals.note();
                scan.facts.len() as u64
            });
            self.settle(outcome);
            workspace.trim();
            match taken {
                Ok(spans) => Ok(spans),
                Err(ScanError::Wire(error)) => Err(error),
                // Does not happen: with `forced`, `scan` never refuses memory.
                Err(ScanError::NoRoom(_)) => Err(WireError::TooLarge),
            }
        })
    }

    /// Scans `body`. Charges the memory that this takes beyond the worker's `room` to `extra`, before it is allocated.
    /// If `forced`, the charge may exceed the limit.
    fn scan(
        &self,
        body: Bytes,
        scan: &mut Scan,
        outcome: &mut RoundOutcome,
        room: &Share,
        extra: &mut Share,
        forced: bool,
    ) -> Result<Bytes, ScanError> {
        let mut holds = |bytes: usize| {
            let _guard = BreaksOnPanic(&self.broken);
            let extra_bytes = bytes.saturating_sub(room.bytes());
            let more_bytes = extra_bytes.saturating_sub(extra.bytes());
            if more_bytes == 0 || forced {
                extra.resize(extra_bytes);
                return true;
            }
            let more = self.table.admit_beside(extra, more_bytes, self.clock.now_ms(), outcome);
            more.map(|more| extra.absorb(more)).is_some()
        };
        scan::scan_within(body, self.table.policies().probe(), scan, &mut holds)
    }

    /// Takes in a request, if there is room for it.
    fn accept_scan(
        &self,
        body: Bytes,
        share: Share,
        hold: Option<Arc<JournalHold>>,
        workspace: &mut Workspace,
    ) -> Result<Accepted, AcceptError> {
        let (scan, outcome, room) = workspace.parts(self.table.budget());
        self.listen(outcome);
        // The share is given back once the request is in the table; then the worker charges the buffers that it keeps.
        let mut extra = share.beside();
        let body = self.scan(body, scan, outcome, room, &mut extra, false).map_err(|error| match error {
            ScanError::Wire(error) => AcceptError::Wire(error),
            ScanError::NoRoom(bytes) => self.table.no_room(share.bytes() + bytes).into(),
        })?;
        let _guard = BreaksOnPanic(&self.broken);
        let now_ms = self.clock.now_ms();
        if self.span_metrics.is_none() && !self.recordings.is_recording() {
            self.table.insert_within(body, scan, share, hold, now_ms, outcome)?;
            return Ok(self.accepted(&workspace.scan));
        }
        // Only an accepted request is counted and recorded: a refused one comes again.
        self.table.insert_within(body.clone(), scan, share, hold, now_ms, outcome)?;
        if let Some(span_metrics) = &self.span_metrics {
            span_metrics.count(&workspace.scan, &body, self.table.policies().counted(), &mut workspace.keys, now_ms);
        }
        if self.recordings.is_recording() {
            self.recordings.offer(&body, now_ms, self.table.budget());
        }
        Ok(self.accepted(&workspace.scan))
    }

    /// Notes a request that is in the table.
    fn accepted(&self, scan: &Scan) -> Accepted {
        self.arrivals.note();
        Accepted { spans: scan.span_count() as u32, rejected: scan.rejected }
    }

    /// Makes room for a request by deciding or dropping other traces, if need be. Settles the outcome.
    fn relieve<T>(&self, make_room: impl FnOnce(&Table, Millis, &mut RoundOutcome) -> T) -> T {
        WORKSPACE.with_borrow_mut(|workspace| {
            let _guard = BreaksOnPanic(&self.broken);
            self.listen(&mut workspace.outcome);
            let room = make_room(&self.table, self.clock.now_ms(), &mut workspace.outcome);
            self.settle(&mut workspace.outcome);
            workspace.trim();
            room
        })
    }

    /// Evaluates the held spans for the policies in force; see [`Table::rescan`].
    pub(super) fn rescan(&self) {
        let _guard = BreaksOnPanic(&self.broken);
        let mut outcome = RoundOutcome::default();
        self.listen(&mut outcome);
        let settle = |outcome: &mut RoundOutcome| {
            self.settle(outcome);
            self.listen(outcome);
        };
        self.table.rescan(&mut outcome, || self.clock.now_ms(), settle);
    }

    /// Passes kept spans on, charges them to the rates of policies, and adds the outcome to the metrics. Empties
    /// `outcome`.
    pub(super) fn settle(&self, outcome: &mut RoundOutcome) {
        let kept = outcome.kept.iter().filter(|kept| !kept.keep.is_dropped());
        let spans = kept.map(|kept| kept.fragment.span_count()).fold(0, u32::saturating_add);
        if spans > 0 {
            self.table.policies().kept(spans, self.clock.now_ms());
        }
        if let Some(span_metrics) = &self.span_metrics {
            let unix_s = u32::try_from(clock::since_1970().as_secs()).unwrap_or(u32::MAX);
            span_metrics.decided(&outcome.kept, &outcome.tally, self.clock.now_ms(), unix_s);
        }
        self.kept.push(&mut outcome.kept);
        let tally = &mut outcome.tally;
        for (verdict, traces) in [(TraceVerdict::Kept, &tally.kept), (TraceVerdict::Dropped, &tally.dropped_by_policy)]
        {
            for &(policy, trigger, traces) in traces {
                self.policy_names.with(policy, |name| self.metrics.decided(name, verdict, trigger, traces));
            }
        }
        for DecidedSpans { policy, is_kept, amount } in &tally.decided_spans {
            let verdict = if *is_kept { TraceVerdict::Kept } else { TraceVerdict::Dropped };
            let policy = policy.unwrap_or(u16::MAX);
            self.policy_names.with(policy, |name| self.metrics.decided_spans(name, verdict, *amount));
        }
        for shadowed in &tally.shadowed {
            let Shadowed { policy, effect, traces, spans } = *shadowed;
            self.policy_names.with(policy, |name| self.metrics.shadowed(name, effect, traces, spans));
        }
        for trigger in Trigger::ALL {
            let traces = tally.dropped[trigger as usize];
            if traces > 0 {
                self.metrics.decided("", TraceVerdict::Dropped, trigger, traces);
            }
        }
        let late = [
            (LateVerdict::Kept, tally.late_kept_spans),
            (LateVerdict::Dropped, tally.late_dropped_spans),
            (LateVerdict::Rescued, tally.late_rescued_spans),
        ];
        for (verdict, spans) in late.into_iter().filter(|(_, spans)| *spans > 0) {
            self.metrics.late(verdict, spans);
        }
        let forgotten =
            [(TraceVerdict::Kept, tally.forgotten_kept_ids), (TraceVerdict::Dropped, tally.forgotten_dropped_ids)];
        for (verdict, ids) in forgotten {
            if ids > 0 {
                self.metrics.forgotten(verdict, ids);
            }
        }
        self.followed.count(tally);
        if tally.sampled_out_spans > 0 {
            self.metrics.sampled_out(tally.sampled_out_spans);
        }
        for &(lag_ms, traces) in &tally.lag_ms {
            self.metrics.decision_lag(Duration::from_millis(lag_ms), traces);
        }
        if tally.split_traces > 0 {
            self.metrics.fleet_split(tally.split_traces);
        }
        tally.clear();
        if let Some(fleet) = &self.fleet {
            fleet.tell(&mut outcome.fleet);
        }
        let is_dry_run = || self.table.is_dry_run();
        decisions::announce(&self.decisions, &self.policy_names, self.clock.now_ms(), is_dry_run, outcome);
    }
}

/// A guard that reports a panic during a change to the table.
struct BreaksOnPanic<'p>(&'p Notify);

impl Drop for BreaksOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

impl RequestMemory for Pipeline {
    fn budget(&self) -> &Budget {
        self.table.budget()
    }

    fn admit(&self, bytes: usize) -> Option<Share> {
        self.relieve(|table, now_ms, outcome| table.admit(bytes, now_ms, outcome))
    }

    fn room(&self, bytes: usize) -> Option<Room> {
        self.relieve(|table, now_ms, outcome| table.room(bytes, now_ms, outcome))
    }
}

impl Intake for Pipeline {
    fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    fn accept(&self, body: Bytes, share: Share, hold: Option<Arc<JournalHold>>) -> Result<Accepted, AcceptError> {
        WORKSPACE.with_borrow_mut(|workspace| {
            let accepted = self.accept_scan(body, share, hold, workspace);
            self.settle(&mut workspace.outcome);
            workspace.trim();
            accepted
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
