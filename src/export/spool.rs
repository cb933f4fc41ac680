//! Kept spans on disk: where they wait when the sink is away and the memory is nearly used up.
//!
//! [`store::Store`] is the directory: segment files ([`mod@format`]) that only grow, but for one byte of each record that
//! is set when its spans are settled. [`Spool`] is the store off the export task: one job at a time, on a thread of
//! the runtime's that may block. [`crate::export::delivery`] decides what goes there and when it comes back.
//!
//! Invariants
//! - A span counts as spooled only when its record is written; until then its batch is in memory, and when it was read
//!   it counts there again, though the record stays until it is settled. A disk that fails or is full loses nothing:
//!   batches stay where they are, and the memory budget makes the receiver refuse new spans.
//! - A record is given out again only if the process ends before it is settled. What was settled in the moment before a
//!   kill may be delivered twice, which Cloud Trace tells by the spans' names.
//! - What is in the files is believed only as far as its checksums go: a bad record is counted, logged and skipped.
//! - A file is deleted only when every record in it is known and settled. What the disk refuses is tried again
//!   (`Store::tend`): to read a file, to mark a record, to delete a file. What cannot be read keeps nothing else
//!   from being delivered.
//! - Spans of a file that somebody else has deleted are counted as lost.
//! - The spool outlives a kill without any fsync: what a process wrote is the system's. Only a loss of power can take
//!   what is newer than the last full segment, as these, and the last one of a graceful stop, are synced. What the journal
//!   has is synced before the journal forgets it, and is written again if that fails.

pub mod format;
mod index;
mod job;
mod open;
pub mod store;
mod tend;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::index::RecordId;
use self::job::{Ended, RETRY_INTERVAL, Trouble, Way};
use self::store::Store;
use super::batch::{Batch, Form};
use crate::budget::Budget;
use crate::config::settings;
use crate::segment::directory::OpenError;
use crate::telemetry::Metrics;

/// The log says at most this often that spans are spooled.
const SPOOLING_INTERVAL: Duration = Duration::from_secs(300);
/// Batches on their way to the disk at a time, as a job cannot be interrupted.
pub const JOB_BYTES: usize = 16 << 20;

/// How much the spool holds. Read at any time, from anywhere.
#[derive(Debug, Default)]
pub struct Level {
    spans: AtomicU64,
    bytes: AtomicU64,
    limit_bytes: u64,
}

impl Level {
    /// Spans that wait on the disk and are not in memory.
    #[must_use]
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Acquire)
    }

    /// Bytes of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The most bytes of the files; 0 if there is no spool.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

/// A batch, and when the last of its spans was kept.
#[derive(Clone, Debug)]
pub struct Aged {
    /// The batch.
    pub batch: Batch,
    /// May be before this machine was started.
    pub since: Instant,
}

/// What a job has done.
#[derive(Debug)]
pub enum Outcome {
    /// So many spans are on the disk now; these batches are not.
    Written {
        /// Spans.
        spans: u64,
        /// In their order.
        left: Vec<Aged>,
    },
    /// A batch to deliver.
    Read(Aged),
    /// A record was not what was written: so many spans are lost.
    Corrupt(u64),
    /// Somebody else has deleted files: so many spans are lost.
    Gone(u64),
    /// Nothing that anybody waits for.
    Nothing,
}

impl Outcome {
    fn of_gone(spans: u64) -> Self {
        if spans > 0 { Outcome::Gone(spans) } else { Outcome::Nothing }
    }
}

/// What the spool leaves behind when it is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Spans that were read and are not settled: they wait on the disk again.
    pub unsettled_spans: u64,
    /// Spans that were spooled and whose files are gone.
    pub gone_spans: u64,
}

/// A record that was given out.
#[derive(Debug)]
struct Out {
    spans_left: u32,
    bytes: usize,
}

/// The spool, for the export task.
#[derive(Debug)]
pub struct Spool {
    /// Absent while a job has it.
    store: Option<Store>,
    job: Option<JoinHandle<Ended>>,
    out: HashMap<RecordId, Out>,
    /// Settled records, to be noted down by the next job.
    done: Vec<RecordId>,
    writing: Way,
    reading: Way,
    tending: Way,
    /// When the log last said that spans are spooled.
    spooling_logged: Option<Instant>,
    level: Arc<Level>,
    budget: Budget,
    metrics: Arc<Metrics>,
}

