use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::recording::Recording;
use super::*;
use crate::budget::Disk;
use crate::budget::ladder::Part;
use crate::export::testing::counter;
use crate::segment::file::{Faults, SystemCall};
use crate::tail::journal_hold::{KeptSpansHold, Note, NoteRecorder};
use crate::telemetry::pulse::SILENCE_MAX;

/// A journal in `directory`, and the objects that it reports to.
struct Fixture {
    journal: Journal,
    writer: Writer,
    backlog: Backlog,
    budget: Budget,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Fixture {
    fn open(directory: &Path, max_bytes: u64) -> Self {
        Self::with_faults(directory, max_bytes).0
    }

    /// Opens a journal, and returns the handle with which faults of its disk are planned, too.
    fn with_faults(directory: &Path, max_bytes: u64) -> (Self, Faults) {
        let (budget, metrics, health) = (Budget::new(1 << 30), Arc::new(Metrics::new()), Arc::new(Health::default()));
        health.set_ready();
        let settings = settings::JournalSettings { directory: directory.to_owned(), max_bytes };
        let (store, backlog) = open::open(&settings, PolicyMarks::default(), &budget, &metrics).unwrap();
        let faults = store.faults();
        let (journal, writer) = Journal::start(max_bytes, store, &backlog, &budget, &metrics, &health);
        (Fixture { journal, writer, backlog, budget, metrics, health }, faults)
    }

    fn disk(&self) -> &Disk {
        self.budget.disk().expect("there is a journal")
    }

    fn write_faults(&self) -> u64 {
        counter(&self.metrics, "spansieve_journal_faults_total", "kind=\"write\"")
    }

    async fn close(self) {
        self.writer.close(Instant::now() + Duration::from_secs(10)).await;
    }

    /// Waits until `condition` holds.
    async fn eventually(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(Instant::now() < deadline, "the condition did not become true in 20 s");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn body(byte: u8) -> Bytes {
    vec![byte; 1_000].into()
}

fn recorded(directory: &Path) -> Vec<Bytes> {
    Recording::open(directory).unwrap().map(|request| request.unwrap().body).collect()
}

#[tokio::test]
async fn a_request_is_on_disk_after_append_and_gone_after_release() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 1 << 30);
    let hold = fixture.journal.append(body(1)).await.unwrap();
    assert_eq!(recorded(directory.path()), [body(1)]);
    assert_eq!(counter(&fixture.metrics, "spansieve_journal_sync_seconds_count", ""), 1);
    drop(hold);
    fixture.close().await;
    assert_eq!(recorded(directory.path()), [] as [Bytes; 0]);
}

#[tokio::test]
async fn requests_held_at_shutdown_are_there_after_the_next_start() {
    let directory = TempDir::new().unwrap();
    let first = Fixture::open(directory.path(), 1 << 30);
    let holds = [first.journal.append(body(1)).await.unwrap(), first.journal.append(body(2)).await.unwrap()];
    first.close().await;
    // The end of the process drops all holds.
    drop(holds);
    let mut second = Fixture::open(directory.path(), 1 << 30);
    let request = second.backlog.next_request().unwrap().unwrap();
    assert_eq!(second.backlog.body(&request).unwrap(), Some(body(1)));
    drop(second.journal.hold(request.sequence));
    assert_eq!(second.backlog.next_request().unwrap().map(|request| request.sequence), Some(request.sequence + 1));
    let hold = second.journal.append(body(3)).await.unwrap();
    second.close().await;
    drop(hold);
    let mut third = Fixture::open(directory.path(), 1 << 30);
    let left: Vec<_> = std::iter::from_fn(|| third.backlog.next_request().unwrap()).map(|it| it.sequence).collect();
    assert!(left.len() == 2 && left[0] == request.sequence + 1 && left[1] > left[0], "{left:?}");
}

#[tokio::test]
async fn a_caller_that_stops_waiting_releases_its_request() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 1 << 30);
    drop(fixture.journal.enqueue(body(1)).unwrap());
    let kept = fixture.journal.append(body(2)).await.unwrap();
    fixture.close().await;
    drop(kept);
    let mut next = Fixture::open(directory.path(), 1 << 30);
    let request = next.backlog.next_request().unwrap().unwrap();
    assert_eq!(next.backlog.body(&request).unwrap(), Some(body(2)));
    assert!(next.backlog.next_request().unwrap().is_none());
}

#[tokio::test]
async fn a_hold_dropped_by_a_panicking_thread_does_not_release_its_request() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 1 << 30);
    let hold = fixture.journal.append(body(1)).await.unwrap();
    let result = std::thread::spawn(move || {
        let _hold = hold;
        panic!("the thread panics while it has a hold");
    })
    .join();
    assert!(result.is_err());
    fixture.close().await;
    assert_eq!(recorded(directory.path()), [body(1)]);
}

#[tokio::test]
async fn the_journal_is_full_at_max_bytes_until_the_oldest_requests_are_released() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 40 << 20);
    let large = Bytes::from(vec![7; 15 << 20]);
    let mut holds = Vec::new();
    let error = loop {
        match fixture.journal.append(large.clone()).await {
            Ok(hold) => holds.push(hold),
            Err(error) => break error,
        }
    };
    assert_eq!((error, holds.len()), (JournalError::Full, 2));
    assert!(fixture.disk().is_over(Part::new(0.7)));
    holds.remove(0);
    fixture.eventually(|fixture| !fixture.disk().is_over(Part::new(0.5))).await;
    fixture.journal.append(large).await.unwrap();
    assert!(fixture.disk().used_bytes() <= 40 << 20);
}

