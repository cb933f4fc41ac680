use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::open::OWNER;
use super::*;
use crate::budget::Budget;
use crate::export::batch::Batcher;
use crate::export::settings;
use crate::export::testing::{counter, push_record, record};
use crate::segment::directory::OpenError;
use crate::segment::file::{Faults, SystemCall};
use crate::telemetry::Metrics;

const FORM: Form = Form::CloudTrace;

fn file_name(number: u64) -> String {
    OWNER.file_name(number)
}

fn spool(directory: &Path) -> settings::SpoolSettings {
    settings::SpoolSettings { directory: directory.to_owned(), max_bytes: 1 << 30 }
}

fn try_open(directory: &Path) -> Result<(Store, u64), OpenError> {
    Store::open(&spool(directory), FORM, &Budget::new(1 << 30), &Metrics::new())
}

fn open(directory: &Path) -> (Store, u64) {
    try_open(directory).unwrap()
}

/// Returns a batch of spans with these ids.
fn batch(project: &str, ids: impl IntoIterator<Item = u64>) -> Batch {
    named(project, ids, "span")
}

fn named(project: &str, ids: impl IntoIterator<Item = u64>, name: &str) -> Batch {
    let limits =
        settings::BatchSettings { max_spans: 1 << 20, max_bytes: 1 << 30, max_delay: std::time::Duration::MAX };
    let mut batcher = Batcher::new(Form::CloudTrace, limits, Budget::new(1 << 30));
    let project = project.into();
    for id in ids {
        push_record(&mut batcher, &project, std::time::Instant::now(), &record(&project, id, name));
    }
    batcher.flush();
    batcher.take_closed().next().unwrap()
}

fn append(store: &mut Store, batch: &Batch) {
    store.append(batch, Instant::now(), 7).unwrap();
}

fn any(_: &Arc<str>) -> bool {
    true
}

fn next(store: &mut Store) -> Option<StoredBatch> {
    store.next(any).unwrap()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    OWNER.segments(directory).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// Checks that the stored batch equals `batch`.
fn assert_same(stored: &StoredBatch, batch: &Batch) {
    assert_eq!(stored.project, *batch.project());
    assert_eq!(stored.span_count, batch.span_count());
    assert_eq!(stored.message.as_ref(), Some(batch.message()));
}

#[test]
fn appended_batches_come_back_in_order() {
    let directory = TempDir::new().unwrap();
    let (mut store, spans) = open(directory.path());
    assert_eq!(spans, 0);
    let batches = (0..10).map(|i| batch("p", i * 10..i * 10 + 5)).collect::<Vec<_>>();
    batches.iter().for_each(|batch| append(&mut store, batch));
    for batch in &batches {
        assert_same(&next(&mut store).unwrap(), batch);
    }
    assert!(next(&mut store).is_none());
}

#[test]
fn a_restart_finds_what_is_not_done() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let batches = (0..4).map(|i| batch("p", i..i + 3)).collect::<Vec<_>>();
    batches.iter().for_each(|batch| append(&mut store, batch));
    let first = next(&mut store).unwrap();
    let second = next(&mut store).unwrap();
    store.done(second.id).unwrap();
    drop(store);

    let (mut store, spans) = open(directory.path());
    assert_eq!(spans, 9);
    for batch in [&batches[0], &batches[2], &batches[3]] {
        assert_same(&next(&mut store).unwrap(), batch);
    }
    assert!(next(&mut store).is_none());
    assert_eq!(first.id.segment, 1);
}

#[test]
fn a_segment_is_deleted_with_its_last_record() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let large = named("p", 0..40, &"x".repeat(100_000));
    for _ in 0..10 {
        append(&mut store, &large);
    }
    let files = segments(directory.path());
    assert_eq!(files.len(), 3, "four to a segment");
    assert!(files[..2].iter().all(|file| fs::metadata(file).unwrap().len() <= SEGMENT_BYTES));
    let total = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    assert_eq!(store.bytes(), total);
    let read = (0..10).map(|_| next(&mut store).unwrap().id).collect::<Vec<_>>();
    for (done, id) in read.iter().enumerate() {
        let expected = [0..4, 4..8, 8..10].iter().filter(|records| records.end > done).count();
        assert_eq!(segments(directory.path()).len(), expected);
        store.done(*id).unwrap();
    }
    assert_eq!(segments(directory.path()), [] as [PathBuf; 0]);
    assert_eq!(store.bytes(), 0);
    append(&mut store, &large);
    assert_eq!(segments(directory.path()).len(), 1, "it goes on after the open one was deleted");
}

