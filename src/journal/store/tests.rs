use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::budget::Budget;
use crate::export::testing::counter;
use crate::journal::backlog::Backlog;
use crate::journal::open::{OWNER, load, open};
use crate::journal::settings;
use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold};
use crate::segment::directory::OpenError;
use crate::segment::file::{Faults, SystemCall};
use crate::telemetry::Metrics;

const KEEP: Keep = Keep::new(0, Threshold::ALWAYS);

fn try_open(directory: &Path, metrics: &Metrics) -> Result<(JournalStore, Backlog), OpenError> {
    let settings = settings::JournalSettings { directory: directory.to_owned(), max_bytes: 1 << 30 };
    open(&settings, PolicyMarks::new(["errors".to_owned()].into()), &Budget::new(1 << 30), metrics)
}

fn reopen(directory: &Path) -> (JournalStore, Backlog) {
    try_open(directory, &Metrics::new()).unwrap()
}

fn entry(sequence: Sequence) -> JournalEntry {
    JournalEntry { sequence, unix_nano: 1, body: body(sequence) }
}

fn large(sequence: Sequence) -> JournalEntry {
    JournalEntry { body: vec![1; SEGMENT_BYTES as usize].into(), ..entry(sequence) }
}

fn body(sequence: Sequence) -> Bytes {
    format!("the body of request {sequence}").into()
}

fn trace(id: u8) -> TraceId {
    TraceId([id; 16])
}

fn write(store: &mut JournalStore, requests: &[JournalEntry], notes: &[Note]) -> io::Result<Option<Duration>> {
    store.write(&Group { requests: requests.to_vec(), notes: notes.to_vec(), left: Vec::new() })
}

/// Returns the requests that a backlog gives out: sequence number, settled traces, and true if the body is as written.
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
fn a_restart_finds_unreleased_requests_and_their_settled_traces() {
    let directory = TempDir::new().unwrap();
    let (mut store, backlog) = reopen(directory.path());
    assert!(backlog.is_empty());
    write(&mut store, &[entry(1), entry(2), entry(3)], &[]).unwrap();
    let notes =
        [Note::Kept(1, trace(1), KEEP), Note::Settled(1, trace(1)), Note::Settled(2, trace(2)), Note::Released(2)];
    write(&mut store, &[entry(4)], &notes).unwrap();
    write(&mut store, &[], &[Note::Settled(1, trace(9))]).unwrap();
    let bytes = store.bytes();
    // The process is killed.
    drop(store);
    let (store, mut backlog) = reopen(directory.path());
    assert_eq!(store.bytes(), bytes);
    assert!(backlog.next_sequence() > 4);
    assert_eq!(backlog.take_kept(), [(trace(1), KEEP)]);
    let expected = [(1, vec![trace(1), trace(9)], true), (3, vec![], true), (4, vec![], true)];
    assert_eq!(unreleased(backlog), expected);
}

#[test]
fn a_segment_is_deleted_once_it_and_all_before_it_are_released() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    for sequence in 1..=3 {
        write(&mut store, &[large(sequence)], &[]).unwrap();
    }
    let mut release = |sequence| {
        write(&mut store, &[], &[Note::Released(sequence)]).unwrap();
        store.delete_released().unwrap();
        files(directory.path()).len()
    };
    assert_eq!(release(2), 4, "the notes are in a segment of their own");
    assert_eq!(release(1), 2);
    assert_eq!(release(3), 1);
    assert_eq!(store.bytes(), fs::metadata(&files(directory.path())[0]).unwrap().len());
    store.close().unwrap();
    assert_eq!(files(directory.path()), [] as [PathBuf; 0], "a stop without unreleased requests leaves no file");
}

#[test]
fn released_segments_of_an_earlier_process_are_deleted() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1), entry(2)], &[Note::Released(1)]).unwrap();
    drop(store);
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(3)], &[]).unwrap();
    assert_eq!(files(directory.path()).len(), 2, "no process appends to the file of another process");
    write(&mut store, &[], &[Note::Released(2)]).unwrap();
    store.delete_released().unwrap();
    assert_eq!(files(directory.path()).len(), 1);
    drop(store);
    assert_eq!(numbers(reopen(directory.path()).1), [3]);
}

