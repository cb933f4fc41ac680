//! A stop at full load with a slow sink.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};
use tokio::task::JoinHandle;
use tonic::Code;

use super::trial::{Trial, retry_delay};
use crate::support::{self, Client, conservation, error, metric, request};
use spansieve_test_support::sink::{Answer, Sink, free_address};

/// Returns true if the error means that the process is stopping. Either the answer says so, or the connection ends.
/// Tonic reports the latter with several codes if the GOAWAY comes before the answer.
fn ends(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Internal | Code::Cancelled | Code::Unknown)
}

/// Sends kept spans as fast as they are accepted, until the process stops. Returns the number of acknowledged spans.
fn load(trial: &Trial) -> JoinHandle<usize> {
    let uri = trial.uri();
    tokio::spawn(async move {
        let (mut client, mut acknowledged) = (Client::new(&uri), 0);
        loop {
            let spans = (0..100).map(|_| error(fastrand::u128(1..), "failed")).collect();
            match client.export(request("shop", spans)).await {
                Ok(_) => acknowledged += 100,
                Err(status) if ends(&status) => return acknowledged,
                Err(status) => {
                    retry_delay(&status);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    })
}

async fn until_kept(trial: &Trial, spans: f64) {
    support::eventually("enough is kept", || trial.metric("spansieve_held_spans", &["export"]) > spans).await;
}

fn slow() -> Vec<Answer> {
    vec![Answer::After(Duration::from_secs(1)); 1_000]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_counts_the_spans_that_a_slow_sink_does_not_take_in_time() {
    let trial = Trial::start("a stop with a slow sink", slow()).await;
    let sender = load(&trial);
    until_kept(&trial, 8_000.0).await;
    let (daemon, sink) = trial.into_parts();
    let scrape = daemon.scrape().clone();
    let begun = Instant::now();
    let lost = daemon.stop(Duration::from_secs(2)).await as f64;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let acknowledged = sender.await.unwrap();
    let text = scrape();
    assert_eq!(conservation(&text), (acknowledged as f64, acknowledged as f64));
    assert_eq!(metric(&text, "spansieve_dropped_spans_total", &["shutdown"]), lost);
    let written = sink.unwrap().written().spans.len() as f64;
    assert!(lost > 0.0 && written > 0.0, "{lost} lost, {written} written");
    // A call that was cut off may still have reached the sink.
    assert!(written + lost >= acknowledged as f64, "{written} + {lost} of {acknowledged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_spool_the_next_start_writes_the_spans_that_a_slow_sink_did_not_take() {
    let directory = TempDir::new().unwrap();
    let spool = format!("  spool: {{directory: {}}}", directory.path().display());
    let mut trial = Trial::without_sink("a stop with a spool", free_address().await, &spool).await;
    trial.start_sink(slow());
    let sender = load(&trial);
    until_kept(&trial, 8_000.0).await;
    let (daemon, sink) = trial.into_parts();
    assert_eq!(daemon.stop(Duration::from_secs(3)).await, 0);
    let acknowledged = sender.await.unwrap();
    let sink = sink.unwrap();

    let mut next = Trial::without_sink("the next start", free_address().await, &spool).await;
    next.start_sink(Vec::new());
    support::eventually("the spool is empty", || next.metric("spansieve_held_spans", &[]) == 0.0).await;
    let (_, rest) = next.into_parts();
    let rest = rest.unwrap();
    let (before, after) = (sink.written(), rest.written());
    let mut names: Vec<&String> = before.spans.keys().chain(after.spans.keys()).collect();
    names.sort_unstable();
    names.dedup();
    assert!(!after.spans.is_empty(), "the sink was not slow enough");
    assert_eq!(names.len(), acknowledged);
}

/// Starts the program; returns it with the thread that returns the last line of its log.
fn program(config: &NamedTempFile) -> (Child, std::thread::JoinHandle<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
    command.args(["run", "--config", config.path().to_str().unwrap()]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    (child, std::thread::spawn(move || log.lines().map_while(Result::ok).last().unwrap_or_default()))
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn the_last_log_line_has_the_span_counts_and_a_second_sigterm_stops_at_once() {
    let sink = Sink::start(Duration::ZERO, vec![Answer::Hang; 1_000]).await;
    for (signals, code) in [(1, 0), (2, 1)] {
        let otlp = free_address().await;
        let config = NamedTempFile::with_suffix(".yaml").unwrap();
        let text = support::CONFIG
            .replace("127.0.0.1:0\"]", &format!("{otlp}\"]"))
            .replace("endpoint: embedded", &format!("endpoint: http://{}\n  project: p", sink.address));
        std::fs::write(config.path(), text).unwrap();
        let (mut child, last_line) = program(&config);
        let mut client = Client::new(&format!("http://{otlp}"));
        while client.export(request("shop", vec![error(1, "failed")])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let begun = Instant::now();
        for _ in 0..signals {
            terminate(&child);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        let (took, last_line) = (begun.elapsed(), last_line.join().unwrap());
        assert_eq!(status.code(), Some(code), "{last_line}");
        if signals == 1 {
            assert!(took < Duration::from_secs(9), "{took:?}");
            for term in ["\"received\":1,", "\"exported\":0,", "\"dropped\":1,", "\"held\":0}"] {
                assert!(last_line.contains(term), "{term} is missing: {last_line}");
            }
        } else {
            assert!(took < Duration::from_secs(4), "{took:?}");
            assert!(last_line.contains("a second signal"), "{last_line}");
        }
    }
}