#[test]
fn a_record_larger_than_a_segment_has_its_own() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let huge = named("p", 0..1, &"x".repeat(SEGMENT_BYTES as usize));
    let batches = [batch("p", 0..1), huge, batch("p", 1..2)];
    batches.iter().for_each(|batch| append(&mut store, batch));
    assert_eq!(segments(directory.path()).len(), 3);
    batches.iter().for_each(|batch| assert_same(&next(&mut store).unwrap(), batch));
}

#[test]
fn it_is_full_at_max_bytes_and_has_room_again() {
    let directory = TempDir::new().unwrap();
    let one = batch("p", 0..100);
    let record_bytes = (one.message().len() + format::RECORD_HEADER_LEN + 1) as u64;
    // There is room for five records, but not for six.
    let max_bytes = 2 * SEGMENT_HEADER_LEN as u64 + 5 * record_bytes;
    let settings = settings::SpoolSettings { max_bytes, ..spool(directory.path()) };
    let (mut store, _) = Store::open(&settings, FORM, &Budget::new(1 << 30), &Metrics::new()).unwrap();
    for _ in 0..5 {
        append(&mut store, &one);
    }
    for _ in 0..3 {
        assert!(matches!(store.append(&one, Instant::now(), 0), Err(AppendError::Full)));
    }
    assert!(store.bytes() <= max_bytes);
    for _ in 0..5 {
        let id = next(&mut store).unwrap().id;
        store.done(id).unwrap();
    }
    append(&mut store, &one);
    assert_same(&next(&mut store).unwrap(), &one);
}

#[test]
fn a_project_that_cannot_be_delivered_does_not_delay_others() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    for (id, project) in ["denied", "denied", "a", "b", "denied", "a"].into_iter().enumerate() {
        append(&mut store, &batch(project, [id as u64]));
    }
    let allowed = |project: &Arc<str>| &**project != "denied";
    let order = std::iter::from_fn(|| store.next(allowed).unwrap()).map(|stored| stored.project).collect::<Vec<_>>();
    assert_eq!(order.iter().map(|project| &**project).collect::<Vec<_>>(), ["a", "b", "a"]);
    assert!(!store.has_waiting(allowed));
    assert!(store.has_waiting(any));
    assert_eq!(std::iter::from_fn(|| next(&mut store)).count(), 3);
}

#[test]
fn the_index_counts_in_the_budget() {
    let directory = TempDir::new().unwrap();
    let budget = Budget::new(1 << 30);
    let (mut store, _) = Store::open(&spool(directory.path()), FORM, &budget, &Metrics::new()).unwrap();
    append(&mut store, &batch("p", 0..1));
    append(&mut store, &batch("p", 1..2));
    assert_eq!(budget.used_bytes(), 2 * RECORD_MEMORY_BYTES);
    next(&mut store);
    next(&mut store);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_tail_that_is_torn_at_any_byte_costs_the_last_record_alone() {
    let source = TempDir::new().unwrap();
    let (mut store, _) = open(source.path());
    let batches = [batch("p", 0..2), batch("p", 2..4), batch("p", 4..6)];
    batches.iter().for_each(|batch| append(&mut store, batch));
    let bytes = fs::read(&segments(source.path())[0]).unwrap();
    let record_len = format::RECORD_HEADER_LEN + 1 + batches[0].message().len();
    for len in 0..bytes.len() {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(file_name(1)), &bytes[..len]).unwrap();
        let metrics = Metrics::new();
        let (mut store, spans) = Store::open(&spool(directory.path()), FORM, &Budget::new(1 << 30), &metrics).unwrap();
        let whole = len.saturating_sub(SEGMENT_HEADER_LEN) / record_len;
        assert_eq!(spans, 2 * whole as u64, "{len}");
        batches[..whole].iter().for_each(|batch| assert_same(&next(&mut store).unwrap(), batch));
        assert!(next(&mut store).is_none());
        let torn = len < SEGMENT_HEADER_LEN || !(len - SEGMENT_HEADER_LEN).is_multiple_of(record_len);
        let faults = counter(&metrics, "spansieve_spool_faults_total", "kind=\"torn\"");
        assert_eq!(faults, u64::from(torn), "{len}");
        append(&mut store, &batches[0]);
        assert_same(&next(&mut store).unwrap(), &batches[0]);
    }
}