#[test]
fn a_file_torn_at_any_byte_loses_only_what_was_never_acknowledged() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1)], &[]).unwrap();
    let acknowledged = store.bytes();
    write(&mut store, &[entry(2)], &[Note::Released(1)]).unwrap();
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
fn a_damaged_body_is_reported_and_does_not_hide_other_requests() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1), entry(2), entry(3)], &[]).unwrap();
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
fn foreign_files_are_left_alone_and_foreign_segments_count() {
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
    write(&mut store, &[entry(1)], &[]).unwrap();
    assert!(directory.path().join(OWNER.file_name(10)).exists(), "new segments have higher numbers than all others");
    write(&mut store, &[], &[Note::Released(1)]).unwrap();
    store.close().unwrap();
    for (name, contents) in &others {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), *contents, "{name}");
    }
}

#[test]
fn the_error_for_an_unusable_directory_names_key_and_reason() {
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
fn a_full_disk_takes_no_requests_and_works_again_once_it_has_room() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1), entry(2)], &[]).unwrap();
    let bytes = store.bytes();
    store.directory.faults().fail(SystemCall::Write);
    assert!(write(&mut store, &[entry(3)], &[Note::Released(1), Note::Released(3)]).is_err());
    assert_eq!(store.bytes(), bytes);
    store.directory.faults().mend();
    write(&mut store, &[entry(4)], &[]).unwrap();
    assert_eq!(files(directory.path()).len(), 2, "the segment in which a write failed is given up");
    drop(store);
    assert_eq!(numbers(reopen(directory.path()).1), [2, 4], "the note is written when the disk takes it");
}

#[test]
fn a_missing_directory_takes_no_requests_and_works_again_once_it_is_back() {
    let directory = TempDir::new().unwrap();
    let (path, away) = (directory.path().join("journal"), directory.path().join("away"));
    let (mut store, _) = reopen(&path);
    fs::rename(&path, &away).unwrap();
    assert!(write(&mut store, &[entry(1)], &[]).is_err());
    assert!(write(&mut store, &[], &[]).is_err(), "the disk is tried even without a request");
    fs::rename(&away, &path).unwrap();
    write(&mut store, &[], &[]).unwrap();
    write(&mut store, &[entry(2)], &[]).unwrap();
    drop(store);
    assert_eq!(numbers(reopen(&path).1), [2]);
}

#[test]
fn the_memory_of_a_backlog_is_charged_to_the_budget() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1)], &[Note::Kept(1, trace(1), KEEP), Note::Settled(1, trace(1))]).unwrap();
    drop(store);
    let budget = Budget::new(1 << 30);
    let settings = settings::JournalSettings { directory: directory.path().to_owned(), max_bytes: 1 << 30 };
    let (_store, backlog) = open(&settings, PolicyMarks::default(), &budget, &Metrics::new()).unwrap();
    assert!(budget.used_bytes() > 0);
    drop(backlog);
    assert_eq!(budget.used_bytes(), 0);
}

/// Opens a directory whose disk has the faults that `plan` sets.
fn open_with(directory: &Path, plan: impl Fn(&Faults)) -> (JournalStore, Backlog) {
    let (directory, numbers) = Directory::open(directory, OWNER).unwrap();
    plan(directory.faults());
    load(directory, &numbers, PolicyMarks::default(), &Budget::new(1 << 30), &Metrics::new())
}

