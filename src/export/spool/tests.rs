use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::time::{advance, timeout};

use super::job::RETRY_INTERVAL;
use super::*;
use crate::export::batch::{Batcher, Place};
use crate::export::testing::{counter, head, record};
use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold};
use crate::segment::file::SystemCall;
use crate::tail::journal_hold::{JournalHold, KeptSpansHold, Note, NoteRecorder};

const LIMIT_BYTES: usize = 1 << 30;

struct Rig {
    spool: Spool,
    budget: Budget,
    metrics: Arc<Metrics>,
}

fn open(directory: &Path, max_bytes: u64) -> Rig {
    let (budget, metrics) = (Budget::new(LIMIT_BYTES), Arc::new(Metrics::new()));
    let settings = settings::SpoolSettings { directory: directory.to_owned(), max_bytes };
    let spool = Spool::open(&settings, Form::CloudTrace, &budget, &metrics).unwrap();
    Rig { spool, budget, metrics }
}

impl Rig {
    /// Returns a batch of spans with these ids.
    fn batch(&self, project: &str, ids: std::ops::Range<u64>) -> Batch {
        self.batch_of(project, ids, None)
    }

    /// Returns a batch of spans that the journal has.
    fn held_batch(&self, project: &str, ids: std::ops::Range<u64>, hold: &Arc<KeptSpansHold>) -> Batch {
        self.batch_of(project, ids, Some(hold))
    }

    fn batch_of(&self, project: &str, ids: std::ops::Range<u64>, hold: Option<&Arc<KeptSpansHold>>) -> Batch {
        let limits = settings::BatchSettings { max_spans: 1 << 20, max_bytes: 1 << 30, max_delay: Duration::MAX };
        let mut batcher = Batcher::new(Form::CloudTrace, limits, self.budget.clone());
        let project: Arc<str> = project.into();
        for id in ids {
            let span = record(&project, id, "span");
            let place = Place { project: &project, resource: &[], head: &head(&project), number: None };
            let encode = |out: &mut Vec<u8>| {
                out.extend_from_slice(&span);
                Ok::<(), std::convert::Infallible>(())
            };
            batcher.push_held(place, hold, std::time::Instant::now(), encode).unwrap();
        }
        batcher.flush();
        batcher.take_closed().next().unwrap()
    }

    async fn write(&mut self, batches: Vec<Batch>) -> (u64, usize) {
        let now = Instant::now();
        assert!(self.spool.can_write(now));
        self.spool.write(batches.into_iter().map(|batch| QueuedBatch { batch, since: now }).collect(), now);
        match self.spool.finished().await {
            JobOutcome::Written { spans, left } => (spans, left.len()),
            other => panic!("{other:?}"),
        }
    }

    async fn read(&mut self) -> Option<Batch> {
        if !self.spool.read(|_| true) {
            return None;
        }
        match self.spool.finished().await {
            JobOutcome::Read(aged) => Some(aged.batch),
            other => panic!("{other:?}"),
        }
    }

    fn faults(&self, kind: &str) -> u64 {
        counter(&self.metrics, "spansieve_spool_faults_total", &format!("kind=\"{kind}\""))
    }
}

#[tokio::test]
async fn spans_are_spooled_until_each_of_them_is_settled() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    let level = rig.spool.level();
    let batch = rig.batch("p", 0..10);
    let bytes = batch.message().clone();
    assert_eq!(rig.write(vec![batch]).await, (10, 0));
    assert_eq!((level.spans(), rig.budget.used_bytes() < bytes.len()), (10, true), "its memory is given back");
    assert!(level.bytes() > bytes.len() as u64);

    let read = rig.read().await.unwrap();
    assert_eq!((read.message(), read.span_count(), &**read.project()), (&bytes, 10, "p"));
    assert!(rig.budget.used_bytes() >= bytes.len());
    assert_eq!((level.spans(), rig.spool.unsettled_bytes()), (0, bytes.len()), "they are in memory again");
    assert!(level.bytes() > 0, "and on the disk as long as they are not settled");
    assert!(rig.read().await.is_none(), "given out once");
    let (left, right) = read.halves().unwrap();
    rig.spool.settled(&left);
    assert_eq!(rig.spool.unsettled_bytes(), bytes.len());
    rig.spool.settled(&right);
    assert_eq!(rig.spool.unsettled_bytes(), 0);
    rig.spool.mark_settled();
    assert!(matches!(rig.spool.finished().await, JobOutcome::Nothing));
    assert_eq!(level.bytes(), 0);
}

