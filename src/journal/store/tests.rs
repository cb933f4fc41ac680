use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::config::settings;
use crate::export::testing::counter;
use crate::journal::backlog::Backlog;
use crate::journal::open::{OWNER, open};
use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold};
use crate::segment::directory::OpenError;
use crate::tail::budget::Budget;
use crate::telemetry::Metrics;

const KEEP: Keep = Keep::new(0, Threshold::ALWAYS);

fn try_open(directory: &Path, metrics: &Metrics) -> Result<(Store, Backlog), OpenError> {
    let settings = settings::Journal { directory: directory.to_owned(), max_bytes: 1 << 30 };
    open(&settings, PolicyMarks::new(&["errors".to_owned()]), &Budget::new(1 << 30), metrics)
}

fn reopen(directory: &Path) -> (Store, Backlog) {
    try_open(directory, &Metrics::new()).unwrap()
}

fn entry(sequence: Sequence) -> Entry {
    Entry { sequence, unix_nano: 1, body: body(sequence) }
}

fn large(sequence: Sequence) -> Entry {
    Entry { body: vec![1; SEGMENT_BYTES as usize].into(), ..entry(sequence) }
}

fn body(sequence: Sequence) -> Bytes {
    format!("the body of request {sequence}").into()
}

fn trace(id: u8) -> TraceId {
    TraceId([id; 16])
}

/// What a backlog gives out: numbers, settled traces, and whether the bodies are those that were written.
fn unreleased(mut backlog: Backlog) -> Vec<(Sequence, Vec<TraceId>, bool)> {
    let mut found = Vec::new();
    while let Some(request) = backlog.next_request().unwrap() {
        let is_sound = backlog.body(&request).unwrap().is_some_and(|bytes| bytes == body(request.sequence));
        found.push((request.sequence, request.settled, is_sound));
    }
    assert!(backlog.is_empty());
    assert_eq!(backlog.left_bytes().load(std::sync::atomic::Ordering::Relaxed), 0);
    found
}

fn numbers(backlog: Backlog) -> Vec<Sequence> {
    unreleased(backlog).into_iter().map(|(sequence, ..)| sequence).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let segments = OWNER.segments(directory).unwrap();
    segments.into_iter().map(|(_, path)| path).collect()
}

#[test]
fn a_restart_finds_what_is_not_released_and_what_of_it_is_settled() {
    let directory = TempDir::new().unwrap();
    let (mut store, backlog) = reopen(directory.path());
    assert!(backlog.is_empty());
    store.write(&[entry(1), entry(2), entry(3)], &[]).unwrap();
    let notes =
        [Note::Kept(1, trace(1), KEEP), Note::Settled(1, trace(1)), Note::Settled(2, trace(2)), Note::Released(2)];
    store.write(&[entry(4)], &notes).unwrap();
    store.write(&[], &[Note::Settled(1, trace(9))]).unwrap();
    let bytes = store.bytes();
    // Killed.
    drop(store);
    let (store, mut backlog) = reopen(directory.path());
    assert_eq!(store.bytes(), bytes);
    assert_eq!(backlog.sequence_max(), 4);
    assert_eq!(backlog.take_kept(), [(trace(1), KEEP)]);
    let expected = [(1, vec![trace(1), trace(9)], true), (3, vec![], true), (4, vec![], true)];
    assert_eq!(unreleased(backlog), expected);
}

#[test]
fn a_segment_goes_when_it_and_all_before_it_are_released() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    for sequence in 1..=3 {
        store.write(&[large(sequence)], &[]).unwrap();
    }
    let mut release = |sequence| {
        store.write(&[], &[Note::Released(sequence)]).unwrap();
        store.delete_released().unwrap();
        files(directory.path()).len()
    };
    assert_eq!(release(2), 4, "the notes are in a segment of their own");
    assert_eq!(release(1), 2);
    assert_eq!(release(3), 1);
    assert_eq!(store.bytes(), fs::metadata(&files(directory.path())[0]).unwrap().len());
    store.close().unwrap();
    assert_eq!(files(directory.path()), [] as [PathBuf; 0], "a stop with nothing left leaves nothing");
}

#[test]
fn segments_of_an_earlier_process_go_as_well() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    store.write(&[entry(1), entry(2)], &[Note::Released(1)]).unwrap();
    drop(store);
    let (mut store, _) = reopen(directory.path());
    store.write(&[entry(3)], &[]).unwrap();
    assert_eq!(files(directory.path()).len(), 2, "nothing is appended to what another process wrote");
    store.write(&[], &[Note::Released(2)]).unwrap();
    store.delete_released().unwrap();
    assert_eq!(files(directory.path()).len(), 1);
    drop(store);
    assert_eq!(numbers(reopen(directory.path()).1), [3]);
}

