//! Batches on their way: several calls at a time, waiting batches in memory, one lane a project.
//!
//! Invariants
//! - A batch leaves by being stored, or by being refused down to a single span; never because too many wait. Their
//!   shares of the memory budget make the receiver refuse new spans first.
//! - Before that the oldest go to the disk and come back in order, if there is a [`Spool`] (`spill`).
//! - A batch that nobody takes leaves by its age as well, if the operator says so (`cloud_trace.give_up_after`).
//! - A project whose calls fail is probed with one call at a time, after growing waits; the first answer resumes it.
//! - Whatever the traffic, the calls of a project stay below its quota (`pace`).
//! - A batch that fails goes behind the others: one that cannot succeed must not stand in their way.

mod alarm;
mod lane;
mod pace;
mod spill;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tonic::Status;

use self::lane::{Lane, Work};
use self::pace::PROJECT_CALLS_MAX;
use super::batch::Batch;
use super::ledger::{DropReason, Ledger};
use super::retry::{self, Action};
use super::sink::{Sink, Written, cut};
use super::spool::{Aged, Outcome, Spool};
use crate::config::settings;
use crate::tail::budget::Budget;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::code_label;

/// Calls of all projects at a time: a project whose calls hang until their deadline must leave room for the others.
const CALLS_MAX: usize = 2 * PROJECT_CALLS_MAX;
/// Projects whose pace is remembered though nothing of them waits.
const LANES_KEPT_MAX: usize = 64;
/// Longest wait between retries while the daemon stops: it has seconds to write what it holds.
const STOPPING_DELAY_MAX: Duration = Duration::from_millis(500);

/// A call that has ended.
struct Ended {
    result: Result<Written, Status>,
    elapsed: Duration,
}

/// Delivers batches to a sink.
pub struct Delivery<S> {
    sink: Arc<S>,
    ledger: Arc<Ledger>,
    budget: Budget,
    /// As much as batches that wait are joined to.
    limits: settings::Batch,
    give_up_after: Option<Duration>,
    /// The projects with batches, and those that had some lately.
    lanes: Vec<Lane>,
    /// The lane that is asked first when a call can start: they take turns.
    turn: usize,
    calls: JoinSet<Ended>,
    /// The batches of the calls.
    under_way: HashMap<Id, Work>,
    spool: Option<Spool>,
    stopping: bool,
    alarms: Arc<Throttle>,
}

impl<S: Sink> Delivery<S> {
    /// Delivers to `sink`, settles in `ledger`, and keeps in `spool` what does not fit into `budget`, in which the bytes
    /// that are on the wire count as well.
    #[must_use]
    pub fn new(
        sink: S,
        settings: &settings::CloudTrace,
        ledger: Arc<Ledger>,
        budget: Budget,
        spool: Option<Spool>,
    ) -> Self {
        Delivery {
            sink: Arc::new(sink),
            ledger,
            budget,
            limits: settings.batch.clone(),
            give_up_after: Some(settings.give_up_after).filter(|age| !age.is_zero()),
            lanes: Vec::new(),
            turn: 0,
            calls: JoinSet::new(),
            under_way: HashMap::new(),
            spool,
            stopping: false,
            alarms: Arc::new(alarm::throttle()),
        }
    }

    /// Takes over `batch`, and starts its call if one can start now.
    pub fn push(&mut self, batch: Batch) {
        let now = Instant::now();
        self.lane(&Arc::clone(batch.project()), now).push(Aged { batch, since: now }, true);
        self.start(now);
    }

    /// Whether there is a spool.
    #[must_use]
    pub fn has_spool(&self) -> bool {
        self.spool.is_some()
    }

