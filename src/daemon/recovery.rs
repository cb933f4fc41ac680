//! The journal in the daemon: opens it, reads back what an earlier process left, closes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::pipeline::Pipeline;
use crate::config::settings;
use crate::journal::backlog::Unreleased;
use crate::journal::{Backlog, Journal, Writer};
use crate::receiver::Intake;
use crate::segment::directory::OpenError;
use crate::tail::budget::{Budget, Share};
use crate::telemetry::log::Throttle;
use crate::telemetry::{Health, Metrics};

/// While memory is full: when it is looked at again whether a request fits.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);
/// While memory is full, the log says at this interval that requests wait for room.
const WAITING_INTERVAL: Duration = Duration::from_secs(60);

static LARGE_LINES: Throttle = Throttle::new(5, WAITING_INTERVAL);

/// A journal that is open, with what is to be read back.
pub(super) struct Opened {
    pub(super) journal: Journal,
    writer: Writer,
    backlog: Backlog,
}

impl Opened {
    /// Opens the journal, if there is to be one.
    pub(super) fn open(
        settings: Option<&settings::Journal>,
        policy_names: &[String],
        budget: &Budget,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> Result<Option<Self>, OpenError> {
        let Some(settings) = settings else { return Ok(None) };
        let (journal, writer, backlog) = Journal::open(settings, policy_names, budget, metrics, health)?;
        Ok(Some(Opened { journal, writer, backlog }))
    }

    /// Bytes that are to be read back.
    pub(super) fn unread_bytes(&self) -> Arc<AtomicU64> {
        self.backlog.left_bytes()
    }

    /// Starts to read back what there is into `pipeline`, beside what senders send. Call it before they can.
    pub(super) fn recover(mut self, pipeline: Arc<Pipeline>, metrics: Arc<Metrics>) -> Running {
        // From here on late spans meet the verdicts of the earlier process.
        for (trace, keep) in self.backlog.take_kept() {
            pipeline.table.restore_kept(trace, keep);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let recovery = Recovery {
            backlog: self.backlog,
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

/// Asks the recovery to end; also when it is dropped.
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
    /// `None` once it has ended.
    recovery: Option<JoinHandle<()>>,
}

impl Running {
    /// Resolves if a thread has panicked.
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

    /// Reads nothing back any more: what is unread waits for the next process.
    pub(super) async fn stop_recovery(&mut self) {
        self.stop.0.store(true, Ordering::Release);
        if let Some(recovery) = self.recovery.take() {
            // A panic was reported by the panic hook.
            let _ = recovery.await;
        }
    }

    pub(super) async fn close(self, deadline: Instant) {
        self.writer.close(deadline).await;
    }
}

/// The largest body that is read back: half of the memory that is left when the daemon starts. The daemon takes no larger
/// ones, so a larger one was taken with another `memory.limit` or `otlp.max_request_bytes`. To wait for room for it would
/// decide all other traces early for as long as it waits, which may be for ever.
fn body_bytes_max(budget: &Budget) -> usize {
    budget.limit_bytes().saturating_sub(budget.used_bytes()) / 2
}

/// Reads back on a thread that may block.
struct Recovery {
    backlog: Backlog,
    journal: Journal,
    body_bytes_max: usize,
    pipeline: Arc<Pipeline>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Recovery {
    fn run(mut self) {
        if self.backlog.is_empty() {
            return;
        }
        let left = self.backlog.left_bytes();
        tracing::info!(bytes = left.load(Ordering::Relaxed), "The journal has requests of an earlier process.");
        let mut spans = 0;
        while !self.is_stopped() {
            match self.backlog.next_request() {
                Ok(Some(request)) if request.body_len > self.body_bytes_max => self.leave_large(&request),
                Ok(Some(request)) => {
                    let Some(share) = self.room(request.body_len) else { break };
                    spans += self.read_back(request, share);
                }
                Ok(None) => {
                    tracing::info!(spans, "What an earlier process left in the journal is read back.");
                    return;
                }
                Err(cause) => {
                    self.metrics.journal_fault("read");
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

    /// Leaves a request that this configuration has no memory for to a process with another one.
    fn leave_large(&self, request: &Unreleased) {
        self.metrics.journal_fault("too_large");
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

    /// Waits for room in memory, which it makes as any request does; `None` if it is asked to stop.
    #[expect(clippy::disallowed_methods, reason = "it has a thread of its own, and nothing to do before there is room")]
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
                    "Memory is full: requests of the journal wait for room, and traces are decided early."
                );
            }
            std::thread::sleep(ROOM_INTERVAL);
        }
        None
    }

    /// Takes a request into the trace table, but for what is settled; returns the number of its spans.
    fn read_back(&mut self, request: Unreleased, share: Share) -> u64 {
        let body = match self.backlog.body(&request) {
            Ok(body) => body,
            Err(cause) => {
                self.metrics.journal_fault("read");
                tracing::error!(%cause, "A request of the journal cannot be read; it stays for the next start.");
                self.journal.leave(vec![request.sequence]);
                return 0;
            }
        };
        // Dropped without a use, it releases the request.
        let hold = self.journal.hold(request.sequence);
        let Some(body) = body else {
            self.metrics.journal_fault("corrupt");
            tracing::error!(bytes = request.body_len, "A request of the journal is not what was written, and lost.");
            return 0;
        };
        // A body at which this process panics must not be met again by the next one, and so on for ever.
        let released = Arc::clone(&hold);
        let taken = catch_unwind(AssertUnwindSafe(|| self.pipeline.recover(body, share, hold, request.settled)));
        drop(released);
        let Ok(taken) = taken else {
            self.metrics.journal_fault("corrupt");
            tracing::error!(bytes = request.body_len, "A request of the journal cannot be taken in, and is lost.");
            return 0;
        };
        // A body that is no request was refused when it came; the process ended before that was noted.
        let spans = taken.unwrap_or(0);
        self.metrics.recovered("journal", spans);
        spans
    }
}
