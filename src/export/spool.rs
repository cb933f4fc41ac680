//! The spool: kept spans on disk that wait there while the sink is unavailable and memory is nearly used up.
//!
//! [`store::Store`] manages the directory of segment files ([`mod@format`]). Files are only appended to, except for one
//! byte of each record that is set when its spans are settled. [`Spool`] runs the store outside the export task: one
//! job at a time, on a blocking thread of the runtime. [`crate::export::delivery`] decides which batches go there and
//! when they come back.
//!
//! Invariants
//! - A span counts as spooled once its record is written. Until then, its batch is in memory. After it was read, it
//!   counts as in memory again, although the record stays on disk until it is settled. If the disk fails or is full,
//!   nothing is lost: batches stay in memory, and the memory budget makes the receiver refuse new spans.
//! - A record is delivered a second time only if the process ends before the record is marked as settled. After a kill,
//!   the sink may therefore receive spans twice.
//! - The contents of the files are checked by checksums. A bad record is counted, logged and skipped.
//! - A file is deleted only when every record in it is known and settled. A failed operation of the disk is tried again
//!   (`Store::maintain`): reading a file, marking a record, deleting a file. Records that cannot be read do not delay
//!   other records.
//! - Spans of a file that another program has deleted are counted as lost.
//! - The spool survives a kill without any fsync, because the operating system has the written bytes. Full segments,
//!   and the last segment at a graceful stop, are synced. Only a loss of power can destroy newer records. Spans that
//!   the journal has are synced before the journal forgets them, and are written again if the sync fails.

pub mod format;
mod index;
mod job;
mod maintenance;
mod open;
pub mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::index::RecordId;
use self::job::{JobError, JobResult, RETRY_INTERVAL, RetryState};
use self::store::Store;
use super::batch::{Batch, Form};
use crate::budget::Budget;
use crate::export::settings;
use crate::segment::directory::OpenError;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{DiskFault, RecoverySource};

/// The shortest time between two log lines which say that spans are spooled.
const SPOOLING_INTERVAL: Duration = Duration::from_secs(300);
/// Bytes of batches that one job writes, because a job cannot be interrupted.
pub const JOB_BYTES: usize = 16 << 20;

/// The contents of the spool in numbers. They can be read at any time, from any thread.
#[derive(Debug, Default)]
pub struct Level {
    spans: AtomicU64,
    bytes: AtomicU64,
    limit_bytes: u64,
}

impl Level {
    /// Returns the number of spans that wait on the disk and are not in memory.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Acquire)
    }

    /// Returns the bytes of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the largest number of bytes of the files, or 0 if there is no spool.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

/// A batch, with the time at which the last of its spans was kept.
#[derive(Clone, Debug)]
pub struct QueuedBatch {
    /// The batch.
    pub batch: Batch,
    /// May be earlier than the start of this machine.
    pub since: Instant,
}

/// The outcome of a job.
#[derive(Debug)]
pub enum JobOutcome {
    /// Batches were written.
    Written {
        /// The number of spans that are on the disk now.
        spans: u64,
        /// The batches that could not be written, in their order.
        left: Vec<QueuedBatch>,
    },
    /// A batch was read, to be delivered.
    Read(QueuedBatch),
    /// A record differs from what was written. This many spans are lost.
    Corrupt(u64),
    /// Another program has deleted files. This many spans are lost.
    Gone(u64),
    /// Nothing that concerns the delivery.
    Nothing,
}

impl JobOutcome {
    fn of_gone(spans: u64) -> Self {
        if spans > 0 { JobOutcome::Gone(spans) } else { JobOutcome::Nothing }
    }
}

/// The state of the spool at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// The number of spans that were read and are not settled. They wait on the disk again.
    pub unsettled_spans: u64,
    /// The number of spooled spans whose files are gone.
    pub gone_spans: u64,
}

/// A record that was read and is not settled.
#[derive(Debug)]
struct UnsettledRecord {
    spans_left: u32,
    bytes: usize,
}

/// The spool, as the export task uses it.
#[derive(Debug)]
pub struct Spool {
    /// `None` while a job uses the store.
    store: Option<Store>,
    job: Option<JoinHandle<JobResult>>,
    unsettled: HashMap<RecordId, UnsettledRecord>,
    /// Settled records that the next job marks.
    done: Vec<RecordId>,
    writing: RetryState,
    reading: RetryState,
    maintaining: RetryState,
    /// The time of the last log line which says that spans are spooled.
    spooling_logged: Option<Instant>,
    level: Arc<Level>,
    budget: Budget,
    metrics: Arc<Metrics>,
}

