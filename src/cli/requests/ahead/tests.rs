use std::path::PathBuf;

use super::*;
use crate::journal::format::{RecordKind, put_record, segment_header};

/// Writes a recording with requests of `bytes` each, and an end that is cut.
fn recording(directory: &tempfile::TempDir, requests: u64, bytes: usize) -> PathBuf {
    let mut segment = segment_header();
    put_record(&mut segment, RecordKind::Remark, 0, 0, br#"{"requests_left_out":7}"#);
    for number in 1..=requests {
        put_record(&mut segment, RecordKind::Request, number, number, &vec![number as u8; bytes]);
    }
    segment.truncate(segment.len() - 1);
    let path = directory.path().join("cut.rec");
    std::fs::write(&path, segment).unwrap();
    path
}

#[test]
fn an_input_is_the_same_with_a_thread_and_without() {
    let directory = tempfile::tempdir().unwrap();
    // More than is read ahead, and a request that is larger than that.
    for (requests, bytes) in [(300, 100_000), (3, AHEAD_BYTES_MAX + 1), (1_000, 10)] {
        let path = recording(&directory, requests, bytes);
        let open = || Input::open(&path).unwrap();
        let inputs = [Ahead::alone(open()), Ahead::all(vec![open()]).unwrap().remove(0)];
        let read = inputs.map(|mut input| {
            let found: Vec<_> = input.by_ref().map(|request| request.unwrap()).collect();
            assert!(input.next().is_none());
            (found, input.faults(), input.remarks().cloned(), input.position())
        });
        assert_eq!(read[0], read[1]);
        let (found, faults, remarks, (at, len)) = &read[1];
        assert_eq!((found.len() as u64, faults.len(), at), (requests - 1, 1, len));
        assert_eq!(remarks.as_ref().map(|remarks| remarks.requests_left_out), Some(7));
    }
}

#[test]
fn no_more_is_read_ahead_than_there_is_room_for_and_a_reader_that_leaves_ends_the_thread() {
    let directory = tempfile::tempdir().unwrap();
    let path = recording(&directory, 300, 100_000);
    let mut input = Ahead::start(Input::open(&path).unwrap()).unwrap();
    assert!(input.next().is_some());
    assert!(input.queue.0.state.lock().bytes <= AHEAD_BYTES_MAX);
    let thread = input.thread.take().unwrap();
    drop(input);
    let rest = thread.join().unwrap();
    assert!(rest.count() > 200, "the thread has not read all of it");
}

#[test]
fn the_position_is_that_of_what_was_taken_and_not_of_what_was_read_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let path = recording(&directory, 600, 10_000);
    let mut input = Ahead::start(Input::open(&path).unwrap()).unwrap();
    assert!(input.next().is_some());
    let (at, len) = input.position();
    assert!(at < len / 3, "{at} of {len}");
    // A file that was read as a whole moves on with its requests, too.
    let span = |id: u8| format!(r#"{{"traceId":"{}","spanId":"0102030405060708"}}"#, format!("{id:02x}").repeat(16));
    let line = |id| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, span(id));
    let path = directory.path().join("t.json");
    std::fs::write(&path, [1, 2, 3, 4].map(line).join("\n")).unwrap();
    let mut input = Ahead::start(Input::open(&path).unwrap()).unwrap();
    assert!(input.next().is_some());
    let (at, len) = input.position();
    assert_eq!(at, len / 4);
}