#[test]
fn a_record_whose_spans_went_bad_is_skipped_alone() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let batches = [batch("p", 0..2), batch("p", 2..4), batch("p", 4..6)];
    batches.iter().for_each(|batch| append(&mut store, batch));
    drop(store);
    let path = &segments(directory.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let (mut store, spans) = open(directory.path());
    assert_eq!(spans, 6);
    let read = std::iter::from_fn(|| next(&mut store)).collect::<Vec<_>>();
    assert_eq!(read.iter().map(|stored| stored.message.is_some()).collect::<Vec<_>>(), [true, false, true]);
    read.iter().for_each(|stored| store.done(stored.id).unwrap());
    assert_eq!(segments(directory.path()), [] as [PathBuf; 0], "a bad record does not stay for ever");
}

#[test]
fn a_header_that_went_bad_ends_its_segment_and_no_other() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let large = named("p", 0..40, &"x".repeat(100_000));
    for _ in 0..8 {
        append(&mut store, &large);
    }
    let second = std::iter::from_fn(|| next(&mut store)).nth(1).unwrap().id;
    drop(store);
    let path = &segments(directory.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[second.offset as usize + 6] ^= 0x10;
    fs::write(path, bytes).unwrap();
    let metrics = Metrics::new();
    let (mut store, spans) = Store::open(&spool(directory.path()), FORM, &Budget::new(1 << 30), &metrics).unwrap();
    assert_eq!(spans, 5 * 40, "one of the first segment, four of the second");
    assert_eq!(counter(&metrics, "spansieve_spool_faults_total", "kind=\"corrupt\""), 1);
    assert!(std::iter::from_fn(|| next(&mut store)).all(|stored| stored.message.as_ref() == Some(large.message())));
}

#[test]
fn files_of_others_are_left_alone() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    append(&mut store, &batch("p", 0..1));
    drop(store);
    let mut newer = format::segment_header(FORM);
    newer[8] = 2;
    let others = [
        ("notes.txt", b"mine".to_vec()),
        ("spool-1.segment", b"not our way to write a number".to_vec()),
        (&file_name(5), newer),
        (&file_name(9), b"a file that only has the name".to_vec()),
    ];
    for (name, contents) in &others {
        fs::write(directory.path().join(name), contents).unwrap();
    }
    let metrics = Metrics::new();
    let (mut store, spans) = Store::open(&spool(directory.path()), FORM, &Budget::new(1 << 30), &metrics).unwrap();
    assert_eq!(spans, 1);
    assert_eq!(counter(&metrics, "spansieve_spool_faults_total", "kind=\"foreign\""), 2);
    append(&mut store, &batch("p", 1..2));
    assert!(directory.path().join(file_name(10)).exists(), "new segments are behind all others");
    for id in std::iter::from_fn(|| next(&mut store)).map(|stored| stored.id).collect::<Vec<_>>() {
        store.done(id).unwrap();
    }
    drop(store);
    for (name, contents) in &others {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), *contents, "{name}");
    }
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let directory = TempDir::new().unwrap();
    let (store, _) = open(directory.path());
    let error = try_open(directory.path()).unwrap_err().to_string();
    assert!(error.starts_with("export.spool.directory") && error.contains("in use"), "{error}");
    drop(store);
    open(directory.path());
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/no/such")] {
        let error = try_open(&path).unwrap_err().to_string();
        assert!(error.starts_with("export.spool.directory") && error.contains(path.to_str().unwrap()), "{error}");
    }
    let made = directory.path().join("a/b");
    open(&made);
    assert!(made.is_dir());
}

