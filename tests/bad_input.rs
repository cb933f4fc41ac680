//! The table of bad input in `docs/evidence.md`. Each row is sent to a daemon, and the cells are compared with the
//! result.
//!
//! These tests do not cover gRPC's form of the answers (`tests/receiver/answers.rs`) nor broken connections
//! (`tests/receiver/hostile.rs`).
#![allow(clippy::unwrap_used, unreachable_pub)]

mod rows;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rows::{Row, rows};
use spansieve::daemon::Daemon;
use spansieve::emulator::TraceStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{self, conservation, eventually, metric, wire};

const DOCUMENT: &str = include_str!("../docs/evidence.md");
const HEAD: &str = "| input | answer | exported | counted as |";

/// A configuration that keeps every trace and exports it at once.
const CONFIG: &str = "
otlp: {listen: [\"127.0.0.1:0\"]}
tail_sampling: {policies: [{name: all, type: always_sample}]}
export:
  endpoint: embedded
  embedded: {listen: \"127.0.0.1:0\"}
  batch: {max_delay: 1ms}
memory: {limit: 512MiB}
";

/// Posts one body; returns the status and the body of the answer.
async fn post(daemon: &Daemon, is_json: bool, body: &[u8]) -> (u16, Vec<u8>) {
    let media = if is_json { "application/json" } else { "application/x-protobuf" };
    let length = body.len();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(daemon.addresses()[0]).await.unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(end + 4))
}

/// Writes the answer as the table does.
fn in_words(status: u16, is_json: bool, body: &[u8]) -> String {
    let rejected = match status {
        200 if !is_json => ExportTraceServiceResponse::decode(body).unwrap().partial_success.map(|p| p.rejected_spans),
        _ => None,
    };
    rejected.map_or_else(|| status.to_string(), |rejected| format!("{status}, {rejected} rejected"))
}

/// Returns the increased counters of rejected, dropped and altered spans and of failed requests, with their labels.
fn counted(before: &str, after: &str) -> String {
    let values = |text: &str, series: &str| {
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    let bad = ["rejected_spans", "dropped_spans", "altered_spans", "requests"]
        .map(|what| format!("spansieve_{what}_total{{"));
    let series = after.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0));
    let moved = series.filter(|series| bad.iter().any(|name| series.starts_with(&**name)));
    let moved = moved.filter(|series| values(after, series) > values(before, series));
    let label = |series: &str| {
        let word = series.rsplit('"').nth(1).unwrap();
        let what = series.split('_').nth(1).unwrap();
        (!matches!(word, "ok" | "partial")).then(|| format!("{what} `{word}`"))
    };
    // The order in a scrape is not defined.
    let mut labels: Vec<_> = moved.filter_map(label).collect();
    labels.sort();
    let labels = labels.join(", ");
    if labels.is_empty() { "-".to_owned() } else { labels }
}

async fn run(row: &Row) -> [String; 4] {
    let daemon = support::start(CONFIG).await;
    let store: Arc<TraceStore> = support::store(&daemon);
    let before = daemon.scrape()();
    let mut answers = Vec::new();
    for body in &row.bodies {
        let (status, answer) = post(&daemon, row.is_json, body).await;
        answers.push(in_words(status, row.is_json, &answer));
    }
    answers.dedup();
    eventually(row.input, || metric(&daemon.scrape()(), "spansieve_held_spans", &[]) == 0.0).await;
    let after = daemon.scrape()();
    let (came, went) = conservation(&after);
    assert_eq!(came, went, "{}", row.input);
    assert!((row.check)(&store.spans()), "{}: {:#?}", row.input, store.spans());
    let (status, _) = post(&daemon, false, &wire::request(&[wire::good_and([])])).await;
    assert_eq!(status, 200, "{}: other senders are not affected", row.input);
    daemon.stop(Duration::from_secs(8)).await;
    [row.input.to_owned(), answers.join("; "), row.exported.to_owned(), counted(&before, &after)]
}

/// Returns the rows of the table in the document.
fn documented() -> Vec<[String; 4]> {
    let rows = DOCUMENT.split_once(HEAD).unwrap().1.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.strip_prefix('|').unwrap().strip_suffix('|').unwrap().split('|');
        cells.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().try_into().unwrap()
    })
    .collect()
}

#[tokio::test]
async fn every_bad_input_has_the_documented_result() {
    let mut found = Vec::new();
    for row in rows() {
        found.push(run(&row).await);
    }
    let table =
        |rows: &[[String; 4]]| rows.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect::<String>();
    assert_eq!(found, documented(), "the table is\n{HEAD}\n{}", table(&found));
}

#[tokio::test]
async fn a_wrong_clock_makes_its_trace_slow_and_loses_no_span() {
    let slow = "{name: slow, type: latency, latency: {threshold_ms: 1000}}";
    let config = CONFIG.replace("{name: all, type: always_sample}", slow);
    let early = support::now_ns() - 5_000 * support::MS;
    for (start, end) in [(1, 5), (early, early + support::MS)] {
        let daemon = support::start(&config).await;
        let span = |id: u8, times| [wire::ids(&wire::TRACE, &[id; 8]), wire::name("good"), times].concat();
        let spans = [span(1, wire::recent()), span(2, wire::times(start, end)), span(3, wire::recent())];
        assert_eq!(post(&daemon, false, &wire::request(&spans)).await.0, 200);
        let written = || metric(&daemon.scrape()(), "spansieve_exported_spans_total", &[]);
        eventually("those with a possible time are written", || written() >= 2.0).await;
        daemon.stop(Duration::from_secs(8)).await;
    }
}
