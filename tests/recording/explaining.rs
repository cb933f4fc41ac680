//! `spansieve explain` and `spansieve simulate` on small recordings.

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

/// Writes a recording of spans, each with its arrival in seconds. Returns the offsets of the records.
fn write(path: &Path, spans: &[(u64, Span)]) -> Vec<usize> {
    let (mut out, mut offsets) = (segment_header(), Vec::new());
    for (number, (second, span)) in spans.iter().enumerate() {
        let body = request("shop", vec![span.clone()]).encode_to_vec();
        offsets.push(out.len());
        put_record(&mut out, RecordKind::Request, number as u64 + 1, START + second * 1_000 * MS, &body);
    }
    std::fs::write(path, out).unwrap();
    offsets
}

/// Changes the last byte of the record that ends at `offset`.
fn damage(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset - 1] ^= 1;
    std::fs::write(path, bytes).unwrap();
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

const TRIALS: &str = "\
tail_sampling:
  dry_run: true
  policies:
    - {name: all, type: always_sample, until: 2026-11-30T09:00:00Z}
    - {name: errors, type: error}
    - {name: later, type: latency, latency: {threshold_ms: 9000}, until: 2026-12-30T09:00:00Z}
    - {name: tried, type: always_sample, shadow: true}
export: {endpoint: embedded, project: shop}
";

#[tokio::test(flavor = "multi_thread")]
async fn simulate_marks_a_dry_run_and_policies_that_decide_nothing() {
    let directory = TempDir::new().unwrap();
    let [config, file] = ["config.yaml", "a.rec"].map(|name| directory.path().join(name));
    std::fs::write(&config, TRIALS).unwrap();
    let spans = [(0, error(trace_id(false), "pay")), (1, span(trace_id(false), "a")), (3, span(trace_id(false), "b"))];
    write(&file, &spans);
    let printed = spansieve(&["simulate", "--config", text(&config), text(&file)]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    for line in [
        "  written 3 spans (100.0 %), ",
        "a dry run writes every span\n  kept    1 traces (33.3 %), 1 spans (33.3 %), ",
        " without the dry run\n  price   $0.03 a month for 2,628,000 spans",
        "          $0.00 a month for 876,000 spans without the dry run\n",
        "  all          0      0              ended at 2026-11-30T09:00:00Z    0 B\n",
        "  tried        -      -  shadow: would keep 2 more traces, 2 spans      -\n",
    ] {
        assert!(printed.stdout.contains(line), "{line}: {}", printed.stdout);
    }
    assert!(!printed.stdout.contains("2026-12-30"), "{}", printed.stdout);
    let printed = spansieve(&["simulate", "--format", "json", "--config", text(&config), text(&file)]).await;
    let json: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    let side = &json["sides"][0];
    assert_eq!((&side["dry_run"], &side["kept_spans"], &side["written_spans"]), (&true.into(), &1.into(), &3.into()));
    assert_eq!(side["policies"][0]["ended_at"], "2026-11-30T09:00:00Z");
    assert_eq!(
        (&side["policies"][3]["shadow"]["more_traces"], &side["policies"][1]["shadow"]),
        (&2.into(), &().into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_told_with_its_place_and_the_records_after_it_are_used() {
    let directory = TempDir::new().unwrap();
    let [config, file] = ["config.yaml", "a.rec"].map(|name| directory.path().join(name));
    std::fs::write(&config, "tail_sampling: {policies: [{name: errors, type: error}]}").unwrap();
    let spans = [(0, error(trace_id(false), "a")), (1, error(trace_id(false), "b")), (2, error(trace_id(false), "c"))];
    let offsets = write(&file, &spans);
    damage(&file, offsets[2]);
    let place = format!("a.rec: the record at byte {} does not match its checksum", offsets[1]);
    for command in ["explain", "simulate"] {
        let printed = spansieve(&[command, "--config", text(&config), text(&file)]).await;
        let traces = printed.stdout.matches("kept by errors").count();
        assert!(traces == 2 || printed.stdout.contains("2 spans of 2 traces"), "{printed:?}");
        assert!(printed.stderr.contains(&place), "{printed:?}");
        assert!(printed.stderr.contains("= help: it is left out, and the records before and after it are used"));
    }
    // A test of a damaged file is a test of something else.
    let tests = directory.path().join("tests.yaml");
    std::fs::write(&tests, "tests:\n  - {name: x, file: a.rec, expect: {verdict: kept}}\n").unwrap();
    let printed = spansieve(&["test", "--config", text(&config), text(&tests)]).await;
    assert!(printed.code == Some(1) && printed.stdout.contains(&place), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_says_how_many_requests_lack_an_attribute() {
    let directory = TempDir::new().unwrap();
    let [config, whole, redacted] = ["config.yaml", "a.rec", "b.rec"].map(|name| directory.path().join(name));
    std::fs::write(&config, "").unwrap();
    write(&whole, &[(0, span(trace_id(false), "a")), (1, span(trace_id(false), "b"))]);
    let mut remark = segment_header();
    let header = remark.len();
    put_record(&mut remark, RecordKind::Remark, 0, 0, br#"{"redacted":["http.route"],"hashed":["user"]}"#);
    remark.extend_from_slice(&std::fs::read(&whole).unwrap()[header..]);
    std::fs::write(&redacted, remark).unwrap();
    let simulated = async |files: &[&Path]| {
        let mut args = vec!["simulate", "--config", text(&config)];
        args.extend(files.iter().map(|file| text(file)));
        spansieve(&args).await.stdout
    };
    let out = simulated(&[&redacted]).await;
    assert!(
        out.contains("  The recording lacks these attributes, so conditions on them do not hold there: http.route\n")
    );
    let out = simulated(&[&whole, &redacted]).await;
    let line = "  2 of the 4 requests lack these attributes, so conditions on them do not hold there: http.route\n";
    assert!(
        out.contains(line) && out.contains("  2 of the 4 requests have hashes of these attributes: user\n"),
        "{out}"
    );
}