#[test]
fn a_disk_that_fails_loses_nothing_and_works_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("spool");
    let away = directory.path().join("away");
    let (mut store, _) = open(&path);
    append(&mut store, &batch("p", 0..1));
    let id = next(&mut store).unwrap().id;
    store.done(id).unwrap();
    fs::rename(&path, &away).unwrap();
    assert!(matches!(store.append(&batch("p", 1..2), Instant::now(), 7), Err(AppendError::Disk(_))));
    fs::rename(&away, &path).unwrap();
    for id in 1..3 {
        append(&mut store, &batch("p", [id]));
    }
    fs::rename(&path, &away).unwrap();
    assert!(store.next(any).is_err());
    assert!(!store.has_waiting(any), "nothing else is tried before the directory is back");
    assert_eq!(store.maintain(&Metrics::new()).gone_spans, 0);
    fs::rename(&away, &path).unwrap();
    assert!(store.maintain(&Metrics::new()).errors.is_empty());
    let spans = std::iter::from_fn(|| next(&mut store)).map(|stored| stored.message.unwrap()).collect::<BTreeSet<_>>();
    assert_eq!(spans, [1, 2].map(|id| batch("p", [id]).message().clone()).into(), "none twice, none lost");
}

#[test]
fn a_segment_that_cannot_be_written_any_more_is_given_up() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let batches = [batch("p", 0..2), batch("p", 2..4)];
    append(&mut store, &batches[0]);
    let bytes = store.bytes();
    // The failure is in the head or in the message of the record.
    for skip in [0, 1] {
        store.directory.faults().fail_on(SystemCall::Write, "1.segment", skip);
        assert!(matches!(store.append(&batches[1], Instant::now(), 7), Err(AppendError::Disk(_))));
        store.directory.faults().mend();
        assert_eq!(store.bytes(), bytes, "what was half written is cut off");
        // The segment is opened again, so that it fails a second time.
        store.open = Some(Open { number: 1, file: writable(&store, 1) });
    }
    store.open = None;
    append(&mut store, &batches[1]);
    assert_eq!(segments(directory.path()), [1, 2].map(|number| directory.path().join(file_name(number))));
    batches.iter().for_each(|batch| assert_same(&next(&mut store).unwrap(), batch));
}

fn writable(store: &Store, number: u64) -> SegmentFile {
    store.directory.segment_path(number).open_to_change().unwrap()
}

/// Opens a directory on a disk with the faults of `plan`.
fn open_with(directory: &Path, plan: impl Fn(&Faults)) -> (Store, u64) {
    let (directory, numbers) = Directory::open(directory, OWNER).unwrap();
    plan(directory.faults());
    Store::load(directory, &numbers, FORM, 1 << 30, Budget::new(1 << 30).share(), &Metrics::new())
}

/// Reads and settles all records that can be read, and returns the number of their spans.
fn drain(store: &mut Store) -> u64 {
    let mut spans = 0;
    while let Ok(Some(stored)) = store.next(any) {
        spans += u64::from(stored.span_count);
        store.done(stored.id).unwrap();
    }
    spans
}

#[test]
fn a_read_error_at_the_start_costs_no_record() {
    for skip in 0..5 {
        let directory = TempDir::new().unwrap();
        let (mut store, _) = open(directory.path());
        // These are larger than one read of the file.
        let batches = (0..4).map(|i| named("p", [i], &"x".repeat(20_000))).collect::<Vec<_>>();
        batches.iter().for_each(|batch| append(&mut store, batch));
        drop(store);
        let (mut store, spans) =
            open_with(directory.path(), |faults| faults.fail_on(SystemCall::Read, "1.segment", skip));
        store.directory.faults().mend();
        assert_eq!(spans < 4, skip < 4, "one read for each header");
        let bytes = store.bytes();
        assert_eq!(drain(&mut store), spans, "{skip}");
        if spans < 4 {
            assert_eq!(segments(directory.path()).len(), 1, "its other records are not known yet");
            assert!(store.is_unfinished() && store.bytes() == bytes);
        }
        let report = store.maintain(&Metrics::new());
        assert_eq!((spans + report.found_spans, report.errors.len()), (4, 0));
        assert_eq!(drain(&mut store), report.found_spans);
        assert_eq!((segments(directory.path()).len(), store.bytes(), store.is_unfinished()), (0, 0, false));
    }
}