    /// Whether nothing waits in memory and no call is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(Lane::is_idle)
    }

    /// The daemon stops: every project is tried now, and from here on at short intervals.
    pub fn stop(&mut self) {
        self.stopping = true;
        let now = Instant::now();
        self.lanes.iter_mut().for_each(|lane| lane.hurry(now));
        self.start(now);
    }

    /// Waits until a call has ended or may start, or the spool has done something, and acts on it. Without any of it it
    /// waits forever.
    /// Nothing is lost if the future is dropped.
    ///
    /// # Panics
    /// If a call panicked.
    pub async fn progress(&mut self) {
        let now = Instant::now();
        self.tend_spool(now);
        let disk = self.spool.as_ref().and_then(|spool| spool.next_attempt(now));
        let can_start = self.calls.len() < CALLS_MAX;
        let ready = self.lanes.iter().filter(|_| can_start).filter_map(Lane::ready_at).min();
        tokio::select! {
            Some(ended) = self.calls.join_next_with_id() => self.call_ended(ended),
            outcome = finished(&mut self.spool) => self.spool_ended(outcome, Instant::now()),
            () = sleep_until(ready), if ready.is_some() => {}
            () = sleep_until(disk), if disk.is_some() => {}
        }
        self.start(Instant::now());
    }

    fn lane(&mut self, project: &Arc<str>, now: Instant) -> &mut Lane {
        let at = self.lanes.iter().position(|lane| lane.project() == project).unwrap_or_else(|| {
            if self.lanes.len() >= LANES_KEPT_MAX {
                self.lanes.retain(|lane| !lane.is_forgettable(now));
            }
            self.lanes.push(Lane::new(Arc::clone(project), self.limits.clone(), now));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// Starts every call that can start now.
    fn start(&mut self, now: Instant) {
        while self.calls.len() < CALLS_MAX {
            let Some(work) = self.next_work(now) else { break };
            let sink = Arc::clone(&self.sink);
            // The transport makes a copy of the message.
            let on_the_wire = self.budget.force(work.batch.encoded_len());
            let batch = work.batch.clone();
            let call = self.calls.spawn(async move {
                let started = Instant::now();
                let result = sink.write(&batch).await;
                drop(on_the_wire);
                Ended { result, elapsed: started.elapsed() }
            });
            self.under_way.insert(call.id(), work);
        }
        self.observe();
    }

    /// The lanes as metrics.
    fn observe(&self) {
        let held_up = self.lanes.iter().filter_map(Lane::held_up);
        let limits = self.lanes.iter().filter(|lane| !lane.is_idle()).map(Lane::calls_limit);
        self.ledger.lanes(held_up, limits.min());
    }

    fn next_work(&mut self, now: Instant) -> Option<Work> {
        let count = self.lanes.len();
        let (at, work) = (0..count)
            .map(|i| (self.turn + i) % count)
            .find_map(|at| self.lanes[at].start(now, &self.budget).map(|work| (at, work)))?;
        self.turn = at + 1;
        Some(work)
    }

    fn call_ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        match ended {
            Ok((id, ended)) => {
                if let Some(work) = self.under_way.remove(&id) {
                    self.settle(work, ended);
                }
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Cut off; its batch is still under way.
            Err(_) => {}
        }
    }

    /// Ends every call now: what became of its spans is not known, so that they wait again.
    async fn cut_off_calls(&mut self) {
        self.calls.abort_all();
        while let Some(ended) = self.calls.join_next_with_id().await {
            self.call_ended(ended);
        }
        let now = Instant::now();
        for work in std::mem::take(&mut self.under_way).into_values() {
            self.lane(&Arc::clone(work.batch.project()), now).cut_off(work);
        }
    }

    fn settle(&mut self, mut work: Work, Ended { result, elapsed }: Ended) {
        let (written, status) = result.map_or_else(|status| (Written::default(), status), |ok| (ok, Status::ok("")));
        self.ledger.sink_call(code_label(status.code()), elapsed);
        let now = Instant::now();
        match self.lane(work.batch.project(), now).ended(&mut work, &status, elapsed, now) {
            Action::Done => {
                self.done(&work.batch, &written);
                self.settled(&work.batch);
            }
            Action::Bisect => self.bisect(&work, &status, now),
            action => self.retry(work, action, &status, now),
        }
    }

    /// Rejected spans must not be sent again (OTLP specification, "Partial Success").
    fn done(&self, batch: &Batch, written: &Written) {
        let rejected = written.rejected_spans.min(batch.span_count());
        if rejected > 0 {
            let detail = format!("of a batch that starts with {}: {}", batch.first_span_name(), cut(&written.message));
            self.ledger.dropped(DropReason::Refused, u64::from(rejected), detail);
        }
        self.ledger.exported(u64::from(batch.span_count() - rejected));
    }

    /// One bad span fails its batch: halve it until the bad one stands alone.
    fn bisect(&mut self, work: &Work, status: &Status, now: Instant) {
        let batch = &work.batch;
        if let Some(parts) = work.halves() {
            let lane = self.lane(batch.project(), now);
            parts.into_iter().for_each(|part| lane.push_work(part));
        } else {
            let detail = format!("{} was refused: {}", batch.first_span_name(), reason(status));
            self.ledger.dropped(DropReason::Refused, u64::from(batch.span_count()), detail);
            self.settled(batch);
        }
    }

    /// The spans of `batch` are exported or dropped: the journal and the spool may forget them.
    fn settled(&mut self, batch: &Batch) {
        batch.settle();
        if let Some(spool) = &mut self.spool {
            spool.settled(batch);
        }
    }

    fn retry(&mut self, work: Work, action: Action, status: &Status, now: Instant) {
        let delay_max = if self.stopping { STOPPING_DELAY_MAX } else { retry::DELAY_MAX };
        let (identity, give_up_after) = (self.sink.identity(), self.give_up_after);
        let alarms = Arc::clone(&self.alarms);
        let lane = self.lane(work.batch.project(), now);
        let delay = retry::delay(action, lane.attempts(action), fastrand::f64()).min(delay_max);
        lane.failed(work, action, status, now, delay);
        lane.alarm(status, now, identity.as_deref(), &alarms);
        let given_up = give_up_after.map_or(Vec::new(), |age| lane.give_up(now, age));
        let spans = given_up.iter().map(|batch| u64::from(batch.span_count())).sum();
        if spans > 0 {
            let detail = format!("not taken within cloud_trace.give_up_after; last answer: {}", reason(status));
            self.ledger.dropped(DropReason::GaveUp, spans, detail);
        }
        given_up.iter().for_each(|batch| self.settled(batch));
    }
}

/// A server's reason, cut to what a log line can bear.
fn reason(status: &Status) -> String {
    format!("{}: {}", code_label(status.code()), cut(status.message()))
}

async fn finished(spool: &mut Option<Spool>) -> Outcome {
    match spool {
        Some(spool) => spool.finished().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests;
