//! Request bytes to the trace table: scan, insert, account.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::clock::Clock;
use super::followed::FollowedTraces;
use crate::journal::Journal;
use crate::otlp::TraceId;
use crate::otlp::scan::{self, Scan};
use crate::otlp::wire::WireError;
use crate::receiver::{AcceptError, Accepted, Intake};
use crate::sampling::Policies;
use crate::tail::budget::{Budget, Share};
use crate::tail::hold::Hold;
use crate::tail::kept::KeptQueue;
use crate::tail::table::Outcome;
use crate::tail::{Table, Trigger};
use crate::telemetry::Metrics;

/// What a worker reuses from request to request.
#[derive(Default)]
struct Workspace {
    scan: Scan,
    outcome: Outcome,
}

/// Spans that one worker's buffers are kept for between requests; a larger request's are given back after it.
const WORKSPACE_SPANS_MAX: usize = 16_384;

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// The trace table with everything that feeds it and that it feeds.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) table: Table,
    pub(super) kept: Arc<KeptQueue>,
    pub(super) clock: Clock,
    pub(super) policies: Arc<Policies>,
    pub(super) followed: FollowedTraces,
    journal: Option<Journal>,
    pub(super) metrics: Arc<Metrics>,
    /// Is told when work on the table has panicked.
    broken: Notify,
}

impl Pipeline {
    pub(super) fn new(
        table: Table,
        policies: Arc<Policies>,
        kept: Arc<KeptQueue>,
        journal: Option<Journal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let clock = Clock::start();
        let followed = FollowedTraces::new(clock, Arc::clone(&metrics));
        Pipeline { table, kept, clock, policies, followed, journal, metrics, broken: Notify::new() }
    }

    /// Resolves when a panic has left the table half changed: its books are wrong, and the process must not go on. A panic
    /// in the scan or in a decoder is not of this kind: nothing was taken in, and it ends its connection alone.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Takes the body of a request that an earlier process accepted, but for the spans of the traces in `settled`. Returns
    /// the number of its spans; their decision waits as if they came now, as others of their traces may still come.
    pub(super) fn recover(
        &self,
        body: Bytes,
        share: Share,
        hold: Arc<Hold>,
        mut settled: Vec<TraceId>,
    ) -> Result<u64, WireError> {
        settled.sort_unstable();
        let is_settled = |trace: &TraceId| settled.binary_search(trace).is_ok();
        self.take(body, share, Some(hold), |scan, _, _| {
            scan.facts.retain(|fact| !is_settled(&fact.trace_id));
            Ok(scan.facts.len() as u64)
        })
    }

    /// Scans `body`, lets `look` see what was found, and takes in its spans unless that is an error.
    fn take<T, E: From<WireError>>(
        &self,
        body: Bytes,
        mut share: Share,
        hold: Option<Arc<Hold>>,
        look: impl FnOnce(&mut Scan, &mut Share, &mut Outcome) -> Result<T, E>,
    ) -> Result<T, E> {
        WORKSPACE.with_borrow_mut(|workspace| {
            let Workspace { scan, outcome } = workspace;
            let body = scan::scan(body, self.policies.probe(), scan)?;
            let _guard = BreaksOnPanic(&self.broken);
            let found = look(scan, &mut share, outcome);
            if found.is_ok() {
                self.table.insert_held(body, scan, share, hold, self.clock.now_ms(), outcome);
            }
            self.settle(outcome);
            if scan.facts.len() > WORKSPACE_SPANS_MAX {
                *workspace = Workspace::default();
            }
            found
        })
    }

    /// Passes kept spans on, charges them to budgets and adds what was done to the metrics; empties `outcome`.
    pub(super) fn settle(&self, outcome: &mut Outcome) {
        let spans = outcome.kept.iter().map(|kept| kept.fragment.span_count()).fold(0, u32::saturating_add);
        if spans > 0 {
            self.policies.kept(spans, self.clock.now_ms());
        }
        self.kept.push(&mut outcome.kept);
        let tally = &mut outcome.tally;
        for (verdict, traces) in [("kept", &tally.kept), ("dropped", &tally.vetoed)] {
            for &(policy, trigger, traces) in traces {
                let name = self.policies.names().get(usize::from(policy)).map_or("", String::as_str);
                self.metrics.decided(name, verdict, trigger.label(), traces);
            }
        }
        for trigger in Trigger::ALL {
            let traces = tally.dropped[trigger as usize];
            if traces > 0 {
                self.metrics.decided("", "dropped", trigger.label(), traces);
            }
        }
        let late = [
            ("kept", tally.late_kept_spans),
            ("dropped", tally.late_dropped_spans),
            ("rescued", tally.late_rescued_spans),
        ];
        for (verdict, spans) in late.into_iter().filter(|(_, spans)| *spans > 0) {
            self.metrics.late(verdict, spans);
        }
        for (verdict, ids) in [("kept", tally.forgotten_kept_ids), ("dropped", tally.forgotten_dropped_ids)] {
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
        tally.clear();
    }
}

/// Stands by while the table is changed.
struct BreaksOnPanic<'p>(&'p Notify);

impl Drop for BreaksOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

impl Intake for Pipeline {
    fn budget(&self) -> &Budget {
        self.table.budget()
    }

    fn admit(&self, bytes: usize) -> Option<Share> {
        WORKSPACE.with_borrow_mut(|workspace| {
            let _guard = BreaksOnPanic(&self.broken);
            let share = self.table.admit(bytes, self.clock.now_ms(), &mut workspace.outcome);
            self.settle(&mut workspace.outcome);
            share
        })
    }

    fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    fn accept(&self, body: Bytes, share: Share, hold: Option<Arc<Hold>>) -> Result<Accepted, AcceptError> {
        self.take(body, share, hold, |scan, share, outcome| {
            let has_room = self.table.admit_index(scan, share, self.clock.now_ms(), outcome);
            let accepted = Accepted { spans: scan.span_count() as u32, rejected: scan.rejected };
            if has_room { Ok(accepted) } else { Err(AcceptError::NoRoom) }
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
