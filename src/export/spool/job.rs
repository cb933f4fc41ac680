//! What is done to the store off the export task, and what is made of its failures.

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

/// After a failure, or when it is full, the disk is left alone for this long.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// What hinders a job.
#[derive(Debug)]
pub(super) enum JobError {
    Full,
    Write(io::Error),
    Read(io::Error),
    /// Settled spans cannot be marked, or their files not be deleted.
    Cleanup(io::Error),
}

/// What a job gives back.
#[derive(Debug)]
pub(super) struct JobResult {
    pub(super) store: Store,
    pub(super) outcome: JobOutcome,
    pub(super) errors: Vec<JobError>,
    /// Spans of an earlier process that could not be read before, and wait from now on.
    pub(super) found_spans: u64,
}

/// Appends the batches as far as that is possible. Those that the journal has are settled there once they outlive a loss of
/// power here.
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
        // What the disk may not have stays in memory and in the journal.
        if let Some(first) = written.iter().position(|(id, _)| !store.is_synced(*id)) {
            store.take_back(written[first].0);
            left.splice(0..0, written.drain(first..).map(|(_, aged)| aged));
        }
        written.iter().for_each(|(_, aged)| aged.batch.settle());
    }
    let spans = written.iter().map(|(_, aged)| u64::from(aged.batch.span_count())).sum();
    JobOutcome::Written { spans, left }
}

/// Reads the oldest batch of a project that is `wanted`.
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

/// Tries again what the disk refused; returns the spans that were found, too.
pub(super) fn maintain(store: &mut Store, metrics: &Metrics, errors: &mut Vec<JobError>) -> (JobOutcome, u64) {
    let mut report = store.maintain(metrics);
    errors.append(&mut report.errors);
    (JobOutcome::of_gone(report.gone_spans), report.found_spans)
}

/// One of the ways of work on the disk: whether it works.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    /// When it is tried again after a failure.
    pub(super) retry_at: Option<Instant>,
    reminder: Reminder,
}

impl RetryState {
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|retry_at| retry_at <= now)
    }

    /// It has failed, and is left alone for a while.
    pub(super) fn failed(&mut self, now: Instant, what: &str, cause: impl Display) {
        self.retry_at = Some(now + RETRY_INTERVAL);
        self.report(now, what, cause);
    }

    /// Says that it has failed, if that is due.
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
