//! The batches of one project and whether its calls may start. Time is an argument.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::{PROJECT_CALLS_MAX, reason};
use crate::export::batch::Batch;
use crate::export::retry::{self, Action};

/// Failures in a row before the log says that a project is away: a single one is everyday life.
const AWAY_ATTEMPTS: u32 = 3;
/// The log repeats at this interval that a project is still away.
const REMINDER_INTERVAL: Duration = Duration::from_secs(300);
/// Failures of a batch, each after others of its project went through, until the fault is taken to be its own and it
/// is halved.
const STRIKES_MAX: u32 = 10;
/// The same for a single span, which is dropped then: no brown-out of the service may be taken for it.
pub(super) const BLAME_TIME_MIN: Duration = Duration::from_secs(600);

/// A batch to deliver.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Batch,
    /// The lane's closings when its call started: the answers to calls that started before a failure was known say
    /// nothing about what came after it.
    epoch: u64,
    /// See [`STRIKES_MAX`].
    strikes: u32,
    /// The lane's stored batches at the last strike.
    stored_at_strike: u64,
    /// When it, or the batch that it is a part of, had its first strike.
    pub(super) blamed_since: Option<Instant>,
}

/// A gate before the calls of a project that fail.
#[derive(Debug)]
struct Gate {
    opens: Instant,
    /// Failures in a row.
    attempts: u32,
    /// One call is under way to see whether the project is back.
    probing: bool,
}

/// The batches of one project.
#[derive(Debug)]
pub(super) struct Lane {
    project: Arc<str>,
    waiting: VecDeque<Work>,
    calls: usize,
    /// Batches stored so far.
    stored: u64,
    gate: Option<Gate>,
    epoch: u64,
    /// What the log last said about a project that is away, and when.
    away_logged: Option<(Action, Instant)>,
}

impl Lane {
    pub(super) fn new(project: Arc<str>) -> Self {
        Lane { project, waiting: VecDeque::new(), calls: 0, stored: 0, gate: None, epoch: 0, away_logged: None }
    }

    pub(super) fn project(&self) -> &Arc<str> {
        &self.project
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.calls == 0
    }

    /// Appends `batch`.
    pub(super) fn push(&mut self, batch: Batch) {
        self.push_part(batch, None);
    }

    /// Appends `batch`, a part of one that is blamed for failures.
    pub(super) fn push_part(&mut self, batch: Batch, blamed_since: Option<Instant>) {
        self.waiting.push_back(Work { batch, epoch: 0, strikes: 0, stored_at_strike: self.stored, blamed_since });
    }

    /// The next batch, if a call may start now.
    pub(super) fn start(&mut self, now: Instant) -> Option<Work> {
        if self.calls >= PROJECT_CALLS_MAX || self.gate.as_ref().is_some_and(|gate| gate.probing || gate.opens > now) {
            return None;
        }
        let mut work = self.waiting.pop_front()?;
        work.epoch = self.epoch;
        self.calls += 1;
        if let Some(gate) = &mut self.gate {
            gate.probing = true;
        }
        Some(work)
    }

    /// When the project may be probed, if that is what its batches wait for.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        let gate = self.gate.as_ref().filter(|gate| !gate.probing && !self.waiting.is_empty())?;
        Some(gate.opens)
    }

    /// Lets the project be probed at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(gate) = &mut self.gate {
            gate.opens = gate.opens.min(now);
        }
    }

    /// Takes note that the call of `work` ended with `status`: what is to be done with its batch.
    pub(super) fn ended(&mut self, work: &mut Work, status: &Status, now: Instant) -> Action {
        self.calls -= 1;
        let action = match retry::action(status.code()) {
            Action::Retry if self.strike_out(work, status, now) => Action::Bisect,
            action => action,
        };
        if matches!(action, Action::Done | Action::Bisect) && work.epoch == self.epoch {
            self.open_gate();
        }
        self.stored += u64::from(action == Action::Done);
        action
    }

    /// Whether the fault is taken to be the batch's own. Errors of the connection have a source, the service's have none.
    fn strike_out(&self, work: &mut Work, status: &Status, now: Instant) -> bool {
        let others_went_through = self.stored > work.stored_at_strike;
        if others_went_through && retry::blames_batch(status.code()) && status.source().is_none() {
            work.strikes += 1;
            work.stored_at_strike = self.stored;
            work.blamed_since.get_or_insert(now);
        }
        let blame_time = work.blamed_since.map_or(Duration::ZERO, |since| now - since);
        work.strikes >= STRIKES_MAX && (work.batch.span_count() > 1 || blame_time >= BLAME_TIME_MIN)
    }

    fn open_gate(&mut self) {
        self.gate = None;
        if self.away_logged.take().is_some() {
            tracing::info!(project = &*self.project, "Cloud Trace takes the spans of this project again");
        }
    }

    /// Failures in a row.
    pub(super) fn attempts(&self) -> u32 {
        self.gate.as_ref().map_or(0, |gate| gate.attempts)
    }

    /// Puts the batch of a call that failed behind the others, and closes the gate for `delay`, if it has not been
    /// closed since the call started.
    pub(super) fn failed(&mut self, work: Work, now: Instant, delay: Duration, status: &Status) {
        if work.epoch == self.epoch {
            self.epoch += 1;
            let attempts = self.attempts() + 1;
            self.gate = Some(Gate { opens: now + delay, attempts, probing: false });
            self.log_away(now, status);
        }
        self.waiting.push_back(work);
    }

    fn log_away(&mut self, now: Instant, status: &Status) {
        let action = retry::action(status.code());
        let due = match self.away_logged {
            None => action == Action::Hold || self.attempts() >= AWAY_ATTEMPTS,
            Some((logged, at)) => logged != action || now - at >= REMINDER_INTERVAL,
        };
        if due {
            self.away_logged = Some((action, now));
            let advice = retry::advice(status.code()).unwrap_or("they are tried again by themselves");
            let project = &*self.project;
            tracing::error!(
                project,
                advice,
                "Cloud Trace takes no spans of this project, they wait in memory: {}",
                reason(status)
            );
        }
    }
}