#[tokio::test]
async fn a_restart_recovers_what_is_not_settled() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    let batches = vec![rig.batch("p", 0..10), rig.batch("p", 10..13)];
    rig.write(batches).await;
    let first = rig.read().await.unwrap();
    rig.spool.settled(&first);
    rig.spool.close().await;
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    assert_eq!(rig.spool.level().spans(), 3);
    assert_eq!(counter(&rig.metrics, "spansieve_recovered_spans_total", "source=\"spool\""), 3);
    assert_eq!(rig.read().await.unwrap().span_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_hands_the_rest_back_and_takes_more_later() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), 1_000);
    let batches = (0..9).map(|i| rig.batch("p", i..i + 1)).collect::<Vec<_>>();
    let (spans, left) = rig.write(batches.clone()).await;
    assert!(spans > 0 && left > 0 && spans as usize + left == 9);
    assert!(rig.spool.level().bytes() <= 1_000);
    assert!(!rig.spool.can_write(Instant::now()), "not at once again");
    assert_eq!(rig.spool.next_attempt(Instant::now()), Some(Instant::now() + RETRY_INTERVAL));
    assert!(rig.read().await.is_some(), "reading goes on");
    advance(RETRY_INTERVAL).await;
    assert!(rig.spool.can_write(Instant::now()));
    assert_eq!(rig.faults("write"), 0, "that is not a fault");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_tried_again_and_counted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("spool");
    let mut rig = open(&path, LIMIT_BYTES as u64);
    let away = directory.path().join("away");
    fs::rename(&path, &away).unwrap();
    let batch = rig.batch("p", 0..4);
    assert_eq!(rig.write(vec![batch.clone()]).await, (0, 1));
    assert_eq!((rig.faults("write"), rig.spool.level().spans()), (1, 0));
    advance(RETRY_INTERVAL).await;
    fs::rename(&away, &path).unwrap();
    assert_eq!(rig.write(vec![batch]).await, (4, 0));

    fs::rename(&path, &away).unwrap();
    assert!(rig.spool.read(|_| true));
    assert!(matches!(rig.spool.finished().await, JobOutcome::Nothing));
    assert_eq!((rig.faults("read"), rig.spool.level().spans()), (1, 4));
    assert!(rig.read().await.is_none(), "not at once again");
    advance(RETRY_INTERVAL).await;
    fs::rename(&away, &path).unwrap();
    assert!(rig.spool.maintain(Instant::now()));
    rig.spool.finished().await;
    assert_eq!(rig.read().await.unwrap().span_count(), 4);
}

/// Keeps the notes that it receives.
#[derive(Debug, Default)]
struct Noted(parking_lot::Mutex<Vec<Note>>);

impl NoteRecorder for Noted {
    fn note(&self, note: Note) {
        self.0.lock().push(note);
    }
}

#[tokio::test(start_paused = true)]
async fn the_journal_forgets_only_what_is_synced_here() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    let (noted, trace) = (Arc::new(Noted::default()), TraceId([7; 16]));
    let hold = KeptSpansHold::new(JournalHold::new(1, Arc::clone(&noted) as _), trace, Keep::new(0, Threshold::ALWAYS));
    let batch = rig.held_batch("p", 0..4, &hold);
    hold.settle();
    noted.0.lock().clear();
    let faults = rig.spool.store.as_ref().unwrap().directory.faults().clone();
    for call in [SystemCall::Sync, SystemCall::SyncDirectory, SystemCall::Write] {
        faults.fail(call);
        assert_eq!(rig.write(vec![batch.clone()]).await, (0, 1), "{call:?}");
        faults.mend();
        assert_eq!((noted.0.lock().len(), rig.spool.level().spans()), (0, 0), "{call:?}");
        advance(RETRY_INTERVAL).await;
    }
    assert_eq!(rig.write(vec![batch]).await, (4, 0));
    assert_eq!(*noted.0.lock(), [Note::Settled(1, trace)]);
    assert_eq!(rig.read().await.unwrap().span_count(), 4, "once");
    assert!(rig.read().await.is_none());
}

#[tokio::test]
async fn deleted_files_are_reported_at_the_end() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    let level = rig.spool.level();
    let batches = vec![rig.batch("p", 0..4), rig.batch("p", 4..10)];
    rig.write(batches).await;
    let read = rig.read().await.unwrap();
    for (_, path) in super::open::OWNER.segments(directory.path()).unwrap() {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(rig.spool.close().await, CloseReport { unsettled_spans: 0, gone_spans: 6 });
    assert_eq!((level.spans(), read.span_count()), (0, 4));
}

#[tokio::test]
async fn a_batch_comes_back_as_old_as_it_was() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    let now = Instant::now();
    for days in [0, 1, 10_000] {
        let age = Duration::from_secs(days * 24 * 3600);
        let aged = QueuedBatch { batch: rig.batch("p", 0..1), since: now.checked_sub(age).unwrap() };
        rig.spool.write(vec![aged.clone()], now);
        rig.spool.finished().await;
        assert!(rig.spool.read(|_| true));
        let JobOutcome::Read(read) = rig.spool.finished().await else { panic!("nothing was read") };
        let difference = read.since.max(aged.since) - read.since.min(aged.since);
        assert!(difference < Duration::from_secs(60), "{difference:?} after {days} days");
    }
}

#[tokio::test]
async fn corrupt_spans_are_counted_and_dropped() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    let batch = rig.batch("p", 0..4);
    rig.write(vec![batch]).await;
    let segment = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some()).find(|path| path.extension().unwrap() != "lock");
    let segment = segment.unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert!(rig.spool.read(|_| true));
    assert!(matches!(rig.spool.finished().await, JobOutcome::Corrupt(4)));
    assert_eq!((rig.spool.level().spans(), rig.faults("corrupt")), (0, 1));
    assert!(!segment.exists());
}

#[tokio::test]
async fn waiting_for_a_job_can_be_given_up_and_taken_up_again() {
    let directory = TempDir::new().unwrap();
    let mut rig = open(directory.path(), LIMIT_BYTES as u64);
    assert!(timeout(Duration::from_millis(1), rig.spool.finished()).await.is_err(), "there is no job");
    let batch = rig.batch("p", 0..4);
    rig.spool.write(vec![QueuedBatch { batch, since: Instant::now() }], Instant::now());
    let _ = timeout(Duration::ZERO, rig.spool.finished()).await;
    while rig.spool.level().spans() == 0 {
        rig.spool.finished().await;
    }
    assert_eq!(rig.spool.level().spans(), 4);
}
