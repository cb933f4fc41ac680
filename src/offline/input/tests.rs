//! Files that can be read, and the messages about those that cannot.

use std::io::Write;

use prost::Message;
use tempfile::TempDir;

use super::*;
use crate::journal::OWNER;
use crate::journal::format::{RecordKind, put_record, segment_header};
use crate::journal::recording::Remark;
use crate::otlp::reference::{Request, ResourceSpans, ScopeSpans, Span};

const END: u64 = 1_700_000_000_000_000_000;

fn body(end: u64) -> Vec<u8> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: END - 5,
        end_time_unix_nano: end,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    Request { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }.encode_to_vec()
}

fn json(end: u64) -> String {
    let (trace, span) = ("01".repeat(16), "02".repeat(8));
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{trace}","spanId":"{span}","endTimeUnixNano":"{end}"}}]}}]}}]}}"#
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads a file with these contents.
fn open(contents: &[u8]) -> Result<Vec<u64>, InputError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), contents).unwrap();
    let requests = Input::open(file.path())?;
    Ok(requests.map(|request| request.unwrap().unix_nano).collect())
}

fn fault(contents: &[u8]) -> String {
    let error = open(contents).expect_err("the file is refused");
    format!("{} / {}", error.fault, error.help.unwrap_or_default())
}

#[test]
fn json_protobuf_and_compressed_files_are_read() {
    assert_eq!(open(&body(END)).unwrap(), [END]);
    assert_eq!(open(json(END).as_bytes()).unwrap(), [END]);
    assert_eq!(open(format!("\n {}\n", json(END)).as_bytes()).unwrap(), [END]);
    let lines = format!("{}\n\n{}\n", json(END), json(END + 7));
    assert_eq!(open(lines.as_bytes()).unwrap(), [END, END + 7]);
    assert_eq!(open(&gzip(lines.as_bytes())).unwrap(), [END, END + 7]);
    assert_eq!(open(&zstd::bulk::compress(&body(END), 1).unwrap()).unwrap(), [END]);
}

#[test]
fn other_files_are_refused_with_a_reason_and_a_remedy() {
    for (contents, expected) in [
        (&b""[..], "is empty"),
        (b" \n", "is empty"),
        (b"hello", "has no traces in it"),
        (&[0; 100], "has no traces in it"),
        (b"{}", "has no spans in it"),
        (b"{\"resourceMetrics\":[]}", "is not OTLP in JSON"),
        (b"{\"resourceSpans\":[", "is not OTLP in JSON"),
        (b"SPANJRNLxxxx", "is not a recording that can be read: it ends within its header"),
        (b"SPANJRNLxxxxxxxx", "is not a recording that can be read: its format version"),
        (&segment_header(), "is a recording without a request"),
        (b"\x1f\x8b\x08", "the compressed body ends too early / copy the file again"),
        (b"\x28\xb5\x2f\xfd\x00", "the compressed body"),
        (b"\x28\xb5\x2f\xfd\x55\x55\x55\x55\x55\x55\x55\x55", "`zstd -t` and `gzip -t` check it"),
    ] {
        assert!(fault(contents).contains(expected), "{}", fault(contents));
    }
    let second = format!("{}\n{{\"resourceSpans\": 5}}\n", json(END));
    let error = open(second.as_bytes()).unwrap_err();
    assert!(error.name.contains(":2:"), "the line of the mistake: {error}");
}

