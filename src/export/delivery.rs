//! Delivers batches: several calls at a time, and a queue of waiting batches in memory for each project.
//!
//! Invariants
//! - A batch leaves only when the sink has stored it, or has refused it down to a single span. It is never dropped
//!   because too many batches wait. The batches hold shares of the memory budget, so the receiver refuses new spans
//!   first.
//! - Before that, the oldest batches go to the disk and come back in order, if there is a [`Spool`] (`spill`).
//! - If the operator sets `export.give_up_after`, a batch that the sink does not accept is dropped at that age.
//! - While the calls of a project fail, one call at a time tests whether the sink accepts them again. The waits between
//!   these calls grow. The first answer ends this.
//! - Projects whose calls get no answer or fail, and projects without any successful call, do not use the call slots of
//!   the other projects.
//! - With any amount of traffic, the calls of a project stay below the quota of the sink (`pace`).
//! - A batch that fails moves to the end of its queue, so that a batch that cannot succeed does not block the others.

mod alarm;
mod pace;
mod project_queue;
mod project_queues;
mod spill;
mod suspects;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tonic::{Code, Status};

use self::pace::PROJECT_CALLS_MAX;
use self::project_queue::{Suspicion, Work};
use self::project_queues::{Class, ProjectQueues};
use super::advice::advice;
use super::batch::Batch;
use super::failure::Failure;
use super::ledger::{DropReason, Ledger};
use super::retry::{self, Action};
use super::sink::{Sink, Written, cut};
use super::spool::{JobOutcome, QueuedBatch, Spool};
use crate::budget::Budget;
use crate::export::settings;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::code_label;

/// The largest number of concurrent calls of all proven projects together.
const CALLS_MAX: usize = 2 * PROJECT_CALLS_MAX;
/// The largest number of concurrent calls of all projects whose calls fail. They have their own slots.
const PROBES_MAX: usize = 16;
/// The largest number of concurrent calls of all projects on trial. They have their own slots, whatever their number
/// is.
const TRIALS_MAX: usize = 16;
/// The time after which a call without an answer gives its slot to another call. Nine of ten calls are finished in a
/// second. A call that hangs until its deadline must not block other projects.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same during the shutdown, which has only seconds.
const STOPPING_PATIENCE: Duration = Duration::from_secs(1);
/// The largest number of concurrent calls of a class, including those without a slot, as a multiple of the slots.
const OVERDUE_MAX: usize = 3;
/// The longest wait between retries during the shutdown, which has only seconds.
const STOPPING_DELAY_MAX: Duration = Duration::from_millis(500);

impl Class {
    /// Returns the number of call slots.
    fn places(self) -> usize {
        match self {
            Class::Proven => CALLS_MAX,
            Class::Away => PROBES_MAX,
            Class::Trial => TRIALS_MAX,
        }
    }
}

/// A running call.
struct Call {
    work: Work,
    class: Class,
    since: Instant,
}

/// The result of a call, and its duration.
struct CallResult {
    result: Result<Written, Failure>,
    elapsed: Duration,
}

/// Delivers batches to a sink.
pub struct Delivery<S> {
    sink: Arc<S>,
    ledger: Arc<Ledger>,
    budget: Budget,
    give_up_after: Option<Duration>,
    queues: ProjectQueues,
    calls: JoinSet<CallResult>,
    under_way: HashMap<Id, Call>,
    spool: Option<Spool>,
    stopping: bool,
    alarms: Throttle,
    /// For log lines on batches that were too large.
    size_complaints: Throttle,
    /// For log lines on spans that were put aside.
    aside_complaints: Throttle,
}

impl<S: Sink> Delivery<S> {
    /// Creates a delivery to `sink`. Spans are settled in `ledger`, and `spool` takes batches that do not fit into
    /// `budget`.
    #[must_use]
    pub fn new(
        sink: S,
        settings: &settings::Export,
        ledger: Arc<Ledger>,
        budget: Budget,
        spool: Option<Spool>,
    ) -> Self {
        let interval = pace::call_interval(sink.calls_per_minute());
        let own = settings.project.as_deref().map(Arc::from);
        let queues = ProjectQueues::new(settings.batch.clone(), interval, own, S::shown_project, budget.clone());
        Delivery {
            sink: Arc::new(sink),
            ledger,
            budget,
            give_up_after: Some(settings.give_up_after).filter(|age| !age.is_zero()),
            queues,
            calls: JoinSet::new(),
            under_way: HashMap::new(),
            spool,
            stopping: false,
            alarms: alarm::throttle(),
            size_complaints: Throttle::new(1, alarm::REMINDER_INTERVAL),
            aside_complaints: Throttle::new(1, alarm::REMINDER_INTERVAL),
        }
    }

    /// Adds `batch`, and starts its call if possible.
    pub fn push(&mut self, batch: Batch) {
        let now = Instant::now();
        let project = Arc::clone(batch.project());
        self.queues.with(&project, now, |queue| queue.push(QueuedBatch { batch, since: now }, true));
        self.start(now);
    }