#[test]
fn a_number_is_never_given_twice_even_if_earlier_segments_are_damaged() {
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 4] = [
        ("of another version", |path| overwrite(path, 8)),
        ("foreign", |path| overwrite(path, 0)),
        ("corrupt from its first record on", |path| overwrite(path, format::SEGMENT_HEADER_LEN)),
        ("whole", |_| {}),
    ];
    for (name, spoil) in spoil {
        let directory = TempDir::new().unwrap();
        let (mut store, backlog) = reopen(directory.path());
        let first = backlog.next_sequence();
        write(&mut store, &[entry(first), entry(first + 1)], &[]).unwrap();
        drop(store);
        spoil(&files(directory.path())[0]);
        let (mut store, backlog) = reopen(directory.path());
        let second = backlog.next_sequence();
        assert!(second > first + 1, "{name}");
        write(&mut store, &[entry(second)], &[]).unwrap();
        drop(store);
        assert!(numbers(reopen(directory.path()).1).contains(&second), "{name}");
    }
}

fn overwrite(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

#[test]
fn notes_that_outlive_their_requests_do_not_apply_to_later_requests() {
    let directory = TempDir::new().unwrap();
    let (mut store, backlog) = reopen(directory.path());
    let first = backlog.next_sequence();
    write(&mut store, &[JournalEntry { sequence: first, ..large(1) }, entry(first + 1)], &[]).unwrap();
    write(&mut store, &[], &[Note::Released(first), Note::Released(first + 1)]).unwrap();
    store.delete_released().unwrap();
    assert_eq!(files(directory.path()).len(), 1, "only notes are left");
    drop(store);
    let (mut store, backlog) = reopen(directory.path());
    let sequences = [0, 1, 2].map(|i| backlog.next_sequence() + i);
    write(&mut store, &sequences.map(entry), &[]).unwrap();
    drop(store);
    assert_eq!(numbers(reopen(directory.path()).1), sequences);
}

#[test]
fn notes_of_an_earlier_request_of_the_same_number_do_not_release_it() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    // An earlier version could leave notes in front of the requests with the same numbers.
    write(&mut store, &[], &[Note::Settled(1, trace(1)), Note::Released(1), Note::Settled(2, trace(2))]).unwrap();
    write(&mut store, &[entry(1), entry(2)], &[]).unwrap();
    drop(store);
    assert_eq!(unreleased(reopen(directory.path()).1), [(1, vec![], true), (2, vec![], true)]);
}

#[test]
fn a_segment_that_cannot_be_read_now_keeps_its_requests_for_the_next_start() {
    for call in [SystemCall::Open, SystemCall::Read] {
        let directory = TempDir::new().unwrap();
        let (mut store, backlog) = reopen(directory.path());
        let first = backlog.next_sequence();
        write(&mut store, &[entry(first)], &[]).unwrap();
        drop(store);
        let (mut store, backlog) = open_with(directory.path(), |faults| faults.fail_on(call, "1.segment", 0));
        let second = backlog.next_sequence();
        assert_eq!(numbers(backlog), [] as [Sequence; 0]);
        write(&mut store, &[entry(second)], &[Note::Released(second)]).unwrap();
        store.delete_released().unwrap();
        drop(store);
        assert_eq!(numbers(reopen(directory.path()).1), [first], "{call:?}");
    }
}

#[test]
fn an_unreadable_body_does_not_hide_later_requests() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1), large(2), entry(3), entry(4)], &[]).unwrap();
    drop(store);
    let (store, mut backlog) = open_with(directory.path(), |_| {});
    let faults = store.faults();
    assert_eq!(backlog.next_request().unwrap().unwrap().sequence, 1);
    let request = backlog.next_request().unwrap().unwrap();
    faults.fail(SystemCall::Read);
    assert_eq!(request.sequence, 2);
    backlog.body(&request).unwrap_err();
    faults.mend();
    assert_eq!(numbers(backlog), [3, 4]);
}

#[test]
fn requests_after_a_read_error_are_reported_as_unreadable() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[large(1), large(2), large(3)], &[]).unwrap();
    write(&mut store, &[entry(4)], &[]).unwrap();
    drop(store);
    let (store, mut backlog) = open_with(directory.path(), |_| {});
    assert_eq!(backlog.next_request().unwrap().unwrap().sequence, 1);
    store.faults().fail(SystemCall::Read);
    backlog.next_request().unwrap_err();
    store.faults().mend();
    assert_eq!(backlog.take_unreadable(), [2, 3]);
    assert_eq!(numbers(backlog), [4]);
}