/// Returns a gigabyte of these bytes, compressed.
fn gigabyte(first: &[u8], byte: u8) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(first).unwrap();
    let bytes = vec![byte; 1 << 20];
    (0..1_024).for_each(|_| encoder.write_all(&bytes).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn a_gigabyte_of_zeros_is_refused_at_once_and_other_bombs_in_bounded_memory() {
    let error = fault(&gigabyte(b"", 0));
    assert!(error.contains("has no traces in it"), "{error}");
    let error = fault(&gigabyte(b"", b' '));
    assert!(error.contains("has more than 256 MiB"), "{error}");
    let error = fault(&gigabyte(&segment_header(), 0));
    assert!(error.contains("has no request that can be read") && error.contains("at byte 16"), "{error}");
}

/// Returns a segment with two requests, the second one later, and a remark before each.
fn two_requests() -> Vec<u8> {
    let mut records = segment_header();
    let remark = Remark { requests_left_out: 2, redacted: vec!["k".to_owned()], ..Remark::default() };
    for (number, end) in [(1, END), (2, END + 9)] {
        put_record(&mut records, RecordKind::Remark, 0, 0, &remark.encode());
        put_record(&mut records, RecordKind::Request, number, end, &body(END));
    }
    records
}

#[test]
fn a_recording_in_a_file_is_read_compressed_or_not() {
    let records = two_requests();
    for contents in [records.clone(), gzip(&records), zstd::bulk::compress(&records, 3).unwrap()] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &contents).unwrap();
        let mut input = Input::open(file.path()).unwrap();
        let times: Vec<u64> = input.by_ref().map(|request| request.unwrap().unix_nano).collect();
        assert_eq!((times, input.faults()), (vec![END, END + 9], Vec::new()));
        let remarks = input.remarks().unwrap();
        assert_eq!((remarks.requests_left_out, remarks.redacted.contains("k")), (4, true));
        assert_eq!(input.position(), (contents.len() as u64, contents.len() as u64));
    }
}

#[test]
fn a_recording_that_was_cut_is_read_up_to_the_cut() {
    let mut records = two_requests();
    // Random bytes, which zstd cannot shrink, so that the cut is in the last request.
    let noise: Vec<u8> = (0..1 << 20).map(|_| fastrand::u8(..)).collect();
    put_record(&mut records, RecordKind::Request, 3, END + 10, &noise);
    let packed = zstd::bulk::compress(&records, 1).unwrap();
    for contents in [&records[..records.len() - 1], &packed[..packed.len() - 100]] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), contents).unwrap();
        let mut input = Input::open(file.path()).unwrap();
        assert_eq!(input.by_ref().map(Result::unwrap).count(), 2);
        let faults = input.faults();
        assert!(matches!(&faults[..], [fault] if fault.text.contains("the file ends within the record")), "{faults:?}");
    }
    let mut spoiled = packed;
    let middle = spoiled.len() / 2;
    spoiled[middle..middle + 8].fill(0x55);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &spoiled).unwrap();
    let mut input = Input::open(file.path()).unwrap();
    let read: Vec<_> = input.by_ref().collect();
    assert!(read.iter().any(Result::is_err) || !input.faults().is_empty(), "{read:?}");
}

#[test]
fn a_missing_file_and_an_empty_directory_are_told_apart() {
    let directory = TempDir::new().unwrap();
    let error = Input::open(directory.path()).unwrap_err();
    assert!(error.fault.contains("a directory without a recording"), "{error}");
    let error = Input::open(&directory.path().join("none.json")).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("is the path right?"));
}

#[test]
fn a_file_that_may_not_be_read_has_a_remedy() {
    let error = InputError::unreadable("t.json", &io::ErrorKind::PermissionDenied.into());
    assert!(error.help.is_some_and(|help| help.starts_with("let the user of this process read it")));
}

fn segment(directory: &TempDir, number: u64, contents: &[u8]) {
    std::fs::write(directory.path().join(OWNER.file_name(number)), contents).unwrap();
}

#[test]
fn a_recording_is_read_up_to_its_faults_and_these_are_told() {
    let directory = TempDir::new().unwrap();
    let mut records = segment_header();
    put_record(&mut records, RecordKind::Request, 1, END, &body(END));
    put_record(&mut records, RecordKind::Request, 2, END + 9, &body(END));
    let torn = &records[..records.len() - 3];
    segment(&directory, 1, torn);
    segment(&directory, 2, b"something else entirely");
    let mut input = Input::open(directory.path()).unwrap();
    let times: Vec<u64> = input.by_ref().map(|request| request.unwrap().unix_nano).collect();
    assert_eq!(times, [END]);
    let faults = input.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[1].text.contains("it does not begin as a segment does"), "{faults:?}");
}

#[test]
fn files_arrive_together() {
    let files = [body(END), body(END + 50)].map(|body| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&body).unwrap();
        file
    });
    let inputs = open_all(&[files[0].path(), files[1].path()]).unwrap();
    let times: Vec<u64> = inputs.into_iter().flatten().map(|request| request.unwrap().unix_nano).collect();
    assert_eq!(times, [END + 50, END + 50]);
}
