//! The thread that writes the journal, and the queue before it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::AppendError;
use super::format::RECORD_HEADER_LEN;
use super::store::{Entry, Group, Store};
use crate::segment::reminder::Reminder;
use crate::tail::budget::Budget;
use crate::tail::hold::{Note, Notes, Sequence};
use crate::telemetry::{Health, Metrics, Pulse, pulse};

/// From one group to the next: what an acknowledgement waits at most beside the sync itself. An idle journal writes at
/// once; a busy one gathers some hundred requests for each sync.
const GROUP_INTERVAL: Duration = Duration::from_millis(5);
/// Bodies that wait for the disk: a third of a second of one that writes 100 MB/s, beyond which waiting is no use.
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// After a failure the disk is left alone for this long.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a group of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Waits,
    Synced,
    Failed,
}

/// What the next group will be.
#[derive(Debug)]
struct Queue {
    requests: Vec<Entry>,
    /// Of the requests' records.
    bytes: u64,
    /// A few for each request and kept trace in memory: a disk that hangs takes no new ones, and no more notes come.
    notes: Vec<Note>,
    /// Requests of an earlier process that this one cannot take.
    left: Vec<Sequence>,
    /// Tells those that wait for the group.
    group: watch::Sender<Outcome>,
    next_sequence: Sequence,
    /// What `max_bytes` leaves.
    room_bytes: u64,
    /// While the disk fails: when it is tried again. Until then notes wait, and requests are refused.
    retry_at: Option<Instant>,
    /// While a segment that is not needed any more cannot be deleted: when that is tried again.
    delete_at: Option<Instant>,
    /// The writer waits for something to do.
    idle: bool,
    /// Nothing is noted any more: what is dropped from now on is dropped because the process ends.
    closing: bool,
}

/// What the writer and those who append share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    max_bytes: u64,
    budget: Budget,
}

impl Shared {
    pub(super) fn new(max_bytes: u64, bytes: u64, next_sequence: Sequence, budget: Budget) -> Arc<Self> {
        budget.disk().set(bytes, max_bytes);
        let queue = Queue {
            requests: Vec::new(),
            bytes: 0,
            notes: Vec::new(),
            left: Vec::new(),
            group: watch::Sender::new(Outcome::Waits),
            next_sequence,
            room_bytes: max_bytes.saturating_sub(bytes),
            retry_at: None,
            delete_at: None,
            idle: false,
            closing: false,
        };
        Arc::new(Shared { queue: Mutex::new(queue), work: Condvar::new(), max_bytes, budget })
    }

    /// Queues the body of a request: its number, and who tells when it is written.
    pub(super) fn enqueue(
        &self,
        body: Bytes,
        unix_nano: u64,
    ) -> Result<(Sequence, watch::Receiver<Outcome>), AppendError> {
        let bytes = (RECORD_HEADER_LEN + body.len()) as u64;
        let mut queue = self.queue.lock();
        if queue.retry_at.is_some_and(|at| Instant::now() < at) || queue.closing {
            return Err(AppendError::Disk);
        }
        if queue.bytes + bytes > queue.room_bytes {
            return Err(AppendError::Full);
        }
        if queue.bytes + bytes > QUEUE_BYTES_MAX && !queue.requests.is_empty() {
            return Err(AppendError::Slow);
        }
        let sequence = queue.next_sequence;
        queue.next_sequence += 1;
        queue.bytes += bytes;
        queue.requests.push(Entry { sequence, unix_nano, body });
        let written = queue.group.subscribe();
        self.wake(&queue);
        Ok((sequence, written))
    }

    fn wake(&self, queue: &Queue) {
        if queue.idle {
            self.work.notify_one();
        }
    }

    /// Waits for something to do, and takes it; `None` when there is no more to come. A disk that fails is to be tried
    /// from time to time, with an empty group: while the process is not ready, the platform may send it nothing.
    fn next_group(&self, pulse: &Pulse) -> Option<(Group, watch::Sender<Outcome>)> {
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
        Some((group, std::mem::replace(&mut queue.group, watch::Sender::new(Outcome::Waits))))
    }