#[test]
fn a_segment_that_cannot_be_opened_takes_up_room() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    append(&mut store, &named("p", [1], &"x".repeat(20_000)));
    let bytes = store.bytes();
    drop(store);
    let (mut store, spans) = open_with(directory.path(), |faults| faults.fail(SystemCall::Open));
    assert_eq!((spans, store.bytes()), (0, bytes));
    store.directory.faults().mend();
    assert_eq!((store.maintain(&Metrics::new()).found_spans, store.bytes()), (1, bytes));
    assert_eq!((drain(&mut store), store.bytes()), (1, 0));
}

#[test]
fn a_segment_that_cannot_be_read_stops_no_other() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let large = named("p", 0..40, &"x".repeat(100_000));
    for _ in 0..13 {
        append(&mut store, &large);
    }
    let small = (0..100).map(|i| batch("p", [i])).collect::<Vec<_>>();
    small.iter().for_each(|batch| append(&mut store, batch));
    assert_eq!(segments(directory.path()).len(), 4);
    store.directory.faults().fail_on(SystemCall::Read, "4.segment", 0);
    store.directory.faults().fail_on(SystemCall::Open, "2.segment", 0);
    let reads = store.directory.faults().calls(SystemCall::Read);
    let mut spans = 0;
    while store.has_waiting(any) {
        match store.next(any) {
            Ok(stored) => spans += stored.map_or(0, |stored| stored.span_count),
            Err(error) => assert!(matches!(error, ReadError::Disk(_))),
        }
    }
    assert_eq!(spans, 8 * 40, "those of the others");
    assert_eq!(store.directory.faults().calls(SystemCall::Read) - reads, 8 + FAILURES_MAX as usize);
    store.directory.faults().mend();
    assert!(store.maintain(&Metrics::new()).errors.is_empty());
    assert_eq!(std::iter::from_fn(|| next(&mut store)).map(|stored| stored.span_count).sum::<u32>(), 5 * 40 + 100);
    assert!(!store.is_unfinished());
}

#[test]
fn spans_of_a_deleted_file_are_counted_and_its_bytes_are_free() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let large = named("p", 0..40, &"x".repeat(100_000));
    for _ in 0..8 {
        append(&mut store, &large);
    }
    let first = next(&mut store).unwrap();
    let bytes = store.bytes();
    let paths = segments(directory.path());
    let gone_bytes = fs::metadata(&paths[0]).unwrap().len();
    fs::remove_file(&paths[0]).unwrap();
    assert!(matches!(store.next(any), Err(ReadError::Gone(120))), "three of four records waited");
    assert_eq!(store.bytes(), bytes - gone_bytes);
    store.done(first.id).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    assert_eq!(store.maintain(&Metrics::new()).gone_spans, 160);
    assert_eq!(store.bytes(), 0);
    append(&mut store, &large);
    assert_same(&next(&mut store).unwrap(), &large);
}

#[test]
fn a_file_that_was_shortened_costs_what_was_cut_off() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let batches = [batch("p", 0..2), batch("p", 2..4)];
    batches.iter().for_each(|batch| append(&mut store, batch));
    let path = &segments(directory.path())[0];
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    assert_same(&next(&mut store).unwrap(), &batches[0]);
    assert_eq!(next(&mut store).unwrap().message, None);
}

#[test]
fn a_failed_deletion_or_mark_is_repeated_and_no_span_comes_twice() {
    for call in [SystemCall::Remove, SystemCall::Write] {
        let directory = TempDir::new().unwrap();
        let (mut store, _) = open(directory.path());
        [batch("p", 0..2), batch("p", 2..4)].iter().for_each(|batch| append(&mut store, batch));
        let bytes = store.bytes();
        let ids = [(); 2].map(|()| next(&mut store).unwrap().id);
        store.directory.faults().fail(call);
        let results = ids.map(|id| store.done(id).is_err());
        assert_eq!(results, [call == SystemCall::Write, call == SystemCall::Remove]);
        if call == SystemCall::Remove {
            assert!(store.is_unfinished() && store.bytes() == bytes, "it takes up room until it is gone");
            assert!(!store.maintain(&Metrics::new()).errors.is_empty());
            assert_eq!(open_copy(directory.path()), 0, "a process after this one delivers nothing of it");
            store.directory.faults().mend();
            assert!(store.maintain(&Metrics::new()).errors.is_empty());
        }
        assert_eq!((segments(directory.path()).len(), store.bytes()), (0, 0));
    }
}

