use tempfile::TempDir;

use super::*;
use crate::offline::input::Input;

fn pieces(bytes: &[u8], size: usize) -> mpsc::Receiver<Piece> {
    received(bytes.chunks(size).map(|piece| Piece::Bytes(Bytes::copy_from_slice(piece))).collect())
}

fn received(pieces: Vec<Piece>) -> mpsc::Receiver<Piece> {
    let (sender, receiver) = mpsc::channel(pieces.len() + 1);
    pieces.into_iter().for_each(|piece| sender.try_send(piece).unwrap());
    receiver
}

fn answer(requests: u64, body: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    let mut out = segment_header();
    put_record(&mut out, RecordKind::Remark, 0, 0, b"{}");
    for number in 1..=requests {
        put_record(&mut out, RecordKind::Request, number, number, &body(number));
    }
    put_record(&mut out, RecordKind::Remark, 0, 0, br#"{"requests_left_out":7}"#);
    out
}

fn write(directory: &TempDir, bytes_max: u64, answer: &[u8]) -> Result<Written, WriterError> {
    let file = PartialFile::create(&directory.path().join("out.rec")).unwrap();
    Recorder::new(file, bytes_max, Instant::now()).write(pieces(answer, 1_000))
}

/// Returns the names of the files.
fn files(directory: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_recording_is_written_as_it_came() {
    let directory = TempDir::new().unwrap();
    let written = write(&directory, 1 << 20, &answer(3, |_| vec![1; 5_000])).unwrap();
    assert_eq!((written.requests, written.left_out), (3, 7));
    assert_eq!(files(&directory), ["out.rec"]);
    let path = directory.path().join("out.rec");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), written.file_bytes);
    let mut input = Input::open(&path).unwrap();
    let times: Vec<u64> = input.by_ref().map(|request| request.unwrap().unix_nano).collect();
    assert_eq!((times, input.faults(), input.remarks().unwrap().requests_left_out), (vec![1, 2, 3], vec![], 7));
}

#[test]
fn a_recording_is_compressed_with_a_window_of_one_mebibyte_and_without_a_checksum() {
    let directory = TempDir::new().unwrap();
    write(&directory, 1 << 20, &answer(3, |_| vec![1; 5_000])).unwrap();
    let file = std::fs::read(directory.path().join("out.rec")).unwrap();
    // The descriptors of the frame and of its window (RFC 8878, 3.1.1.1): neither size nor checksum, and 2^20.
    assert_eq!(file[4..6], [0, (20 - 10) << 3]);
}

#[test]
fn after_the_end_only_remarks_count() {
    let whole = answer(3, |_| vec![1; 5_000]);
    // The time is over within the second request, and the third one comes after it.
    let (before, after) = whole.split_at(segment_header().len() + 9_000);
    let pieces = [Piece::Bytes(before.to_vec().into()), Piece::Over, Piece::Bytes(after.to_vec().into())];
    let directory = TempDir::new().unwrap();
    let file = PartialFile::create(&directory.path().join("out.rec")).unwrap();
    let written = Recorder::new(file, 1 << 20, Instant::now()).write(received(pieces.into())).unwrap();
    assert_eq!((written.requests, written.left_out), (1, 7));
    let mut input = Input::open(&directory.path().join("out.rec")).unwrap();
    assert_eq!((input.by_ref().count(), input.remarks().unwrap().requests_left_out), (1, 7));
}

#[test]
fn a_file_never_has_more_bytes_than_it_may_have() {
    let noise = |_| (0..10_000).map(|_| fastrand::u8(..)).collect::<Vec<u8>>();
    for bytes_max in [20_000, 100_000, 333_333] {
        let directory = TempDir::new().unwrap();
        let written = write(&directory, bytes_max, &answer(100, noise)).unwrap();
        let len = std::fs::metadata(directory.path().join("out.rec")).unwrap().len();
        assert!(len <= bytes_max && len > bytes_max - 12_000, "{len} of {bytes_max}");
        assert_eq!(Input::open(&directory.path().join("out.rec")).unwrap().count() as u64, written.requests);
    }
    // What can be compressed is worth a flush.
    let directory = TempDir::new().unwrap();
    assert_eq!(write(&directory, 20_000, &answer(100, |_| vec![1; 10_000])).unwrap().requests, 100);
}

#[test]
fn an_answer_that_breaks_off_is_kept_and_another_answer_is_not() {
    let directory = TempDir::new().unwrap();
    let whole = answer(3, |_| vec![1; 5_000]);
    let written = write(&directory, 1 << 20, &whole[..whole.len() - 4_000]).unwrap();
    assert_eq!((written.requests, files(&directory)), (2, vec!["out.rec".to_owned()]));
    for (foreign, expected) in [
        (&b"<html>a login page, perhaps"[..], "it does not begin as a segment does"),
        (&[&whole[..50], &[9; 100][..]].concat(), "there is no record at byte 47"),
        (&[], "nothing was recorded"),
    ] {
        let directory = TempDir::new().unwrap();
        let error = write(&directory, 1 << 20, foreign).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(files(&directory), Vec::<String>::new());
    }
}

#[test]
fn files_that_exist_are_not_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("out.rec");
    let partial = PartialFile::create(&path).unwrap();
    let error = PartialFile::create(&path).unwrap_err().to_string();
    assert!(error.contains("out.rec.partial exists already"), "{error}");
    std::fs::write(&path, "precious").unwrap();
    assert!(partial.finish().is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let error = PartialFile::create(&path).unwrap_err().to_string();
    assert!(error.contains("out.rec exists already: give --out another name"), "{error}");
    let error = PartialFile::create(std::path::Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("name a file"), "{error}");
    let error = PartialFile::create(&directory.path().join("none/out.rec")).unwrap_err().to_string();
    assert!(error.contains("cannot create") && error.contains("make its folder first"), "{error}");
    let error = PartialFile::create(std::path::Path::new("-")).unwrap_err().to_string();
    assert!(error.contains("name a file, or read /api/recording"), "{error}");
}

#[test]
fn a_file_without_room_for_a_request_is_not_written() {
    let noise = |_| (0..10_000).map(|_| fastrand::u8(..)).collect::<Vec<u8>>();
    for bytes_max in [1, 100, 9_000] {
        let directory = TempDir::new().unwrap();
        let error = write(&directory, bytes_max, &answer(3, noise)).unwrap_err().to_string();
        assert!(error.contains("has no room for a request"), "{error}");
        assert_eq!(files(&directory), Vec::<String>::new());
    }
    let directory = TempDir::new().unwrap();
    let error = write(&directory, 9_000, &answer(1, noise)).unwrap_err().to_string();
    assert!(error.contains("--max-bytes 9000B") && error.contains("takes up to 10127B"), "{error}");
}

#[test]
fn a_disk_that_is_full_is_named_and_the_file_stays() {
    let directory = TempDir::new().unwrap();
    let partial = directory.path().join("out.rec.partial");
    std::fs::write(&partial, "").unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let file = PartialFile::of(full, partial, directory.path().join("out.rec"));
    let error = Recorder::new(file, 1 << 20, Instant::now()).write(pieces(&answer(3, |_| vec![1; 5_000]), 1_000));
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("out.rec.partial: No space left on device") && error.contains("what was recorded"),
        "{error}"
    );
    assert_eq!(files(&directory), ["out.rec.partial"]);
}