#[test]
fn the_file_of_a_left_request_stays_but_later_files_are_deleted() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    for sequence in 1..=3 {
        write(&mut store, &[large(sequence)], &[]).unwrap();
    }
    drop(store);
    let (mut store, _) = reopen(directory.path());
    let bytes = store.bytes();
    store.write(&Group { left: vec![1], ..Group::default() }).unwrap();
    write(&mut store, &[], &[Note::Released(2), Note::Released(3)]).unwrap();
    store.delete_released().unwrap();
    assert_eq!(files(directory.path()).len(), 2, "the file of the left request, and the open file");
    assert!(store.bytes() > SEGMENT_BYTES && store.bytes() < bytes, "the file of the left request counts");
    store.close().unwrap();
    assert_eq!(numbers(reopen(directory.path()).1), [1]);
}

#[test]
fn a_disk_that_does_not_sync_takes_no_requests_and_counts_as_failing() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[entry(1)], &[]).unwrap();
    store.faults().fail(SystemCall::Sync);
    write(&mut store, &[entry(2)], &[]).unwrap_err();
    for id in 0..50 {
        write(&mut store, &[], &[Note::Settled(1, trace(id))]).unwrap_err();
        write(&mut store, &[], &[]).unwrap_err();
    }
    assert!(files(directory.path()).len() <= 2, "a failed attempt must not leave a file");
    store.faults().mend();
    write(&mut store, &[], &[]).unwrap();
    drop(store);
    let found = unreleased(reopen(directory.path()).1);
    assert_eq!(
        (found.len(), found[0].0, found[0].1.len()),
        (1, 1, 50),
        "request 2 was refused, and all notes were kept"
    );
}

#[test]
fn a_disk_works_again_only_once_it_takes_as_much_as_it_refused() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    let group = JournalEntry { body: vec![1; 100_000].into(), ..entry(1) };
    store.faults().fail(SystemCall::Write);
    write(&mut store, &[group], &[]).unwrap_err();
    store.faults().mend();
    write(&mut store, &[], &[]).unwrap();
    assert!(store.bytes() > 100_000, "{}", store.bytes());
    write(&mut store, &[], &[]).unwrap();
    let bytes = store.bytes();
    write(&mut store, &[], &[]).unwrap();
    assert_eq!(store.bytes(), bytes, "a disk that works is not probed again");
    drop(store);
    assert!(reopen(directory.path()).1.is_empty());
}

#[test]
fn a_file_that_cannot_be_deleted_does_not_stop_writing() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = reopen(directory.path());
    write(&mut store, &[large(1)], &[]).unwrap();
    store.faults().fail(SystemCall::Remove);
    write(&mut store, &[entry(2)], &[Note::Released(1)]).unwrap();
    store.delete_released().unwrap_err();
    assert!(store.bytes() > SEGMENT_BYTES, "the file counts until it is deleted");
    write(&mut store, &[entry(3)], &[]).unwrap();
    store.faults().mend();
    store.delete_released().unwrap();
    assert!(store.bytes() < SEGMENT_BYTES);
    drop(store);
    assert_eq!(numbers(reopen(directory.path()).1), [2, 3]);
}

#[test]
fn requests_are_not_written_to_a_removed_file_or_directory() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal");
    let (mut store, _) = reopen(&path);
    write(&mut store, &[entry(1)], &[]).unwrap();
    fs::remove_file(&files(&path)[0]).unwrap();
    write(&mut store, &[entry(2)], &[]).unwrap();
    assert_eq!(files(&path).len(), 1, "a new file");
    fs::remove_dir_all(&path).unwrap();
    write(&mut store, &[entry(3)], &[]).unwrap_err();
    fs::create_dir(&path).unwrap();
    let error = write(&mut store, &[entry(4)], &[]).unwrap_err().to_string();
    assert!(error.contains("another directory"), "{error}");
    assert_eq!(files(&path), [] as [PathBuf; 0]);
}