impl Spool {
    /// Opens the directory of `settings` for batches of `form`. What is in memory for it counts in `budget`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        settings: &settings::Spool,
        form: Form,
        budget: &Budget,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let (store, spans) = Store::open(settings, form, budget, metrics)?;
        metrics.recovered("spool", spans);
        if spans > 0 {
            tracing::info!(spans, bytes = store.bytes(), "The spool has spans of an earlier process.");
        }
        let level = Level { spans: spans.into(), bytes: store.bytes().into(), limit_bytes: settings.max_bytes };
        Ok(Spool {
            store: Some(store),
            job: None,
            out: HashMap::new(),
            done: Vec::new(),
            writing: Way::default(),
            reading: Way::default(),
            tending: Way::default(),
            spooling_logged: None,
            level: Arc::new(level),
            budget: budget.clone(),
            metrics: Arc::clone(metrics),
        })
    }

    /// How much it holds.
    #[must_use]
    pub fn level(&self) -> Arc<Level> {
        Arc::clone(&self.level)
    }

    /// Bytes of the batches that were read and are not settled.
    #[must_use]
    pub fn out_bytes(&self) -> usize {
        self.out.values().map(|out| out.bytes).sum()
    }

    /// Whether a job is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Whether a job can write now.
    #[must_use]
    pub fn can_write(&self, now: Instant) -> bool {
        self.store.is_some() && self.writing.is_open(now)
    }

    /// When a disk that is left alone may be tried again.
    #[must_use]
    pub fn next_attempt(&self, now: Instant) -> Option<Instant> {
        let ways = [&self.writing, &self.tending].into_iter().filter_map(|way| way.opens);
        ways.filter(|&opens| opens > now).min().filter(|_| self.store.is_some())
    }

    /// Starts to write `batches`, at most some [`JOB_BYTES`]. Call it only while no job is under way.
    pub fn write(&mut self, batches: Vec<Aged>, now: Instant) {
        debug_assert!(self.store.is_some(), "the batches would be lost");
        self.start(move |store, troubles| job::write(store, batches, now, troubles));
    }

    /// Starts to read the oldest batch of a project that is `wanted`; false if there is none that can be read now.
    pub fn read(&mut self, wanted: impl Fn(&Arc<str>) -> bool + Send + 'static) -> bool {
        let may = self.store.as_ref().is_some_and(|store| store.has_waiting(&wanted));
        if may {
            let budget = self.budget.clone();
            self.start(move |store, troubles| job::read(store, wanted, &budget, troubles));
        }
        may
    }

    /// Starts to try again what the disk refused earlier; false if there is nothing, or it is too early.
    pub fn tend(&mut self, now: Instant) -> bool {
        let is_due = self.tending.is_open(now) && self.store.as_ref().is_some_and(Store::is_unfinished);
        if is_due {
            self.tending.opens = Some(now + RETRY_INTERVAL);
            let metrics = Arc::clone(&self.metrics);
            self.start_counting(move |store, troubles| job::tend(store, &metrics, troubles));
        }
        is_due
    }

    /// Starts to note down what is settled, if there is anything and no job is under way.
    pub fn tidy(&mut self) {
        if !self.done.is_empty() {
            self.start(|_, _| Outcome::Nothing);
        }
    }

    /// The spans of `batch`, which may be a part of one that was read, are exported or counted as dropped.
    pub fn settled(&mut self, batch: &Batch) {
        let Some((id, out)) = batch.record().and_then(|id| Some((id, self.out.get_mut(&id)?))) else { return };
        out.spans_left = out.spans_left.saturating_sub(batch.span_count());
        if out.spans_left == 0 {
            self.out.remove(&id);
            self.done.push(id);
        }
    }

    /// Notes down what is settled and syncs the files, as the process stops. What was read and is not settled waits on
    /// the disk again.
    pub async fn close(mut self) -> Closed {
        debug_assert!(self.job.is_none(), "its outcome would be lost");
        self.start(|store, troubles| {
            troubles.extend(store.sync().err().map(Trouble::Write));
            Outcome::of_gone(store.forget_gone())
        });
        let outcome = self.finished().await;
        let is_there = |id: RecordId| self.store.as_ref().is_some_and(|store| store.has(id));
        let unsettled = self.out.iter().filter(|(id, _)| is_there(**id)).map(|(_, out)| u64::from(out.spans_left));
        let unsettled_spans = unsettled.sum();
        self.level.spans.fetch_add(unsettled_spans, Ordering::AcqRel);
        let gone_spans = if let Outcome::Gone(spans) = outcome { spans } else { 0 };
        Closed { unsettled_spans, gone_spans }
    }

    fn start(&mut self, work: impl FnOnce(&mut Store, &mut Vec<Trouble>) -> Outcome + Send + 'static) {
        self.start_counting(|store, troubles| (work(store, troubles), 0));
    }

    /// Starts a job that finds spans, too.
    fn start_counting(&mut self, work: impl FnOnce(&mut Store, &mut Vec<Trouble>) -> (Outcome, u64) + Send + 'static) {
        let Some(mut store) = self.store.take() else { return };
        let done = std::mem::take(&mut self.done);
        self.job = Some(tokio::task::spawn_blocking(move || {
            let mut troubles = Vec::new();
            for id in done {
                troubles.extend(store.done(id).err().map(Trouble::Tidy));
            }
            let (outcome, found_spans) = work(&mut store, &mut troubles);
            Ended { store, outcome, troubles, found_spans }
        }));
    }

    /// Waits until the job under way has ended; without one it waits forever. Nothing is lost if the future is dropped.
    ///
    /// # Panics
    /// If the job panicked.
    pub async fn finished(&mut self) -> Outcome {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let ended = job.await;
        self.job = None;
        match ended {
            Ok(ended) => self.end(ended, Instant::now()),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    fn end(&mut self, ended: Ended, now: Instant) -> Outcome {
        let Ended { store, outcome, troubles, found_spans } = ended;
        self.level.bytes.store(store.bytes(), Ordering::Relaxed);
        self.found(found_spans);
        if !store.is_unfinished() {
            self.tending.worked();
        } else if self.tending.is_open(now) {
            self.tending.opens = Some(now + RETRY_INTERVAL);
        }
        self.store = Some(store);
        match &outcome {
            Outcome::Written { spans, left } => {
                self.level.spans.fetch_add(*spans, Ordering::AcqRel);
                if left.is_empty() {
                    self.writing.worked();
                }
                self.log_spooling(now);
            }
            Outcome::Read(Aged { batch, .. }) => {
                self.reading.worked();
                self.level.spans.fetch_sub(u64::from(batch.span_count()), Ordering::AcqRel);
                let out = Out { spans_left: batch.span_count(), bytes: batch.message().len() };
                self.out.extend(batch.record().map(|id| (id, out)));
            }
            Outcome::Corrupt(spans) | Outcome::Gone(spans) => {
                self.metrics.spool_fault("corrupt");
                self.level.spans.fetch_sub(*spans, Ordering::AcqRel);
            }
            Outcome::Nothing => {}
        }
        for trouble in troubles {
            self.trouble(trouble, now);
        }
        outcome
    }

    /// Spans of an earlier process could be read after all.
    fn found(&mut self, spans: u64) {
        if spans > 0 {
            self.metrics.recovered("spool", spans);
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

    fn trouble(&mut self, trouble: Trouble, now: Instant) {
        let kind = match trouble {
            Trouble::Full => {
                let full = "The spool is full (export.spool.max_bytes); kept spans wait in memory.";
                return self.writing.failed(now, full, "");
            }
            Trouble::Write(cause) => {
                self.writing.failed(now, "The spool cannot be written; kept spans wait in memory.", cause);
                "write"
            }
            Trouble::Read(cause) => {
                self.reading.tell(now, "A part of the spool cannot be read; its spans wait, the others go on.", cause);
                "read"
            }
            Trouble::Tidy(cause) => {
                let left = "Files of the spool cannot be changed or deleted: they take up room, and what was delivered from \
                            them would be delivered again after a restart.";
                self.tending.tell(now, left, cause);
                "write"
            }
        };
        self.metrics.spool_fault(kind);
    }
}

#[cfg(test)]
mod tests;
