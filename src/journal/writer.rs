//! The thread that writes the journal, and its queue.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::JournalError;
use super::format::RECORD_HEADER_LEN;
use super::store::{Group, JournalEntry, JournalStore};
use crate::budget::Budget;
use crate::segment::reminder::Reminder;
use crate::tail::journal_hold::{Note, NoteRecorder, Sequence};
use crate::telemetry::metrics::DiskFault;
use crate::telemetry::{Health, Metrics, Pulse, pulse};

/// The time from one group to the next: the longest wait of an acknowledgement in addition to the sync itself. An idle
/// journal writes at once; a busy one gathers a few hundred requests for each sync.
const GROUP_INTERVAL: Duration = Duration::from_millis(5);
/// The most bytes of bodies that wait for the disk: a third of a second at 100 MB/s. A longer wait helps no sender.
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// The time after a failure in which the disk is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The outcome of writing a group of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    Waits,
    Synced,
    Failed,
}

/// The contents of the next group, and the state that decides when it is written.
#[derive(Debug)]
struct WriteQueue {
    requests: Vec<JournalEntry>,
    /// The bytes of the records of `requests`.
    bytes: u64,
    /// A few notes for each request and kept trace in memory. The number is bounded: while a disk hangs, no new
    /// requests are taken, so no more notes come.
    notes: Vec<Note>,
    /// The requests of an earlier process that this process cannot take.
    left: Vec<Sequence>,
    /// Tells the callers that wait for the group its outcome.
    group: watch::Sender<WriteOutcome>,
    next_sequence: Sequence,
    /// The bytes that the files may still grow within `max_bytes`.
    room_bytes: u64,
    /// The time of the next try, while the disk fails. Until then notes wait, and requests are refused.
    retry_at: Option<Instant>,
    /// The time of the next try, while a segment that is not needed any more cannot be deleted.
    delete_at: Option<Instant>,
    /// True while the writer waits for something to do.
    idle: bool,
    /// True once the process ends: notes are ignored, because holds that are dropped now are not settled.
    closing: bool,
}

/// The state shared by the writer and the callers that append.
#[derive(Debug)]
pub(super) struct SharedQueue {
    queue: Mutex<WriteQueue>,
    work: Condvar,
    max_bytes: u64,
    budget: Budget,
}

impl SharedQueue {
    pub(super) fn new(max_bytes: u64, bytes: u64, next_sequence: Sequence, budget: Budget) -> Arc<Self> {
        budget.set_disk(bytes, max_bytes);
        let queue = WriteQueue {
            requests: Vec::new(),
            bytes: 0,
            notes: Vec::new(),
            left: Vec::new(),
            group: watch::Sender::new(WriteOutcome::Waits),
            next_sequence,
            room_bytes: max_bytes.saturating_sub(bytes),
            retry_at: None,
            delete_at: None,
            idle: false,
            closing: false,
        };
        Arc::new(SharedQueue { queue: Mutex::new(queue), work: Condvar::new(), max_bytes, budget })
    }

    /// Queues the body of a request. Returns its number, and a receiver for the outcome.
    pub(super) fn enqueue(
        &self,
        body: Bytes,
        unix_nano: u64,
    ) -> Result<(Sequence, watch::Receiver<WriteOutcome>), JournalError> {
        let bytes = (RECORD_HEADER_LEN + body.len()) as u64;
        let mut queue = self.queue.lock();
        if queue.retry_at.is_some_and(|at| Instant::now() < at) || queue.closing {
            return Err(JournalError::Disk);
        }
        if queue.bytes + bytes > queue.room_bytes {
            return Err(JournalError::Full);
        }
        if queue.bytes + bytes > QUEUE_BYTES_MAX && !queue.requests.is_empty() {
            return Err(JournalError::Slow);
        }
        let sequence = queue.next_sequence;
        queue.next_sequence += 1;
        queue.bytes += bytes;
        queue.requests.push(JournalEntry { sequence, unix_nano, body });
        let written = queue.group.subscribe();
        self.wake(&queue);
        Ok((sequence, written))
    }

    fn wake(&self, queue: &WriteQueue) {
        if queue.idle {
            self.work.notify_one();
        }
    }

    /// Waits for something to do, and takes it. Returns `None` when no more can come. A failing disk is tried from time
    /// to time, with an empty group if need be: while the process is not ready, the platform may send it no requests.
    fn next_group(&self, pulse: &Pulse) -> Option<(Group, watch::Sender<WriteOutcome>)> {
        let mut queue = self.queue.lock();
        loop {
            let now = Instant::now();
            pulse.beat(now.into());
            if queue.has_work(now) {
                break;
            }
            if queue.closing {
                return None;
            }
            let next_beat = now + pulse::INTERVAL;
            let until = [queue.retry_at, queue.delete_at].into_iter().flatten().fold(next_beat, Instant::min);
            queue.idle = true;
            self.work.wait_until(&mut queue, until);
            queue.idle = false;
        }
        queue.bytes = 0;
        let group = Group {
            requests: std::mem::take(&mut queue.requests),
            notes: std::mem::take(&mut queue.notes),
            left: std::mem::take(&mut queue.left),
        };
        Some((group, std::mem::replace(&mut queue.group, watch::Sender::new(WriteOutcome::Waits))))
    }

