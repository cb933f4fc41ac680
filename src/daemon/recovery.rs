//! The journal in the daemon: opens it, reads back the requests that an earlier process left, and closes it.

mod suspects;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::suspects::{Advice, Suspects};
use super::pipeline::Pipeline;
use crate::budget::{Budget, Share};
use crate::journal::backlog::Unreleased;
use crate::journal::settings;
use crate::journal::{Backlog, Journal, OWNER, Writer};
use crate::receiver::RequestMemory;
use crate::sampling::PolicyNames;
use crate::segment::directory::OpenError;
use crate::telemetry::log::Throttle;
use crate::telemetry::metrics::{DiskFault, RecoverySource};
use crate::telemetry::{Health, Metrics};

/// The interval between two checks for room in memory, while memory is full.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);
/// The interval between two checks if the requests in work are finished.
const SUSPECTS_INTERVAL: Duration = Duration::from_millis(50);
/// The interval at which the log repeats that requests wait for room, while memory is full.
const WAITING_INTERVAL: Duration = Duration::from_secs(60);

static LARGE_LINES: Throttle = Throttle::new(5, WAITING_INTERVAL);

/// An open journal, with the requests to read back.
pub(super) struct Opened {
    pub(super) journal: Journal,
    writer: Writer,
    backlog: Backlog,
    suspects: Suspects,
}