    /// The store has `bytes` now. If it could not `write` or `delete`, that is tried again in a while.
    fn written(&self, bytes: u64, write: bool, delete: bool) {
        self.budget.disk().set(bytes, self.max_bytes);
        let mut queue = self.queue.lock();
        let later = Instant::now() + RETRY_INTERVAL;
        queue.room_bytes = self.max_bytes.saturating_sub(bytes);
        queue.retry_at = (!write).then_some(later);
        queue.delete_at = (!delete).then_some(later);
    }

    /// This process cannot take these requests of an earlier one.
    pub(super) fn leave(&self, requests: Vec<Sequence>) {
        let mut queue = self.queue.lock();
        queue.left.extend(requests);
        self.wake(&queue);
    }

    /// Lets the writer end once it has written what it was told until now.
    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closing = true;
        self.work.notify_one();
    }
}

impl Queue {
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

impl Notes for Shared {
    fn note(&self, note: Note) {
        // A thread that panics drops what is not settled.
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

/// The running writer. When it is dropped without [`Writer::close`], because the process fails, nothing more is noted.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, store: Store, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        let pulse = Pulse::new(Instant::now().into());
        health.watch("journal", pulse.clone());
        let worker = Worker {
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

    /// Resolves if the thread ends by itself, which it does only by a panic.
    pub async fn failed(&mut self) -> String {
        let ended = (&mut self.task).await;
        ended.err().map_or_else(|| "without an error".to_owned(), |error| error.to_string())
    }

    /// Writes what was noted until now and syncs it; what is not settled stays for the next process. Waits until
    /// `deadline` for a disk that hangs.
    pub async fn close(mut self, deadline: tokio::time::Instant) {
        self.shared.close();
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            tracing::error!("The journal's disk hangs: what was exported last may be exported again after a start.");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

struct Worker {
    shared: Arc<Shared>,
    store: Store,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    pulse: Pulse,
    /// Readiness is red because of the disk.
    is_obstacle: bool,
    writing: Reminder,
    deleting: Reminder,
}

impl Worker {
    #[expect(clippy::disallowed_methods, reason = "it has a thread of its own, and the next group gathers meanwhile")]
    fn run(mut self) {
        while let Some((group, told)) = self.shared.next_group(&self.pulse) {
            let started = Instant::now();
            self.pulse.at_disk(started.into());
            let outcome = self.write(&group);
            // It may be that nothing waits for the outcome.
            told.send_replace(outcome);
            std::thread::sleep(GROUP_INTERVAL.saturating_sub(started.elapsed()));
        }
        if let Err(cause) = self.store.close() {
            self.metrics.journal_fault("write");
            tracing::error!(%cause, "The journal could not be closed as it should be.");
        }
    }

    fn write(&mut self, group: &Group) -> Outcome {
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
                Outcome::Synced
            }
            Err(cause) => {
                self.fails(&cause);
                Outcome::Failed
            }
        }
    }

    fn fails(&mut self, cause: &io::Error) {
        self.metrics.journal_fault("write");
        self.health.set_obstacle(Some(format!("the journal cannot be written: {cause}")));
        self.is_obstacle = true;
        if self.writing.failed(Instant::now().into()) {
            tracing::error!(%cause, "The journal cannot be written: spans are refused until it can.");
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

    /// It takes up room until it can: nothing else is wrong.
    fn cannot_delete(&mut self, cause: &io::Error) {
        self.metrics.journal_fault("write");
        if self.deleting.failed(Instant::now().into()) {
            tracing::error!(%cause, "A file of the journal that is not needed any more cannot be deleted; it is tried again.");
        }
    }

    fn deletes(&mut self) {
        if self.deleting.worked() {
            tracing::info!("Files of the journal can be deleted again.");
        }
    }
}