impl Spool {
    /// Opens the directory of `settings` for batches of `form`. Its index in memory is charged to `budget`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        settings: &settings::SpoolSettings,
        form: Form,
        budget: &Budget,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let (store, spans) = Store::open(settings, form, budget, metrics)?;
        metrics.recovered(RecoverySource::Spool, spans);
        if spans > 0 {
            tracing::info!(spans, bytes = store.bytes(), "The spool has spans of an earlier process.");
        }
        let level = Level { spans: spans.into(), bytes: store.bytes().into(), limit_bytes: settings.max_bytes };
        Ok(Spool {
            store: Some(store),
            job: None,
            unsettled: HashMap::new(),
            done: Vec::new(),
            writing: RetryState::default(),
            reading: RetryState::default(),
            maintaining: RetryState::default(),
            spooling_logged: None,
            level: Arc::new(level),
            budget: budget.clone(),
            metrics: Arc::clone(metrics),
        })
    }

    /// Returns the contents in numbers.
    #[must_use]
    pub fn level(&self) -> Arc<Level> {
        Arc::clone(&self.level)
    }

    /// Returns the bytes of the batches that were read and are not settled.
    #[must_use]
    pub fn unsettled_bytes(&self) -> usize {
        self.unsettled.values().map(|unsettled| unsettled.bytes).sum()
    }

    /// Returns true if a job is running.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Returns true if a job can write now.
    #[must_use]
    pub fn can_write(&self, now: Instant) -> bool {
        self.store.is_some() && self.writing.may_try(now)
    }

    /// Returns the time of the next attempt after a failed operation.
    #[must_use]
    pub fn next_attempt(&self, now: Instant) -> Option<Instant> {
        let states = [&self.writing, &self.maintaining].into_iter().filter_map(|state| state.retry_at);
        states.filter(|&retry_at| retry_at > now).min().filter(|_| self.store.is_some())
    }

    /// Starts to write `batches`, about [`JOB_BYTES`] at most. No job may be running.
    pub fn write(&mut self, batches: Vec<QueuedBatch>, now: Instant) {
        debug_assert!(self.store.is_some(), "the batches would be lost");
        self.start(move |store, errors| job::write(store, batches, now, errors));
    }

    /// Starts to read the oldest batch of the `wanted` projects. Returns false if none can be read now.
    pub fn read(&mut self, wanted: impl Fn(&Arc<str>) -> bool + Send + 'static) -> bool {
        let may = self.store.as_ref().is_some_and(|store| store.has_waiting(&wanted));
        if may {
            let budget = self.budget.clone();
            self.start(move |store, errors| job::read(store, wanted, &budget, errors));
        }
        may
    }

    /// Starts to repeat operations that failed earlier. Returns false if there are none, or if it is too early.
    pub fn maintain(&mut self, now: Instant) -> bool {
        let is_due = self.maintaining.may_try(now) && self.store.as_ref().is_some_and(Store::is_unfinished);
        if is_due {
            self.maintaining.retry_at = Some(now + RETRY_INTERVAL);
            let metrics = Arc::clone(&self.metrics);
            self.start_counting(move |store, errors| job::maintain(store, &metrics, errors));
        }
        is_due
    }

    /// Starts to mark settled records, if there are any and no job is running.
    pub fn mark_settled(&mut self) {
        if !self.done.is_empty() {
            self.start(|_, _| JobOutcome::Nothing);
        }
    }

    /// Records that the spans of `batch` are exported, or dropped and counted. It may be a part of a batch that was
    /// read.
    pub fn settled(&mut self, batch: &Batch) {
        let Some((id, unsettled)) = batch.record().and_then(|id| Some((id, self.unsettled.get_mut(&id)?))) else {
            return;
        };
        unsettled.spans_left = unsettled.spans_left.saturating_sub(batch.span_count());
        if unsettled.spans_left == 0 {
            self.unsettled.remove(&id);
            self.done.push(id);
        }
    }

    /// Marks settled records and syncs the files at the end of the process. Spans that were read and are not settled
    /// wait on the disk again.
    pub async fn close(mut self) -> CloseReport {
        debug_assert!(self.job.is_none(), "its outcome would be lost");
        self.start(|store, errors| {
            errors.extend(store.sync().err().map(JobError::Write));
            JobOutcome::of_gone(store.forget_gone())
        });
        let outcome = self.finished().await;
        let is_there = |id: RecordId| self.store.as_ref().is_some_and(|store| store.has(id));
        let unsettled = self
            .unsettled
            .iter()
            .filter(|(id, _)| is_there(**id))
            .map(|(_, unsettled)| u64::from(unsettled.spans_left));
        let unsettled_spans = unsettled.sum();
        self.level.spans.fetch_add(unsettled_spans, Ordering::AcqRel);
        let gone_spans = if let JobOutcome::Gone(spans) = outcome { spans } else { 0 };
        CloseReport { unsettled_spans, gone_spans }
    }

    fn start(&mut self, work: impl FnOnce(&mut Store, &mut Vec<JobError>) -> JobOutcome + Send + 'static) {
        self.start_counting(|store, errors| (work(store, errors), 0));
    }

    /// Starts a job that also returns a number of spans that were found.
    fn start_counting(
        &mut self,
        work: impl FnOnce(&mut Store, &mut Vec<JobError>) -> (JobOutcome, u64) + Send + 'static,
    ) {
        let Some(mut store) = self.store.take() else { return };
        let done = std::mem::take(&mut self.done);
        self.job = Some(tokio::task::spawn_blocking(move || {
            let mut errors = Vec::new();
            for id in done {
                errors.extend(store.done(id).err().map(JobError::Cleanup));
            }
            let (outcome, found_spans) = work(&mut store, &mut errors);
            JobResult { store, outcome, errors, found_spans }
        }));
    }

    /// Waits until the running job has ended. Waits forever if there is none. The future can be dropped at any time
    /// without a loss.
    ///
    /// # Panics
    /// If the job panicked.
    pub async fn finished(&mut self) -> JobOutcome {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let ended = job.await;
        self.job = None;
        match ended {
            Ok(ended) => self.end(ended, Instant::now()),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    fn end(&mut self, ended: JobResult, now: Instant) -> JobOutcome {
        let JobResult { store, outcome, errors, found_spans } = ended;
        self.level.bytes.store(store.bytes(), Ordering::Relaxed);
        self.found(found_spans);
        if !store.is_unfinished() {
            self.maintaining.worked();
        } else if self.maintaining.may_try(now) {
            self.maintaining.retry_at = Some(now + RETRY_INTERVAL);
        }
        self.store = Some(store);
        match &outcome {
            JobOutcome::Written { spans, left } => {
                self.level.spans.fetch_add(*spans, Ordering::AcqRel);
                if left.is_empty() {
                    self.writing.worked();
                }
                self.log_spooling(now);
            }
            JobOutcome::Read(QueuedBatch { batch, .. }) => {
                self.reading.worked();
                self.level.spans.fetch_sub(u64::from(batch.span_count()), Ordering::AcqRel);
                let unsettled = UnsettledRecord { spans_left: batch.span_count(), bytes: batch.message().len() };
                self.unsettled.extend(batch.record().map(|id| (id, unsettled)));
            }
            JobOutcome::Corrupt(spans) | JobOutcome::Gone(spans) => {
                self.metrics.spool_fault(DiskFault::Corrupt);
                self.level.spans.fetch_sub(*spans, Ordering::AcqRel);
            }
            JobOutcome::Nothing => {}
        }
        for error in errors {
            self.report_error(error, now);
        }
        outcome
    }

    /// Records spans of an earlier process that could not be read before.
    fn found(&mut self, spans: u64) {
        if spans > 0 {
            self.metrics.recovered(RecoverySource::Spool, spans);
            self.level.spans.fetch_add(spans, Ordering::AcqRel);
            tracing::info!(spans, "The spool has spans of an earlier process that could not be read before.");
        }
    }

    fn log_spooling(&mut self, now: Instant) {
        if self.spooling_logged.is_none_or(|logged| now - logged >= SPOOLING_INTERVAL) {
            self.spooling_logged = Some(now);
            let (spans, bytes) = (self.level.spans(), self.level.bytes());
            tracing::info!(spans, bytes, "Kept spans that memory has no room for wait in the spool.");
        }
    }

    fn report_error(&mut self, error: JobError, now: Instant) {
        let kind = match error {
            JobError::Full => {
                let full = "The spool is full (export.spool.max_bytes); kept spans wait in memory.";
                return self.writing.failed(now, full, "");
            }
            JobError::Write(cause) => {
                self.writing.failed(now, "The spool cannot be written; kept spans wait in memory.", cause);
                DiskFault::Write
            }
            JobError::Read(cause) => {
                self.reading.report(
                    now,
                    "A part of the spool cannot be read; its spans wait, and the others are delivered.",
                    cause,
                );
                DiskFault::Read
            }
            JobError::Cleanup(cause) => {
                let left = "Files of the spool cannot be changed or deleted: they take up room, and what was delivered from \
                            them would be delivered again after a restart.";
                self.maintaining.report(now, left, cause);
                DiskFault::Write
            }
        };
        self.metrics.spool_fault(kind);
    }
}

#[cfg(test)]
mod tests;