#[tokio::test]
async fn a_failing_disk_refuses_requests_turns_readiness_red_and_is_tried_again() {
    let directory = TempDir::new().unwrap();
    let (path, away) = (directory.path().join("journal"), directory.path().join("away"));
    let fixture = Fixture::open(&path, 1 << 30);
    std::fs::rename(&path, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(fixture.journal.append(body(1)).await.err(), Some(JournalError::Disk));
    }
    assert!(!fixture.health.is_ready() && fixture.health.waits_for().unwrap().contains("journal"));
    assert!(counter(&fixture.metrics, "spansieve_journal_faults_total", "kind=\"write\"") >= 1);
    std::fs::rename(&away, &path).unwrap();
    fixture.eventually(|fixture| fixture.health.is_ready()).await;
    fixture.journal.append(body(2)).await.unwrap();
    assert_eq!(recorded(&path), [body(2)]);
}

#[tokio::test]
async fn a_disk_that_writes_but_does_not_sync_is_not_ready_and_is_tried_once_a_second() {
    let directory = TempDir::new().unwrap();
    let (fixture, faults) = Fixture::with_faults(directory.path(), 1 << 30);
    let hold = fixture.journal.append(body(1)).await.unwrap();
    faults.fail(SystemCall::Sync);
    let start = Instant::now();
    assert_eq!(fixture.journal.append(body(2)).await.err(), Some(JournalError::Disk));
    for _ in 0..50 {
        fixture.journal.0.note(Note::Settled(99, crate::otlp::TraceId([1; 16])));
        tokio::time::sleep(Duration::from_millis(6)).await;
        assert!(!fixture.health.is_ready());
    }
    let attempts_max = 2 + start.elapsed().as_secs();
    assert!(fixture.write_faults() <= attempts_max, "{} of {attempts_max}", fixture.write_faults());
    faults.mend();
    fixture.eventually(|fixture| fixture.health.is_ready()).await;
    fixture.journal.append(body(3)).await.unwrap();
    drop(hold);
}

#[tokio::test]
async fn a_file_that_cannot_be_deleted_does_not_turn_readiness_red_and_is_tried_again() {
    let directory = TempDir::new().unwrap();
    let (fixture, faults) = Fixture::with_faults(directory.path(), 1 << 30);
    let hold = fixture.journal.append(vec![7; 16 << 20].into()).await.unwrap();
    let _other = fixture.journal.append(body(1)).await.unwrap();
    faults.fail(SystemCall::Remove);
    drop(hold);
    fixture.eventually(|fixture| fixture.write_faults() > 0).await;
    assert!(fixture.health.is_ready());
    fixture.journal.append(body(2)).await.unwrap();
    faults.mend();
    // The file is deleted without another request.
    fixture.eventually(|fixture| fixture.disk().used_bytes() < 1 << 20).await;
}

#[tokio::test]
async fn appends_that_wait_at_the_same_time_share_a_sync() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 1 << 30);
    let appends: Vec<_> = (0..200).map(|i| fixture.journal.enqueue(body(i)).unwrap()).collect();
    for (_, mut written) in appends {
        assert!(matches!(
            *written.wait_for(|outcome| *outcome != WriteOutcome::Waits).await.unwrap(),
            WriteOutcome::Synced
        ));
    }
    let syncs = counter(&fixture.metrics, "spansieve_journal_sync_seconds_count", "");
    assert!((1..100).contains(&syncs), "{syncs} syncs");
    assert_eq!(recorded(directory.path()).len(), 200);
}

#[tokio::test]
async fn notes_reach_the_disk_without_another_request() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 1 << 30);
    let hold = fixture.journal.append(body(1)).await.unwrap();
    let bytes = fixture.disk().used_bytes();
    let trace = crate::otlp::TraceId([1; 16]);
    let keep = crate::sampling::Keep::new(0, crate::sampling::Threshold::ALWAYS);
    let kept = KeptSpansHold::new(hold, trace, keep);
    fixture.eventually(|fixture| fixture.disk().used_bytes() > bytes).await;
    kept.settle();
    fixture.journal.0.note(Note::Settled(99, trace));
    fixture.close().await;
    drop(kept);
    let mut next = Fixture::open(directory.path(), 1 << 30);
    assert_eq!(next.backlog.take_kept(), [(trace, crate::sampling::Keep { policy: u16::MAX, ..keep })]);
    assert_eq!(next.backlog.next_request().unwrap().unwrap().settled, [trace]);
}

#[tokio::test]
async fn an_idle_writer_gives_signs_of_life_and_a_silent_one_is_wedged() {
    let directory = TempDir::new().unwrap();
    let fixture = Fixture::open(directory.path(), 1 << 30);
    let start = Instant::now();
    // The sign came at least half a second after the start.
    fixture.eventually(|f| f.health.wedged(start + SILENCE_MAX + Duration::from_millis(500)).is_none()).await;
    let (name, _) = fixture.health.wedged(start + Duration::from_secs(3_600)).unwrap();
    assert_eq!(name, "journal");
    fixture.close().await;
}
