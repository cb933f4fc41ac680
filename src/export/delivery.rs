//! Batches on their way: several calls at a time, waiting batches in memory, one lane a project.
//!
//! Invariants
//! - A batch leaves by being stored, or by being refused down to a single span; never because too many wait. Their
//!   shares of the memory budget make the receiver refuse new spans first.
//! - A project whose calls fail is probed with one call at a time, after growing waits; the first answer resumes it.
//! - A batch that fails goes behind the others: one that cannot succeed must not stand in their way.

mod lane;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

use self::lane::{Lane, Work};
use super::batch::Batch;
use super::ledger::{DropReason, Ledger};
use super::retry::{self, Action};
use super::sink::{Sink, Written, cut};
use crate::tail::budget::Budget;
use crate::telemetry::metrics::code_label;

/// Calls of one project at a time. A call of 2,000 spans takes tenths of a second to seconds, so that eight carry
/// thousands of spans a second and stay far below the quota of 80 calls a second; more would only add to the memory
/// that unconfirmed batches take, and to what a sink in trouble has to bear.
const PROJECT_CALLS_MAX: usize = 8;
/// Calls of all projects at a time: a project whose calls hang until their deadline must leave room for the others.
const CALLS_MAX: usize = 2 * PROJECT_CALLS_MAX;
/// Longest wait between retries while the daemon stops: it has seconds to write what it holds.
const STOPPING_DELAY_MAX: Duration = Duration::from_millis(500);

/// A call that has ended.
struct Ended {
    work: Work,
    result: Result<Written, Status>,
    elapsed: Duration,
}

/// Delivers batches to a sink.
pub struct Delivery<S> {
    sink: Arc<S>,
    ledger: Arc<Ledger>,
    budget: Budget,
    /// The projects with batches, in no order.
    lanes: Vec<Lane>,
    /// The lane that is asked first when a call can start: they take turns.
    turn: usize,
    calls: JoinSet<Ended>,
    stopping: bool,
}

impl<S: Sink> Delivery<S> {
    /// Delivers to `sink`, settles in `ledger`. The bytes that are on the wire count in `budget` as well.
    #[must_use]
    pub fn new(sink: S, ledger: Arc<Ledger>, budget: Budget) -> Self {
        let (sink, calls) = (Arc::new(sink), JoinSet::new());
        Delivery { sink, ledger, budget, lanes: Vec::new(), turn: 0, calls, stopping: false }
    }

    /// Takes over `batch`, and starts its call if one can start now.
    pub fn push(&mut self, batch: Batch) {
        self.lane(batch.project()).push(batch);
        self.start(Instant::now());
    }

    /// Whether nothing waits and nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The daemon stops: every project is tried now, and from here on at short intervals.
    pub fn stop(&mut self) {
        self.stopping = true;
        let now = Instant::now();
        self.lanes.iter_mut().for_each(|lane| lane.hurry(now));
        self.start(now);
    }

    /// Waits until a call has ended or a project may be probed, and acts on it. Without either it waits forever.
    /// Nothing is lost if the future is dropped.
    ///
    /// # Panics
    /// If a call panicked.
    pub async fn progress(&mut self) {
        let can_start = self.calls.len() < CALLS_MAX;
        let probe = self.lanes.iter().filter(|_| can_start).filter_map(Lane::next_probe).min();
        tokio::select! {
            Some(ended) = self.calls.join_next() => match ended {
                Ok(ended) => self.settle(ended),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // Calls are aborted only by dropping the whole delivery.
                Err(_) => {}
            },
            () = sleep_until(probe), if probe.is_some() => {}
            else => std::future::pending().await,
        }
        self.start(Instant::now());
    }

    fn lane(&mut self, project: &Arc<str>) -> &mut Lane {
        let at = self.lanes.iter().position(|lane| lane.project() == project).unwrap_or_else(|| {
            self.lanes.push(Lane::new(Arc::clone(project)));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// Starts every call that can start now.
    fn start(&mut self, now: Instant) {
        while self.calls.len() < CALLS_MAX {
            let Some(work) = self.next_work(now) else { return };
            let sink = Arc::clone(&self.sink);
            // The transport makes a copy of the message.
            let on_the_wire = self.budget.force(work.batch.encoded_len());
            self.calls.spawn(async move {
                let started = Instant::now();
                let result = sink.write(&work.batch).await;
                drop(on_the_wire);
                Ended { work, result, elapsed: started.elapsed() }
            });
        }
    }

    fn next_work(&mut self, now: Instant) -> Option<Work> {
        let count = self.lanes.len();
        let (at, work) = (0..count)
            .map(|i| (self.turn + i) % count)
            .find_map(|at| self.lanes[at].start(now).map(|work| (at, work)))?;
        self.turn = at + 1;
        Some(work)
    }

    fn settle(&mut self, Ended { mut work, result, elapsed }: Ended) {
        let (written, status) = result.map_or_else(|status| (Written::default(), status), |ok| (ok, Status::ok("")));
        self.ledger.sink_call(code_label(status.code()), elapsed);
        match self.lane(work.batch.project()).ended(&mut work, &status, Instant::now()) {
            Action::Done => self.done(&work.batch, &written),
            Action::Bisect => self.bisect(&work, &status),
            action => self.retry(work, action, &status),
        }
        self.lanes.retain(|lane| !lane.is_idle());
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
    fn bisect(&mut self, work: &Work, status: &Status) {
        let batch = &work.batch;
        if let Some((left, right)) = batch.halves() {
            let lane = self.lane(batch.project());
            lane.push_part(left, work.blamed_since);
            lane.push_part(right, work.blamed_since);
        } else {
            let detail = format!("{} was refused: {}", batch.first_span_name(), reason(status));
            self.ledger.dropped(DropReason::Refused, u64::from(batch.span_count()), detail);
        }
    }

    fn retry(&mut self, work: Work, action: Action, status: &Status) {
        let stopping = self.stopping;
        let lane = self.lane(work.batch.project());
        let delay = retry::delay(action, lane.attempts(), fastrand::f64());
        let delay = if stopping { delay.min(STOPPING_DELAY_MAX) } else { delay };
        let delay = delay.max(retry::retry_info(status).unwrap_or_default());
        lane.failed(work, Instant::now(), delay, status);
    }
}

/// A server's reason, cut to what a log line can bear.
fn reason(status: &Status) -> String {
    format!("{}: {}", code_label(status.code()), cut(status.message()))
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests;
