//! The spool of the real program: an outage of the sink that fills the memory, a kill, a stop, and a start.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use spansieve_test_support::sink::{Answer, Sink, free_address};
use tempfile::{NamedTempFile, TempDir};

use crate::support::process::{Program, config_file, spansieve};
use crate::support::{Client, conservation, error, metric, request, trace_id};

/// The memory budget, which fills within seconds.
const LIMIT_BYTES: f64 = (8 << 20) as f64;
/// Maximum spans of a batch.
const BATCH: usize = 200;
/// Maximum concurrent calls of a project when the process is killed (`docs/delivery.md`).
const CALLS_MAX: usize = 16;

/// Returns a configuration with little memory, which fills within seconds.
fn config(otlp: SocketAddr, sink: SocketAddr, directory: &Path) -> String {
    format!(
        "
otlp: {{listen: [\"{otlp}\"], max_request_bytes: 1MiB}}
tail_sampling:
  decision_wait: 100ms
  decision_cache: {{sampled_cache_size: 10000, non_sampled_cache_size: 10000}}
  rescue: {{window: 1s}}
  policies: [{{name: errors, type: error}}]
export:
  endpoint: http://{sink}
  project: p
  batch: {{max_spans: {BATCH}, max_delay: 50ms}}
  spool: {{directory: {}}}
memory: {{limit: 8MiB}}
",
        directory.display()
    )
}

async fn start(sink: SocketAddr, directory: &Path) -> Program {
    let otlp = free_address().await;
    Program::start(format!("http://{otlp}"), &config(otlp, sink, directory)).await
}

/// Sends traces of one failed span until `enough`; returns the ids of the acknowledged ones.
async fn send_until(program: &Program, enough: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut client = Client::new(&program.uri);
    let mut acknowledged = BTreeSet::new();
    while !enough(&program.scrape().await.unwrap()) {
        let ids: Vec<u128> = (0..BATCH).map(|_| trace_id(false)).collect();
        let spans = ids.iter().map(|&id| error(id, &"failed ".repeat(50))).collect();
        // A request that is refused because memory is full stays with the sender.
        if client.export(request("shop", spans)).await.is_ok() {
            acknowledged.extend(ids.iter().map(|id| format!("{id:032x}")));
        }
    }
    acknowledged
}

fn spooled(text: &str) -> f64 {
    metric(text, "spansieve_held_spans", &["spooled"])
}

fn recovered(text: &str) -> f64 {
    metric(text, "spansieve_recovered_spans_total", &[])
}

fn is_drained(text: &str) -> bool {
    metric(text, "spansieve_held_spans", &[]) == 0.0 && metric(text, "spansieve_spool_bytes", &[]) == 0.0
}

/// Returns the trace ids in the sink, and the number of spans that came more than once.
fn written(sink: &Sink) -> (BTreeSet<String>, usize) {
    let written = sink.written();
    assert!(written.changed.is_empty());
    let ids = written.spans.keys().map(|name| name.split('/').nth(3).unwrap().to_owned()).collect();
    (ids, written.spans.values().filter(|(_, count)| *count > 1).count())
}

#[tokio::test]
async fn spans_beyond_memory_wait_in_the_spool_and_are_written_once() {
    let (directory, address) = (TempDir::new().unwrap(), free_address().await);
    let program = start(address, directory.path()).await;
    let enough = |text: &str| {
        assert!(metric(text, "spansieve_held_bytes", &[]) <= LIMIT_BYTES);
        metric(text, "spansieve_spool_bytes", &[]) > 2.0 * LIMIT_BYTES
    };
    let acknowledged = send_until(&program, enough).await;
    let sink = Sink::start_at(address, Duration::ZERO, Vec::new());
    let text = program.eventually("all is written", is_drained).await;
    let (received, accounted) = conservation(&text);
    assert_eq!((received, accounted), (acknowledged.len() as f64, received));
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), received);
    assert_eq!(written(&sink), (acknowledged, 0));
    assert_eq!(program.signal("-TERM"), Some(0));
}

#[tokio::test]
async fn spooled_spans_survive_a_kill_before_and_while_the_spool_drains() {
    let (directory, address) = (TempDir::new().unwrap(), free_address().await);
    let first = start(address, directory.path()).await;
    let acknowledged = send_until(&first, |text| spooled(text) > 20_000.0).await;
    let at_kill = spooled(&first.scrape().await.unwrap());
    first.signal("-KILL");

    let sink = Sink::start_at(address, Duration::ZERO, vec![Answer::After(Duration::from_millis(200)); 1_000]);
    let second = start(address, directory.path()).await;
    let third_of_it = second
        .eventually("a third is written", |text| metric(text, "spansieve_exported_spans_total", &[]) > at_kill / 3.0);
    let text = third_of_it.await;
    let recovered_first = recovered(&text);
    assert!(recovered_first >= at_kill, "{recovered_first} of {at_kill}");
    let exported = metric(&text, "spansieve_exported_spans_total", &[]);
    assert!(exported < recovered_first, "the spool is drained already, too late for a kill");
    second.signal("-KILL");

    let third = start(address, directory.path()).await;
    let text = third.eventually("the rest is written", is_drained).await;
    assert!(
        recovered(&text) <= recovered_first - exported + (CALLS_MAX * BATCH) as f64,
        "what was settled is not kept"
    );
    let (received, accounted) = conservation(&text);
    assert_eq!(received, accounted);
    let (ids, repeated) = written(&sink);
    assert_eq!(ids.len() as f64, recovered_first, "every spooled span is in the sink");
    assert!(ids.is_subset(&acknowledged));
    assert!(repeated <= CALLS_MAX * BATCH, "{repeated} spans came twice");
}

#[tokio::test]
async fn the_next_start_exports_the_spans_that_a_stop_could_not() {
    let (directory, address) = (TempDir::new().unwrap(), free_address().await);
    let first = start(address, directory.path()).await;
    let acknowledged = send_until(&first, |text| metric(text, "spansieve_received_spans_total", &[]) >= 2_000.0).await;
    assert_eq!(spooled(&first.scrape().await.unwrap()), 0.0, "the spans are in memory");
    assert_eq!(first.signal("-TERM"), Some(0));

    let sink = Sink::start_at(address, Duration::ZERO, Vec::new());
    let second = start(address, directory.path()).await;
    let text = second.eventually("all is written", is_drained).await;
    assert_eq!(recovered(&text), acknowledged.len() as f64);
    assert_eq!(written(&sink), (acknowledged, 0));
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_ends_the_start_and_names_the_key() {
    let (directory, address) = (TempDir::new().unwrap(), free_address().await);
    let file = NamedTempFile::new().unwrap();
    let _running = start(address, directory.path()).await;
    for (path, reason) in [(directory.path(), "in use by another process"), (file.path(), "cannot be used")] {
        let output = spansieve(&config_file(&config(free_address().await, address, path))).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("export.spool.directory") && text.contains(reason), "{text}");
    }
}
