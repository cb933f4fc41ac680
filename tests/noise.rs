//! Senders choose names, paths and values. At most a hundred of their service names become labels of metrics, and
//! nothing that they choose reaches the log.
//!
//! These tests do not cover a log of level `debug`, which is meant for finding faults.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use spansieve::daemon::Daemon;
use support::{eventually, metric, wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::level_filters::LevelFilter;

/// The text that no log line may contain. It is part of all data that is sent.
const SECRET: &str = "s3cret";
const SERVICES: usize = 100_000;
const SERVICES_A_REQUEST: usize = 10_000;
const ODD_REQUESTS: usize = 300;
/// Maximum log lines: for start and stop, and one for each reason of a loss every ten seconds.
const LINES_MAX: usize = 30;

/// Maximum series with a service: a hundred names and one for all others, in two counters and a gauge, and in three
/// counters that have two values of another label.
const SERVICE_SERIES_MAX: usize = 101 * 9;

const CONFIG: &str = "
otlp: {listen: [\"127.0.0.1:0\"]}
tail_sampling: {policies: [{name: all, type: always_sample}]}
export: {endpoint: embedded, embedded: {listen: \"127.0.0.1:0\"}, batch: {max_delay: 1ms}}
memory: {limit: 512MiB}
";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `head` and `body` on a connection of its own; returns the answer.
async fn raw(daemon: &Daemon, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(daemon.addresses()[0]).await.unwrap();
    let head = format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn post(daemon: &Daemon, body: &[u8]) {
    let answer = raw(daemon, "POST /v1/traces HTTP/1.1\r\ncontent-type: application/x-protobuf", body).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Returns a `ResourceSpans` of service `n` with a good span, one from 1970 and one without ids.
fn service(n: usize) -> Vec<u8> {
    let odd = format!("{SECRET}-{n}\n{{\"severity\":\"ALERT\"}}\x1b[31m\"");
    let text = |key: &str, value: &str| wire::len(1, [wire::len(1, key), wire::len(2, wire::text(value))].concat());
    let resource = wire::len(1, [text("service.name", &odd), text("cloud.region", &odd)].concat());
    let span = |id: u64, times: Vec<u8>| {
        let ids = wire::ids(&wire::TRACE, &(n as u64 * 10 + id).to_be_bytes());
        [ids, wire::name(&odd), times, wire::attribute("http.route", wire::text(&odd))].concat()
    };
    let spans = [span(1, wire::recent()), span(2, wire::times(1, 2)), wire::name(&odd)];
    wire::request_of(&spans, resource)
}

/// Returns the series of `/metrics` without their values.
fn series(daemon: &Daemon) -> BTreeSet<String> {
    let text = daemon.scrape()();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test]
async fn text_of_senders_is_in_few_labels_and_in_no_log_line() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
    tracing::subscriber::set_global_default(subscriber.with_max_level(LevelFilter::INFO).finish()).unwrap();
    let daemon = support::start(CONFIG).await;
    let before = series(&daemon);
    for first in (0..SERVICES).step_by(SERVICES_A_REQUEST) {
        let body = (first..first + SERVICES_A_REQUEST).flat_map(service).collect::<Vec<u8>>();
        post(&daemon, &body).await;
    }
    post(&daemon, &wire::request(&[wire::good_and(wire::name(SECRET.repeat(1 << 17)))])).await;
    for n in 0..ODD_REQUESTS {
        for head in [
            format!("GET /{SECRET}/{n}?a=%1b HTTP/1.1"),
            format!("M{n} /{SECRET} HTTP/1.1"),
            format!("POST /v1/traces HTTP/1.1\r\ncontent-type: {SECRET}/{n}"),
            format!("POST /v1/traces HTTP/1.1\r\ncontent-type: application/json\r\ncontent-encoding: {SECRET}{n}"),
            "POST /v1/traces HTTP/1.1\r\ncontent-type: application/json".to_owned(),
        ] {
            let answer =
                raw(&daemon, &head, format!("{{\"{SECRET}{n}\\n{}\": 1}}", "x".repeat(10_000)).as_bytes()).await;
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(answer.starts_with("HTTP/1.1 4") && body.len() < 1_000, "{answer}");
        }
    }
    eventually("all is settled", || metric(&daemon.scrape()(), "spansieve_held_spans", &[]) == 0.0).await;
    let (after, service) = (series(&daemon), |series: &String| series.contains("service=\""));
    assert_eq!(before.difference(&after).collect::<Vec<_>>(), Vec::<&String>::new());
    let new = after.difference(&before).filter(|series| !service(series)).collect::<Vec<_>>();
    assert_eq!(new, Vec::<&String>::new());
    let services = after.iter().filter(|series| service(series)).collect::<Vec<_>>();
    assert!((1..=SERVICE_SERIES_MAX).contains(&services.len()), "{} series with a service", services.len());
    assert!(services.iter().all(|series| series.len() < 300 && !series.contains('\x1b')), "{services:?}");
    daemon.stop(Duration::from_secs(8)).await;

    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(!text.contains(SECRET) && !text.contains("ALERT") && !text.contains('\x1b'), "{text}");
    let lines = text.lines().count();
    assert!((1..=LINES_MAX).contains(&lines), "{lines} lines: {text}");
    assert!(text.contains("Kept spans were lost"), "the log reports the loss: {text}");
}