    /// Records that the files have `bytes` now. If the store could not `write` or `delete`, it tries again after
    /// `RETRY_INTERVAL`.
    fn written(&self, bytes: u64, write: bool, delete: bool) {
        self.budget.set_disk(bytes, self.max_bytes);
        let mut queue = self.queue.lock();
        let later = Instant::now() + RETRY_INTERVAL;
        queue.room_bytes = self.max_bytes.saturating_sub(bytes);
        queue.retry_at = (!write).then_some(later);
        queue.delete_at = (!delete).then_some(later);
    }

    /// Queues requests of an earlier process that this process cannot take.
    pub(super) fn leave(&self, requests: Vec<Sequence>) {
        let mut queue = self.queue.lock();
        queue.left.extend(requests);
        self.wake(&queue);
    }

    /// Lets the writer end once it has written all that is queued now.
    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closing = true;
        self.work.notify_one();
    }
}

impl WriteQueue {
    fn has_work(&self, now: Instant) -> bool {
        match self.retry_at {
            Some(at) if now < at => self.closing && self.has_any(),
            Some(_) => true,
            None => self.has_any() || self.delete_at.is_some_and(|at| at <= now),
        }
    }

    fn has_any(&self) -> bool {
        !self.requests.is_empty() || !self.notes.is_empty() || !self.left.is_empty()
    }
}

impl NoteRecorder for SharedQueue {
    fn note(&self, note: Note) {
        // A panic drops holds of requests that are not settled.
        if std::thread::panicking() {
            return;
        }
        let mut queue = self.queue.lock();
        if !queue.closing {
            queue.notes.push(note);
            self.wake(&queue);
        }
    }
}

/// The running writer. If it is dropped without [`Writer::close`], because the process fails, later notes are ignored.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<SharedQueue>,
    task: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(
        shared: Arc<SharedQueue>,
        store: JournalStore,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Self {
        let pulse = Pulse::new(Instant::now().into());
        health.watch("journal", pulse.clone());
        let worker = WriterThread {
            shared: Arc::clone(&shared),
            store,
            metrics,
            health,
            pulse,
            is_obstacle: false,
            writing: Reminder::default(),
            deleting: Reminder::default(),
        };
        Writer { shared, task: tokio::task::spawn_blocking(|| worker.run()) }
    }

    /// Resolves with the cause if the thread ends by itself, which it does only after a panic.
    pub async fn failed(&mut self) -> String {
        let ended = (&mut self.task).await;
        ended.err().map_or_else(|| "without an error".to_owned(), |error| error.to_string())
    }

    /// Writes and syncs the notes that are queued now. Requests that are not released stay for the next process. Waits
    /// until `deadline` for a disk that hangs.
    pub async fn close(mut self, deadline: tokio::time::Instant) {
        self.shared.close();
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            tracing::error!(
                "The journal's disk hangs. The spans that were exported last may be exported again after a start."
            );
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

struct WriterThread {
    shared: Arc<SharedQueue>,
    store: JournalStore,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    pulse: Pulse,
    /// True if the process is not ready because of the disk.
    is_obstacle: bool,
    writing: Reminder,
    deleting: Reminder,
}

impl WriterThread {
    #[expect(clippy::disallowed_methods, reason = "it has a thread of its own, and the next group gathers meanwhile")]
    fn run(mut self) {
        while let Some((group, told)) = self.shared.next_group(&self.pulse) {
            let started = Instant::now();
            self.pulse.at_disk(started.into());
            let outcome = self.write(&group);
            // The receivers may be gone: callers can give up waiting.
            told.send_replace(outcome);
            std::thread::sleep(GROUP_INTERVAL.saturating_sub(started.elapsed()));
        }
        if let Err(cause) = self.store.close() {
            self.metrics.journal_fault(DiskFault::Write);
            tracing::error!(%cause, "The journal could not be closed cleanly.");
        }
    }

    fn write(&mut self, group: &Group) -> WriteOutcome {
        let written = self.store.write(group);
        let deleted = self.store.delete_released();
        self.shared.written(self.store.bytes(), written.is_ok(), deleted.is_ok());
        match deleted {
            Ok(()) => self.deletes(),
            Err(cause) => self.cannot_delete(&cause),
        }
        match written {
            Ok(synced) => {
                synced.into_iter().for_each(|elapsed| self.metrics.journal_sync(elapsed));
                self.works();
                WriteOutcome::Synced
            }
            Err(cause) => {
                self.fails(&cause);
                WriteOutcome::Failed
            }
        }
    }

    fn fails(&mut self, cause: &io::Error) {
        self.metrics.journal_fault(DiskFault::Write);
        self.health.set_obstacle(Some(format!("the journal cannot be written: {cause}")));
        self.is_obstacle = true;
        if self.writing.failed(Instant::now().into()) {
            tracing::error!(%cause, "The journal cannot be written. Spans are refused until it works again.");
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.is_obstacle) {
            self.health.set_obstacle(None);
        }
        if self.writing.worked() {
            tracing::info!("The journal works again.");
        }
    }

    /// Reports that a file cannot be deleted. It takes up space until it is deleted, but the journal works.
    fn cannot_delete(&mut self, cause: &io::Error) {
        self.metrics.journal_fault(DiskFault::Write);
        if self.deleting.failed(Instant::now().into()) {
            tracing::error!(%cause, "A file of the journal that is not needed any more cannot be deleted. It is tried again.");
        }
    }

    fn deletes(&mut self) {
        if self.deleting.worked() {
            tracing::info!("Files of the journal can be deleted again.");
        }
    }
}