    /// Returns true if there is a spool.
    #[must_use]
    pub fn has_spool(&self) -> bool {
        self.spool.is_some()
    }

    /// Returns true if no batch waits in memory and no call is running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queues.is_idle()
    }

    /// Starts the shutdown: every project is tried now, and from now on at short intervals.
    pub fn stop(&mut self) {
        self.stopping = true;
        let now = Instant::now();
        self.queues.hurry(now);
        self.start(now);
    }

    /// Waits until a call has ended or may start, or until a job of the spool has ended, and handles it. Waits forever
    /// if nothing of this can happen. The future can be dropped at any time without a loss.
    pub async fn progress(&mut self) {
        let now = Instant::now();
        self.drive_spool(now);
        let disk = self.spool.as_ref().and_then(|spool| spool.next_attempt(now));
        let ready = Class::ALL.into_iter().filter_map(|class| self.ready_at(class, now)).min();
        tokio::select! {
            Some(ended) = self.calls.join_next_with_id() => self.call_ended(ended),
            outcome = finished(&mut self.spool) => self.spool_ended(outcome, Instant::now()),
            () = sleep_until(ready), if ready.is_some() => {}
            () = sleep_until(disk), if disk.is_some() => {}
        }
        self.start(Instant::now());
    }

    fn patience(&self) -> Duration {
        if self.stopping { STOPPING_PATIENCE } else { PATIENCE }
    }

    /// Returns the number of running calls of this class, and the start times of those that have a slot.
    fn places(&self, class: Class, now: Instant) -> (usize, Vec<Instant>) {
        let calls = self.under_way.values().filter(|call| call.class == class).map(|call| call.since);
        (calls.clone().count(), calls.filter(|&since| now < since + self.patience()).collect())
    }

    /// Returns the time at which the next call of this class may start.
    fn ready_at(&self, class: Class, now: Instant) -> Option<Instant> {
        let ready = self.queues.ready_at(class)?;
        let (calls, placed) = self.places(class, now);
        if calls >= class.places() * OVERDUE_MAX {
            return None;
        }
        let free = if placed.len() < class.places() { now } else { *placed.iter().min()? + self.patience() };
        Some(ready.max(free))
    }

    /// Starts every call that can start now.
    fn start(&mut self, now: Instant) {
        for class in Class::ALL {
            let (calls, placed) = self.places(class, now);
            let room =
                class.places().saturating_sub(placed.len()).min((class.places() * OVERDUE_MAX).saturating_sub(calls));
            for _ in 0..room {
                let Some(work) = self.queues.start(class, now) else { break };
                self.call(work, class, now);
            }
        }
        self.ledger.waiting(self.queues.held_up(), self.queues.calls_limit_min());
    }

    fn call(&mut self, work: Work, class: Class, since: Instant) {
        let (sink, batch) = (Arc::clone(&self.sink), work.batch.clone());
        let call = self.calls.spawn(async move {
            let result = sink.write(&batch).await;
            CallResult { result, elapsed: since.elapsed() }
        });
        self.under_way.insert(call.id(), Call { work, class, since });
    }

    fn call_ended(&mut self, ended: Result<(Id, CallResult), JoinError>) {
        match ended {
            Ok((id, ended)) => {
                if let Some(call) = self.under_way.remove(&id) {
                    self.settle(call.work, ended);
                }
            }
            Err(error) if error.is_panic() => {
                // The panic is already logged. If an answer of the sink makes a call panic, only that call fails.
                if let Some(Call { work, .. }) = self.under_way.remove(&error.id()) {
                    let failure = Failure::connection(Status::internal("the call panicked"));
                    self.settle(work, CallResult { result: Err(failure), elapsed: Duration::ZERO });
                }
            }
            // The call was aborted. Its batch is still in `under_way`.
            Err(_) => {}
        }
    }

    /// Aborts all calls. The fate of their spans is unknown, so their batches wait again.
    async fn cut_off_calls(&mut self) {
        self.calls.abort_all();
        while let Some(ended) = self.calls.join_next_with_id().await {
            self.call_ended(ended);
        }
        let now = Instant::now();
        for Call { work, .. } in std::mem::take(&mut self.under_way).into_values() {
            self.queues.with(&Arc::clone(work.batch.project()), now, |queue| queue.cut_off(work));
        }
    }

    fn settle(&mut self, mut work: Work, CallResult { result, elapsed }: CallResult) {
        let code = result.as_ref().map_or_else(Failure::code, |_| Code::Ok);
        self.ledger.sink_call(code_label(code), elapsed);
        let now = Instant::now();
        let project = Arc::clone(work.batch.project());
        let failure = result.as_ref().err();
        let asked = failure.map_or(Action::Done, |failure| retry::action(failure, |code| self.sink.action(code)));
        let action = self.queues.with(&project, now, |queue| queue.ended(&mut work, failure, asked, elapsed, now));
        match (action, result) {
            (Action::Done, result) => {
                self.done(&work.batch, &result.unwrap_or_default());
                self.settled(&work.batch);
            }
            (action @ (Action::Search | Action::Halve), Err(failure)) => self.divide(&work, action, &failure, now),
            (action, Err(failure)) => self.retry(work, action, &failure, now),
            (_, Ok(_)) => {}
        }
    }

    /// Settles a batch that the sink accepted. Rejected spans must not be sent again (OTLP specification, "Partial
    /// Success").
    fn done(&self, batch: &Batch, written: &Written) {
        let rejected = written.rejected_spans.min(batch.span_count());
        if rejected > 0 {
            let detail = format!("of a batch that starts with {}: {}", batch.first_span_name(), cut(&written.message));
            self.ledger.dropped(DropReason::Refused, u64::from(rejected), detail);
        }
        self.ledger.exported(u64::from(batch.span_count() - rejected));
    }

    /// Divides a batch with a bad span, or a batch that is too large. This is repeated until the bad span is alone.
    fn divide(&mut self, work: &Work, action: Action, failure: &Failure, now: Instant) {
        let batch = &work.batch;
        if failure.is_size() {
            self.complain(batch, failure, now);
        }
        let is_single = batch.span_count() == 1;
        if is_single || (action == Action::Search && work.suspicion == Suspicion::RuleBroken) {
            let detail = format!("{} was refused: {failure}", batch.first_span_name());
            self.ledger.dropped(DropReason::Refused, u64::from(batch.span_count()), detail);
            self.settled(batch);
            if is_single && action == Action::Search {
                self.queues.with(batch.project(), now, |queue| queue.refused(batch, now));
            }
            return;
        }
        let parts = if action == Action::Search { self.search(work, failure) } else { work.divided() };
        self.queues.with(batch.project(), now, |queue| parts.into_iter().for_each(|part| queue.push_work(part)));
    }

    /// Returns the parts in which the bad spans of a refused batch are searched. Spans that the refusal names, or that
    /// break a rule of the sink, are separated from the others.
    fn search(&self, work: &Work, failure: &Failure) -> Vec<Work> {
        let named = suspects::named(failure, &work.batch.descriptions());
        if !named.is_empty() {
            return work.set_apart(&named, Suspicion::Named);
        }
        let breakers = self.sink.rule_breakers(&work.batch);
        if breakers.is_empty() { work.divided() } else { work.set_apart(&breakers, Suspicion::RuleBroken) }
    }

    /// Logs that a message was too large, at limited intervals.
    fn complain(&self, batch: &Batch, failure: &Failure, now: Instant) {
        if let Some(others) = self.size_complaints.pass(now) {
            let advice = advice(&*self.sink, failure, batch.project());
            let (project, bytes) = (S::shown_project(batch.project()), batch.encoded_len());
            tracing::warn!(
                project,
                bytes,
                others,
                advice,
                "A batch is too large for the sink or a proxy in front of it; it is sent in halves: {failure}"
            );
        }
    }

    /// Tells the journal and the spool that the spans of `batch` are exported or dropped.
    fn settled(&mut self, batch: &Batch) {
        batch.settle();
        if let Some(spool) = &mut self.spool {
            spool.settled(batch);
        }
    }

    fn retry(&mut self, work: Work, action: Action, failure: &Failure, now: Instant) {
        let delay_max = if self.stopping { STOPPING_DELAY_MAX } else { retry::DELAY_MAX };
        let (advice, give_up_after) = (advice(&*self.sink, failure, work.batch.project()), self.give_up_after);
        let (project, alarms) = (Arc::clone(work.batch.project()), &self.alarms);
        let batch = work.batch.clone();
        let (is_aside, given_up) = self.queues.with(&project, now, |queue| {
            let delay = retry::delay(action, queue.attempts(action), fastrand::f64()).min(delay_max);
            let is_aside = queue.failed(work, action, failure, now, delay);
            queue.alarm(failure, now, advice.as_deref(), alarms);
            (is_aside, give_up_after.map_or(Vec::new(), |age| queue.give_up(now, age)))
        });
        if is_aside && let Some(others) = self.aside_complaints.pass(now) {
            let (project, span, interval) =
                (S::shown_project(&project), batch.first_span_name(), project_queue::ASIDE_TIME);
            tracing::warn!(
                project,
                span,
                others,
                advice,
                "A span fails although others succeed; it is sent again every {interval:?}: {failure}"
            );
        }
        let spans = given_up.iter().map(|batch| u64::from(batch.span_count())).sum();
        if spans > 0 {
            let detail = format!("not accepted within export.give_up_after; last answer: {failure}");
            self.ledger.dropped(DropReason::GaveUp, spans, detail);
        }
        given_up.iter().for_each(|batch| self.settled(batch));
    }
}

async fn finished(spool: &mut Option<Spool>) -> JobOutcome {
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