#[test]
fn a_tail_that_is_torn_at_any_byte_costs_what_was_never_acknowledged() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    store.write(&[entry(1)], &[]).unwrap();
    let acknowledged = store.bytes();
    store.write(&[entry(2)], &[Note::Released(1)]).unwrap();
    drop(store);
    let path = files(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for len in acknowledged..whole.len() as u64 {
        fs::write(&path, &whole[..len as usize]).unwrap();
        let metrics = Metrics::new();
        let (_store, backlog) = try_open(directory.path(), &metrics).unwrap();
        assert_eq!(numbers(backlog)[0], 1, "{len}");
        let torn = counter(&metrics, "spansieve_journal_faults_total", "kind=\"torn\"");
        let ends = [acknowledged, acknowledged + (format::RECORD_HEADER_LEN + body(2).len()) as u64];
        assert_eq!(torn, u64::from(!ends.contains(&len)), "{len}");
    }
}

#[test]
fn a_body_that_went_bad_is_given_out_as_such() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    store.write(&[entry(1), entry(2), entry(3)], &[]).unwrap();
    drop(store);
    let path = files(directory.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"request 2").unwrap();
    bytes[at] = b'R';
    fs::write(&path, bytes).unwrap();
    let (_store, backlog) = reopen(directory.path());
    assert_eq!(unreleased(backlog), [(1, vec![], true), (2, vec![], false), (3, vec![], true)]);
}

#[test]
fn files_of_others_are_left_alone_and_count() {
    let directory = TempDir::new().unwrap();
    let mut newer = format::segment_header();
    newer[8] = 2;
    let others = [
        ("notes.txt", b"mine".to_vec()),
        (&OWNER.file_name(5), newer),
        (&OWNER.file_name(9), b"no segment at all".to_vec()),
    ];
    for (name, contents) in &others {
        fs::write(directory.path().join(name), contents).unwrap();
    }
    let metrics = Metrics::new();
    let (mut store, backlog) = try_open(directory.path(), &metrics).unwrap();
    assert!(backlog.is_empty());
    assert_eq!(counter(&metrics, "spansieve_journal_faults_total", "kind=\"foreign\""), 2);
    assert_eq!(store.bytes(), (others[1].1.len() + others[2].1.len()) as u64);
    store.write(&[entry(1)], &[]).unwrap();
    assert!(directory.path().join(OWNER.file_name(10)).exists(), "new segments are behind all others");
    store.write(&[], &[Note::Released(1)]).unwrap();
    store.close().unwrap();
    for (name, contents) in &others {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), *contents, "{name}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = TempDir::new().unwrap();
    let (_store, _) = reopen(directory.path());
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let cases = [
        (directory.path(), "in use by another process"),
        (&file, "cannot be used"),
        (Path::new("/proc/no"), "cannot be used"),
    ];
    for (path, reason) in cases {
        let error = try_open(path, &Metrics::new()).unwrap_err().to_string();
        assert!(error.starts_with("journal.directory: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_disk_that_is_full_takes_nothing_and_works_again() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    store.write(&[entry(1), entry(2)], &[]).unwrap();
    let bytes = store.bytes();
    store.open = Some(File::options().append(true).open("/dev/full").unwrap());
    assert!(store.write(&[entry(3)], &[Note::Released(1), Note::Released(3)]).is_err());
    assert_eq!(store.bytes(), bytes);
    store.write(&[entry(4)], &[]).unwrap();
    assert_eq!(files(directory.path()).len(), 2, "the segment that failed is given up");
    drop(store);
    assert_eq!(numbers(reopen(directory.path()).1), [2, 4], "the note is written when the disk takes it");
}

#[test]
fn a_directory_that_is_away_takes_nothing_and_works_again() {
    let directory = TempDir::new().unwrap();
    let (path, away) = (directory.path().join("journal"), directory.path().join("away"));
    let (mut store, _) = reopen(&path);
    fs::rename(&path, &away).unwrap();
    assert!(store.write(&[entry(1)], &[]).is_err());
    assert!(store.probe().is_err());
    fs::rename(&away, &path).unwrap();
    store.probe().unwrap();
    store.write(&[entry(2)], &[]).unwrap();
    drop(store);
    assert_eq!(numbers(reopen(&path).1), [2]);
}

#[test]
fn what_is_remembered_of_it_counts_in_the_budget() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    store.write(&[entry(1)], &[Note::Kept(1, trace(1), KEEP), Note::Settled(1, trace(1))]).unwrap();
    drop(store);
    let budget = Budget::new(1 << 30);
    let settings = settings::Journal { directory: directory.path().to_owned(), max_bytes: 1 << 30 };
    let (_store, backlog) = open(&settings, PolicyMarks::default(), &budget, &Metrics::new()).unwrap();
    assert!(budget.used_bytes() > 0);
    drop(backlog);
    assert_eq!(budget.used_bytes(), 0);
}
