//! Files that can be read, and the messages about those that cannot.

use std::io::Write;

use prost::Message;
use tempfile::TempDir;

use super::*;
use crate::journal::OWNER;
use crate::journal::format::{RecordKind, put_record, segment_header};
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
        (b"SPANJRNLxxxx", "is one file of a recording"),
        (b"\x1f\x8b\x08", "the compressed body ends too early"),
        (b"\x28\xb5\x2f\xfd\x00", "the compressed body"),
    ] {
        assert!(fault(contents).contains(expected), "{}", fault(contents));
    }
    let second = format!("{}\n{{\"resourceSpans\": 5}}\n", json(END));
    let error = open(second.as_bytes()).unwrap_err();
    assert!(error.name.contains(":2:"), "the line of the mistake: {error}");
}

#[test]
fn a_gigabyte_of_zeros_is_refused_in_bounded_memory() {
    let zeros = vec![0; 1 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..1_024).for_each(|_| encoder.write_all(&zeros).unwrap());
    let error = fault(&encoder.finish().unwrap());
    assert!(error.contains("has more than 256 MiB"), "{error}");
}

#[test]
fn a_missing_file_and_an_empty_directory_are_told_apart() {
    let directory = TempDir::new().unwrap();
    let error = Input::open(directory.path()).unwrap_err();
    assert!(error.fault.contains("a directory without a recording"), "{error}");
    let error = Input::open(&directory.path().join("none.json")).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("is the path right?"));
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
    assert!(faults[1].contains("it does not begin as a segment does"), "{faults:?}");
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
