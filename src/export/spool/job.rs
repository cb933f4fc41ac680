//! What is done to the store off the export task, and what is made of its failures.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::store::{AppendError, Store, Stored};
use super::{Aged, Outcome};
use crate::export::batch::Batch;
use crate::tail::budget::Budget;

/// After a failure, or when it is full, the disk is left alone for this long.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The log repeats at this interval that the disk fails or is full.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// What hinders a job.
#[derive(Debug)]
pub(super) enum Trouble {
    Full,
    Write(io::Error),
    Read(io::Error),
}

/// What a job gives back.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) store: Store,
    pub(super) outcome: Outcome,
    pub(super) troubles: Vec<Trouble>,
}

/// Appends the batches as far as that is possible.
pub(super) fn write(store: &mut Store, batches: Vec<Aged>, now: Instant, troubles: &mut Vec<Trouble>) -> Outcome {
    let now_unix_ms = now_unix_ms();
    let (mut spans, mut journalled) = (0, Vec::new());
    let mut left = batches.into_iter();
    while let Some(Aged { batch, since }) = left.as_slice().first() {
        let age_ms = now.saturating_duration_since(*since).as_millis() as u64;
        if let Err(error) = store.append(batch, now_unix_ms.saturating_sub(age_ms)) {
            troubles.push(match error {
                AppendError::Full => Trouble::Full,
                AppendError::Disk(cause) => Trouble::Write(cause),
            });
            break;
        }
        spans += u64::from(batch.span_count());
        journalled.extend(left.next().map(|aged| aged.batch).filter(Batch::is_journalled));
    }
    // What the journal forgets must outlive a loss of power here.
    if !journalled.is_empty() {
        troubles.extend(store.sync().err().map(Trouble::Write));
        journalled.iter().for_each(Batch::settle);
    }
    Outcome::Written { spans, left: left.collect() }
}

/// Reads the oldest batch of a project that is `wanted`.
pub(super) fn read(
    store: &mut Store,
    wanted: impl Fn(&Arc<str>) -> bool,
    now: Instant,
    budget: &Budget,
    troubles: &mut Vec<Trouble>,
) -> Outcome {
    let stored = store.next(wanted).unwrap_or_else(|cause| {
        troubles.push(Trouble::Read(cause));
        None
    });
    let Some(Stored { id, project, span_count, since_unix_ms, message }) = stored else { return Outcome::Nothing };
    let Some(message) = message else {
        troubles.extend(store.done(id).err().map(Trouble::Write));
        return Outcome::Corrupt(span_count.into());
    };
    let age = Duration::from_millis(now_unix_ms().saturating_sub(since_unix_ms));
    let batch = Batch::new(store.form, project, message, span_count, budget).of_record(Some(id));
    Outcome::Read(Aged { batch, since: now.checked_sub(age).unwrap_or(now) })
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// One of the two ways, to the disk and back: whether it works.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// When it is tried again after a failure.
    pub(super) opens: Option<Instant>,
    /// When the log last said that it fails.
    logged: Option<Instant>,
}

impl Way {
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.opens.is_none_or(|opens| opens <= now)
    }

    pub(super) fn failed(&mut self, now: Instant, what: &str, cause: impl Display) {
        self.opens = Some(now + RETRY_INTERVAL);
        if self.logged.is_none_or(|logged| now - logged >= REMINDER_INTERVAL) {
            self.logged = Some(now);
            tracing::error!(%cause, "{what}");
        }
    }

    pub(super) fn worked(&mut self) {
        self.opens = None;
        if self.logged.take().is_some() {
            tracing::info!("The spool works again.");
        }
    }
}
