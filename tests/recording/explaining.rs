//! `spansieve explain` on recordings.

use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spansieve::journal::format::{RecordKind, put_record, segment_header};
use tempfile::TempDir;

use super::text;
use crate::daemon_api::asking::spansieve;
use crate::support::{MS, error, request, span, trace_id};

/// 2026-11-30T10:00:00Z.
const START: u64 = 1_796_032_800_000 * MS;

/// Writes a recording of spans, each with its arrival in seconds.
fn write(path: &Path, spans: &[(u64, Span)]) {
    let mut out = segment_header();
    for (number, (second, span)) in spans.iter().enumerate() {
        let body = request("shop", vec![span.clone()]).encode_to_vec();
        put_record(&mut out, RecordKind::Request, number as u64 + 1, START + second * 1_000 * MS, &body);
    }
    std::fs::write(path, out).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_of_two_instances_are_one_traffic() {
    let directory = TempDir::new().unwrap();
    let [config, first, second] = ["config.yaml", "a.rec", "b.rec"].map(|name| directory.path().join(name));
    std::fs::write(&config, "tail_sampling: {decision_wait: 10s, policies: [{name: errors, type: error}]}").unwrap();
    let split = trace_id(false);
    write(&first, &[(0, span(split, "list")), (20, span(trace_id(false), "later"))]);
    write(&second, &[(5, error(split, "pay"))]);
    let explained = async |files: [&Path; 2]| {
        let [a, b] = files.map(text);
        let printed = spansieve(&["explain", "--config", text(&config), a, b]).await;
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
        printed.stdout
    };
    let out = explained([&first, &second]).await;
    // One after the other, the error would come 20 s after the beginning, and bring a dropped trace back.
    assert!(out.contains("kept by errors (evidence, after 5s)"), "{out}");
    assert_eq!(explained([&second, &first]).await, out);
}
