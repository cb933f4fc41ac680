//! The transcripts of `docs/simulate.md` are what the program prints.
//!
//! `shop.rec`, which the document speaks of, is made here. `SPANSIEVE_WRITE_TRANSCRIPTS=1 cargo test --test integration
//! recording` writes the output anew.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use spansieve::journal::format::{RecordKind, put_record, segment_header};
use tempfile::TempDir;

use super::{is_recording, start};
use crate::daemon_api::asking::spansieve;
use crate::policy_tests::{WRITE, with_transcripts};
use crate::support::{Client, MS, error, otlp, request, trace_id, traces};

const PATH: &str = "docs/simulate.md";
/// The first arrival, in nanoseconds since 1970: 2026-11-30T10:00:00Z.
const START: u64 = 1_796_032_800_000 * MS;
/// A trace each 25 ms for a minute.
const TRACES: u64 = 2_400;

/// Returns a trace of the shop: a page, the service behind it, and sometimes a third one.
fn trace(start: u64, random: &mut Rng) -> ExportTraceServiceRequest {
    let id = random.u128(1..);
    let (route, is_order) = match random.u8(..10) {
        0..4 => ("GET /health", false),
        4..9 => ("GET /cart", false),
        _ => ("POST /orders", true),
    };
    let millis = if random.u8(..100) == 0 { random.u64(1_100..3_000) } else { random.u64(5..400) };
    let mut number = 0;
    let mut span = |name: &str, parent: u64, millis: u64| {
        number += 1;
        let span = Span {
            trace_id: id.to_be_bytes().into(),
            span_id: (number as u64).to_be_bytes().into(),
            parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().into() },
            name: name.to_owned(),
            kind: 2,
            start_time_unix_nano: start,
            end_time_unix_nano: start + millis * MS,
            ..Span::default()
        };
        traces::with(span, "http.route", Value::StringValue(route.split(' ').next_back().unwrap().into()))
    };
    let mut all = request("web", vec![span(route, 0, millis)]);
    if route != "GET /health" {
        all.resource_spans.extend(request("cart", vec![span("list", 1, millis / 2)]).resource_spans);
    }
    if is_order {
        let mut charge = span("charge", 2, millis / 4);
        if random.u8(..20) == 0 {
            charge.status = Some(Status { code: 2, message: "card declined".into() });
        }
        all.resource_spans.extend(request("payments", vec![charge]).resource_spans);
    }
    all
}

/// Writes the recording of the document.
fn write_recording(path: &Path) {
    let (mut out, mut random) = (segment_header(), Rng::with_seed(1));
    for number in 0..TRACES {
        let arrival = START + number * 25 * MS;
        let body = trace(arrival - 400 * MS, &mut random).encode_to_vec();
        put_record(&mut out, RecordKind::Request, number + 1, arrival, &body);
    }
    put_record(&mut out, RecordKind::Remark, 0, 0, br#"{"requests_left_out":12}"#);
    fs::write(path, zstd::bulk::compress(&out, 3).unwrap()).unwrap();
}

#[test]
fn the_transcripts_are_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let document = fs::read_to_string(&path).unwrap();
    let directory = TempDir::new().unwrap();
    write_recording(&directory.path().join("shop.rec"));
    let (expected, count) = with_transcripts(directory.path(), &document);
    assert!(count >= 1, "no transcript was found");
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, expected).unwrap();
    } else {
        assert_eq!(document, expected, "run the test with {WRITE}=1");
    }
}

/// Returns the text without numbers and units, which differ from run to run.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit() && *c != ',').collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_record_is_what_it_prints() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH)).unwrap();
    let (_, rest) = document.split_once("<!-- transcript of a running daemon -->\n```console\n$ spansieve ").unwrap();
    let (command, expected) = rest.split_once("```").unwrap().0.split_once('\n').unwrap();
    let daemon = start().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("shop.rec").to_str().unwrap().to_owned();
    let arguments: Vec<&str> = command
        .split(' ')
        .map(|argument| match argument {
            "http://127.0.0.1:8090" => daemon.api_url().unwrap(),
            "60s" => "2s",
            "shop.rec" => file.as_str(),
            other => other,
        })
        .collect();
    let used = daemon.observed().held().used_bytes;
    let traffic = async {
        is_recording(&daemon, used).await;
        let mut sender = Client::new(&otlp(&daemon));
        sender.export(request("shop", vec![error(trace_id(false), "pay")])).await.unwrap();
    };
    let (printed, ()) = tokio::join!(spansieve(&arguments), traffic);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    let found = printed.stdout.replace(&file, "shop.rec");
    assert_eq!(words(&found), words(expected), "{found}");
}