/// Returns the number of spans that a new process would find in a copy of `directory`.
fn open_copy(directory: &Path) -> u64 {
    let copy = TempDir::new().unwrap();
    for path in segments(directory) {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    open(copy.path()).1
}

#[test]
fn a_mark_that_failed_is_written_later() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    [batch("p", 0..2), batch("p", 2..4)].iter().for_each(|batch| append(&mut store, batch));
    let id = next(&mut store).unwrap().id;
    store.directory.faults().fail(SystemCall::Write);
    store.done(id).unwrap_err();
    assert_eq!(open_copy(directory.path()), 4);
    store.directory.faults().mend();
    assert!(store.maintain(&Metrics::new()).errors.is_empty());
    assert_eq!(open_copy(directory.path()), 2);
}

#[test]
fn a_failed_sync_takes_its_records_back() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    let batches = [batch("p", 0..2), batch("q", 2..4), batch("p", 4..6)];
    append(&mut store, &batches[0]);
    store.sync().unwrap();
    let bytes = store.bytes();
    let ids = [1, 2].map(|at| store.append(&batches[at], Instant::now(), 7).unwrap());
    store.directory.faults().fail(SystemCall::Sync);
    store.sync().unwrap_err();
    assert_eq!(ids.map(|id| store.is_synced(id)), [false; 2]);
    store.take_back(ids[0]);
    store.directory.faults().mend();
    assert_eq!((store.bytes(), open_copy(directory.path())), (bytes, 2));
    store.sync().unwrap();
    assert!(!store.is_synced(ids[0]), "a second sync of the same file proves nothing");
    let id = store.append(&batches[1], Instant::now(), 7).unwrap();
    store.sync().unwrap();
    assert!(store.is_synced(id) && id.segment == 2);
    [&batches[0], &batches[1]].iter().for_each(|batch| assert_same(&next(&mut store).unwrap(), batch));
}

#[test]
fn the_age_of_spans_of_an_earlier_process_counts_from_the_start() {
    let directory = TempDir::new().unwrap();
    let (mut store, _) = open(directory.path());
    // The wall clock was in 1970 when this was written.
    store.append(&batch("p", 0..1), Instant::now(), 0).unwrap();
    drop(store);
    let before = Instant::now();
    let (mut store, _) = open(directory.path());
    assert!(next(&mut store).unwrap().since >= before);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Read,
    /// Settles the record that was read this many records ago.
    Done(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3u8).prop_map(Step::Append),
        3 => Just(Step::Read),
        3 => (0..4usize).prop_map(Step::Done),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// With any order of operations, each record is returned once in the life of a process until it is done, the oldest
    /// of its project first, and never after that.
    #[test]
    fn the_store_behaves_like_a_list_in_memory(steps in steps()) {
        let directory = TempDir::new().unwrap();
        let (mut store, _) = open(directory.path());
        let (mut waiting, mut out) = (Vec::<Batch>::new(), Vec::<(RecordId, Batch)>::new());
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(project) => {
                    let batch = batch(&format!("p{project}"), [id as u64]);
                    append(&mut store, &batch);
                    waiting.push(batch);
                }
                Step::Read => {
                    let stored = next(&mut store);
                    prop_assert_eq!(stored.is_some(), !waiting.is_empty());
                    if let Some(stored) = stored {
                        let batch = waiting.remove(0);
                        assert_same(&stored, &batch);
                        out.push((stored.id, batch));
                    }
                }
                Step::Done(back) => {
                    if let Some(at) = out.len().checked_sub(1 + back) {
                        store.done(out.remove(at).0).unwrap();
                    }
                }
                Step::Restart => {
                    drop(store);
                    let spans;
                    (store, spans) = open(directory.path());
                    waiting = out.drain(..).map(|(_, batch)| batch).chain(waiting).collect();
                    prop_assert_eq!(spans, waiting.len() as u64);
                }
            }
        }
    }
}
