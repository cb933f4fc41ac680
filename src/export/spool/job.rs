//! The jobs on the store that run outside the export task, and the handling of their errors.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::store::{AppendError, ReadError, Store, StoredBatch};
use super::{JobOutcome, QueuedBatch};
use crate::budget::Budget;
use crate::clock;
use crate::export::batch::Batch;
use crate::segment::reminder::Reminder;
use crate::telemetry::Metrics;

/// The time between attempts after a failure, or while the spool is full.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// An error of a job.
#[derive(Debug)]
pub(super) enum JobError {
    Full,
    Write(io::Error),
    Read(io::Error),
    /// Settled spans cannot be marked, or their files cannot be deleted.
    Cleanup(io::Error),
}

/// The result of a job.
#[derive(Debug)]
pub(super) struct JobResult {
    pub(super) store: Store,
    pub(super) outcome: JobOutcome,
    pub(super) errors: Vec<JobError>,
    /// The number of spans of an earlier process that could not be read before and wait from now on.
    pub(super) found_spans: u64,
}

/// Appends as many of the batches as possible. Batches that the journal has are settled there once the spool can
/// survive a loss of power with them.
pub(super) fn write(
    store: &mut Store,
    batches: Vec<QueuedBatch>,
    now: Instant,
    errors: &mut Vec<JobError>,
) -> JobOutcome {
    let now_unix_ms = clock::since_1970().as_millis() as u64;
    let mut written = Vec::new();
    let mut left = batches.into_iter();
    while let Some(QueuedBatch { batch, since }) = left.as_slice().first() {
        let age_ms = now.saturating_duration_since(*since).as_millis() as u64;
        match store.append(batch, *since, now_unix_ms.saturating_sub(age_ms)) {
            Ok(id) => written.extend(left.next().map(|aged| (id, aged))),
            Err(error) => {
                errors.push(match error {
                    AppendError::Full => JobError::Full,
                    AppendError::Disk(cause) => JobError::Write(cause),
                });
                break;
            }
        }
    }
    let mut left: Vec<QueuedBatch> = left.collect();
    if written.iter().any(|(_, aged)| aged.batch.is_journalled()) {
        errors.extend(store.sync().err().map(JobError::Write));
        // Batches that may not be on the disk stay in memory and in the journal.
        if let Some(first) = written.iter().position(|(id, _)| !store.is_synced(*id)) {
            store.take_back(written[first].0);
            left.splice(0..0, written.drain(first..).map(|(_, aged)| aged));
        }
        written.iter().for_each(|(_, aged)| aged.batch.settle());
    }
    let spans = written.iter().map(|(_, aged)| u64::from(aged.batch.span_count())).sum();
    JobOutcome::Written { spans, left }
}

/// Reads the oldest batch of the `wanted` projects.
pub(super) fn read(
    store: &mut Store,
    wanted: impl Fn(&Arc<str>) -> bool,
    budget: &Budget,
    errors: &mut Vec<JobError>,
) -> JobOutcome {
    let stored = match store.next(wanted) {
        Ok(stored) => stored,
        Err(ReadError::Gone(spans)) => return JobOutcome::Gone(spans),
        Err(ReadError::Disk(cause)) => {
            errors.push(JobError::Read(cause));
            None
        }
    };
    let Some(StoredBatch { id, project, span_count, since, message }) = stored else { return JobOutcome::Nothing };
    let Some(message) = message else {
        errors.extend(store.done(id).err().map(JobError::Cleanup));
        return JobOutcome::Corrupt(span_count.into());
    };
    let batch = Batch::new(store.form, project, message, span_count, budget).of_record(Some(id));
    JobOutcome::Read(QueuedBatch { batch, since })
}

/// Repeats operations that failed earlier. Also returns the number of spans that were found.
pub(super) fn maintain(store: &mut Store, metrics: &Metrics, errors: &mut Vec<JobError>) -> (JobOutcome, u64) {
    let mut report = store.maintain(metrics);
    errors.append(&mut report.errors);
    (JobOutcome::of_gone(report.gone_spans), report.found_spans)
}

/// The state of one kind of operation on the disk: whether it works, and the time of the next attempt.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    /// The time of the next attempt after a failure.
    pub(super) retry_at: Option<Instant>,
    reminder: Reminder,
}

impl RetryState {
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|retry_at| retry_at <= now)
    }

    /// Records a failure. The next attempt is made after [`RETRY_INTERVAL`].
    pub(super) fn failed(&mut self, now: Instant, what: &str, cause: impl Display) {
        self.retry_at = Some(now + RETRY_INTERVAL);
        self.report(now, what, cause);
    }

    /// Logs a failure, if a log line is due.
    pub(super) fn report(&mut self, now: Instant, what: &str, cause: impl Display) {
        if self.reminder.failed(now) {
            tracing::error!(%cause, "{what}");
        }
    }

    pub(super) fn worked(&mut self) {
        self.retry_at = None;
        if self.reminder.worked() {
            tracing::info!("The spool works again.");
        }
    }
}