impl Opened {
    /// Opens the journal, if one is configured.
    pub(super) fn open(
        settings: Option<&settings::JournalSettings>,
        policy_names: PolicyNames,
        budget: &Budget,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> Result<Option<Self>, OpenError> {
        let Some(settings) = settings else { return Ok(None) };
        let (journal, writer, backlog) = Journal::open(settings, policy_names, budget, metrics, health)?;
        let suspects = Suspects::open(OWNER.recovery_file(&settings.directory));
        Ok(Some(Opened { journal, writer, backlog, suspects }))
    }

    /// Returns the counter of the bytes to read back.
    pub(super) fn unread_bytes(&self) -> Arc<AtomicU64> {
        self.backlog.left_bytes()
    }

    /// Starts to read the requests back into `pipeline`, while senders send new requests. Call it before the receiver
    /// serves.
    pub(super) fn recover(mut self, pipeline: Arc<Pipeline>, metrics: Arc<Metrics>) -> Running {
        // From here on, late spans meet the verdicts of the earlier process.
        for (trace, keep) in self.backlog.take_kept() {
            pipeline.table.restore_kept(trace, keep);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let recovery = Recovery {
            backlog: self.backlog,
            suspects: self.suspects,
            journal: self.journal,
            body_bytes_max: body_bytes_max(pipeline.table.budget()),
            pipeline,
            metrics,
            stop: Arc::clone(&stop),
        };
        let task = tokio::task::spawn_blocking(|| recovery.run());
        Running { writer: self.writer, stop: Stop(stop), recovery: Some(task) }
    }
}

/// A flag that asks the recovery to end. Dropping it asks, too.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The journal of a running daemon.
pub(super) struct Running {
    writer: Writer,
    stop: Stop,
    /// The task that reads back; `None` once it has ended.
    recovery: Option<JoinHandle<()>>,
}

impl Running {
    /// Resolves with the cause if a thread has panicked.
    pub(super) async fn failed(&mut self) -> String {
        if let Some(recovery) = &mut self.recovery {
            let ended = recovery.await;
            self.recovery = None;
            if let Err(error) = ended {
                return error.to_string();
            }
        }
        self.writer.failed().await
    }

    /// Stops reading back. Unread requests wait for the next process. Waits until `deadline` for a disk that hangs.
    pub(super) async fn stop_recovery(&mut self, deadline: Instant) {
        self.stop.0.store(true, Ordering::Release);
        // The panic hook has reported a panic already.
        if let Some(recovery) = self.recovery.take()
            && timeout_at(deadline, recovery).await.is_err()
        {
            tracing::error!("The journal's disk hangs. Requests that are not read back wait for the next start.");
        }
    }

    pub(super) async fn close(self, deadline: Instant) {
        self.writer.close(deadline).await;
    }
}

/// Returns the length of the largest body that is read back: half of the memory that is left when the daemon starts.
/// The daemon accepts no larger bodies, so a larger one was accepted with another `memory.limit` or
/// `otlp.max_request_bytes`. If the recovery waited for room for it, all other traces would be decided early during the
/// wait, and the wait might never end.
fn body_bytes_max(budget: &Budget) -> usize {
    budget.limit_bytes().saturating_sub(budget.used_bytes()) / 2
}

/// The recovery, which runs on a thread that may block.
struct Recovery {
    backlog: Backlog,
    suspects: Suspects,
    journal: Journal,
    body_bytes_max: usize,
    pipeline: Arc<Pipeline>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Recovery {
    fn run(mut self) {
        if !self.backlog.is_empty() {
            self.read_all();
        }
        // Until the suspects are idle, a kill may still be the fault of a request that was read back.
        while !self.is_stopped() && !self.suspects.is_idle() {
            pause(SUSPECTS_INTERVAL);
        }
        self.suspects.end();
    }

    fn read_all(&mut self) {
        if let Some(processes) = self.suspects.killed() {
            tracing::warn!(
                processes,
                "Earlier processes were killed while they had requests of the journal. They are read back one by one."
            );
        }
        let left = self.backlog.left_bytes();
        tracing::info!(bytes = left.load(Ordering::Relaxed), "The journal has requests of an earlier process.");
        let mut spans = 0;
        while !self.is_stopped() {
            match self.backlog.next_request() {
                Ok(Some(request)) if request.body_len > self.body_bytes_max => self.leave_large(&request),
                Ok(Some(request)) => {
                    let Some(share) = self.turn(&request).and_then(|()| self.room(request.body_len)) else { continue };
                    spans += self.read_back(request, share);
                }
                Ok(None) => {
                    tracing::info!(spans, "All requests that an earlier process left in the journal are read back.");
                    return;
                }
                Err(cause) => {
                    self.metrics.journal_fault(DiskFault::Read);
                    let requests = self.backlog.take_unreadable();
                    tracing::error!(
                        %cause, requests = requests.len(),
                        "The rest of a segment of the journal cannot be read; it stays for the next start."
                    );
                    self.journal.leave(requests);
                }
            }
        }
        tracing::info!(
            spans,
            left_bytes = left.load(Ordering::Relaxed),
            "Stopped before all of the journal was read back."
        );
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Leaves a request that does not fit into the memory of this configuration to a process with another
    /// configuration.
    fn leave_large(&self, request: &Unreleased) {
        self.metrics.journal_fault(DiskFault::TooLarge);
        let (bytes, bytes_max) = (request.body_len, self.body_bytes_max);
        if let Some(others) = LARGE_LINES.pass(Instant::now()) {
            tracing::error!(
                bytes,
                bytes_max,
                others,
                "A request of the journal is too large for this memory.limit. It stays in the journal: raise memory.limit and \
                 restart."
            );
        }
        self.journal.leave(vec![request.sequence]);
    }

    /// Waits until the request may be taken. Returns `None` if it must not be taken, or if the recovery is asked to
    /// stop.
    fn turn(&mut self, request: &Unreleased) -> Option<()> {
        while !self.is_stopped() {
            match self.suspects.next(request.sequence) {
                Ok(Advice::Take) => return Some(()),
                Ok(Advice::Wait) => pause(SUSPECTS_INTERVAL),
                Ok(Advice::Drop) => {
                    self.metrics.journal_fault(DiskFault::Fatal);
                    tracing::error!(
                        bytes = request.body_len,
                        "Processes were killed repeatedly while they had only this request of the journal. It is lost."
                    );
                    // Dropping the hold releases the request.
                    drop(self.journal.hold(request.sequence));
                    return None;
                }
                Err(cause) => {
                    // A failing disk must not prevent the recovery.
                    self.metrics.journal_fault(DiskFault::Write);
                    tracing::warn!(%cause, "The list of requests that are being read back cannot be written.");
                    return Some(());
                }
            }
        }
        None
    }

    /// Waits for room in memory, deciding other traces early as for any request. Returns `None` if the recovery is
    /// asked to stop.
    fn room(&self, bytes: usize) -> Option<Share> {
        let mut told = Instant::now();
        while !self.is_stopped() {
            if let Some(share) = self.pipeline.admit(bytes) {
                return Some(share);
            }
            if told.elapsed() >= WAITING_INTERVAL {
                told = Instant::now();
                tracing::warn!(
                    bytes,
                    "Memory is full. Requests of the journal wait for room, and traces are decided early."
                );
            }
            pause(ROOM_INTERVAL);
        }
        None
    }

    /// Takes a request into the trace table, except for its settled spans. Returns the number of spans taken in.
    fn read_back(&mut self, request: Unreleased, share: Share) -> u64 {
        let body = match self.backlog.body(&request) {
            Ok(body) => body,
            Err(cause) => {
                self.metrics.journal_fault(DiskFault::Read);
                tracing::error!(%cause, "A request of the journal cannot be read; it stays for the next start.");
                self.journal.leave(vec![request.sequence]);
                return 0;
            }
        };
        // If the hold is dropped without use, it releases the request.
        let hold = self.journal.hold(request.sequence);
        let Some(body) = body else {
            self.metrics.journal_fault(DiskFault::Corrupt);
            tracing::error!(bytes = request.body_len, "A request of the journal is corrupt and lost.");
            return 0;
        };
        let body = self.suspects.watched(body);
        // A body at which this process panics must be released, or the next process would panic at it, too.
        let released = Arc::clone(&hold);
        let taken = catch_unwind(AssertUnwindSafe(|| self.pipeline.recover(body, share, hold, request.settled)));
        drop(released);
        let Ok(taken) = taken else {
            self.metrics.journal_fault(DiskFault::Corrupt);
            tracing::error!(bytes = request.body_len, "A request of the journal caused a panic, and is lost.");
            return 0;
        };
        // A body that is not a valid request was refused when it came, but the process ended before it noted that.
        let spans = taken.unwrap_or(0);
        self.metrics.recovered(RecoverySource::Journal, spans);
        spans
    }
}

#[expect(clippy::disallowed_methods, reason = "the recovery has a thread of its own, and nothing to do meanwhile")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests;
