//! The table of faults in `docs/evidence.md`. The daemon exports to a Cloud Trace that fails as scripted, on a paused
//! clock that jumps ahead when all tasks wait. Each row is run, and its numbers are compared with the result.

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::daemon::Daemon;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::support::{self, CONFIG, Client, conservation, error, metric, request, trace_id};
use spansieve_test_support::sink::{Answer, BAD, Limit, Sink, free_address, with_retry_info};

const DOCUMENT: &str = include_str!("../../docs/evidence.md");
const PROJECT: &str = "p";
/// Maximum spans of one call. Most cases fill several calls.
const BATCH_SPANS: usize = 20;
const REQUESTS: usize = 6;
/// A span name of 1,000 bytes, which makes the encoded span larger than 1,000 bytes.
const LONG: &str = match std::str::from_utf8(&[b'n'; 1_000]) {
    Ok(name) => name,
    Err(_) => unreachable!(),
};
/// Maximum wait in virtual time: longer than six calls that hang, one after the other.
const PATIENCE: Duration = Duration::from_secs(600);

/// A row of the table.
pub struct Fault {
    /// The fault's name in the document.
    name: &'static str,
    /// Time at the start during which the sink does not listen.
    away: Duration,
    script: Vec<Answer>,
    limit: Option<Limit>,
    /// Total wait that the server asks for. No span may be settled before.
    waits: Duration,
    batch_spans: usize,
    pub requests: Vec<Vec<&'static str>>,
}

pub fn fault(name: &'static str, script: Vec<Answer>) -> Fault {
    let requests = vec![vec!["failed"; 10]; REQUESTS];
    let (away, waits) = (Duration::ZERO, Duration::ZERO);
    Fault { name, away, script, limit: None, waits, batch_spans: BATCH_SPANS, requests }
}

/// Returns a fault that occurs twice and asks for a wait each time.
fn asking(name: &'static str, answer: &Answer, wait_s: u64) -> Fault {
    Fault { waits: Duration::from_secs(2 * wait_s), ..fault(name, vec![answer.clone(); 2]) }
}

/// Returns a healthy sink behind a server with a size limit for messages.
fn limited(name: &'static str, limit: Limit) -> Fault {
    Fault { limit: Some(limit), ..fault(name, vec![]) }
}

fn say(codes: &[Code]) -> Vec<Answer> {
    codes.iter().map(|&code| Answer::Say(Status::new(code, "as scripted"))).collect()
}

fn faults() -> Vec<Fault> {
    let retried = [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Aborted, Code::Cancelled];
    let denied = [Code::PermissionDenied, Code::NotFound, Code::FailedPrecondition];
    let seconds = Duration::from_secs;
    let mut with_a_bad_span = vec!["failed"; 2000];
    with_a_bad_span[1234] = BAD;
    vec![
        fault("none", vec![]),
        fault("UNAVAILABLE, 8 times", say(&[Code::Unavailable; 8])),
        fault("UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, ABORTED, CANCELLED in a row", say(&retried)),
        asking("UNAVAILABLE with RetryInfo of 20 s, twice", &Answer::Say(with_retry_info(Code::Unavailable, 20)), 20),
        asking(
            "RESOURCE_EXHAUSTED with RetryInfo of 20 s, twice",
            &Answer::Say(with_retry_info(Code::ResourceExhausted, 20)),
            20,
        ),
        asking("HTTP 503 with Retry-After of 10 s, twice", &Answer::Proxy(503, 10), 10),
        asking("HTTP 429 with Retry-After of 10 s, twice", &Answer::Proxy(429, 10), 10),
        fault(
            "HTTP 401, 403, 404, 500, 502 of a proxy in a row",
            [401, 403, 404, 500, 502].map(|http| Answer::Proxy(http, 0)).into(),
        ),
        fault("HTTP 200 of a proxy, with a page in place of an answer", vec![Answer::Proxy(200, 0)]),
        limited("HTTP 413 of a proxy for each message over 1,000 bytes", Limit::Proxy(1_000)),
        limited("RESOURCE_EXHAUSTED for each message over 1,000 bytes", Limit::Server(1_000)),
        Fault {
            requests: vec![vec![LONG, "failed", "failed"]],
            ..limited("the same, and a span that is larger", Limit::Server(1_000))
        },
        fault("status details that are not base64", vec![Answer::Details(&["no base64!", "_-"]); 2]),
        fault("status details of two values, joined by a comma", vec![Answer::Details(&["AAAA,AAAA"]); 2]),
        fault("an answer of 5 MiB", vec![Answer::StoreAndSend(5 << 20); 2]),
        fault("UNAVAILABLE with a text of 100 KiB", vec![Answer::Verbose(100 << 10); 2]),
        fault("an answer that breaks off before its status", vec![Answer::StoreAndBreakOff; 2]),
        fault("RESOURCE_EXHAUSTED, 4 times", say(&[Code::ResourceExhausted; 4])),
        fault("UNAUTHENTICATED, once", say(&[Code::Unauthenticated])),
        fault("UNAUTHENTICATED, 4 times", say(&[Code::Unauthenticated; 4])),
        fault("PERMISSION_DENIED, NOT_FOUND, FAILED_PRECONDITION in a row", say(&denied)),
        fault("stored, but answered UNAVAILABLE, twice", vec![Answer::StoreAndSay(Status::unavailable("lost")); 2]),
        fault("answers after 30 s", vec![Answer::After(seconds(30)); 3]),
        fault("two calls without an answer", vec![Answer::Hang; 2]),
        fault("connection reset during a call, 5 times", vec![Answer::Reset; 5]),
        fault("connection reset after the spans were stored, 3 times", vec![Answer::StoreAndReset; 3]),
        fault("GOAWAY at every call", vec![Answer::GoAway; 3]),
        fault("connection half-open, twice", vec![Answer::Silence; 2]),
        fault("server crashes and is back on its port after 10 s, twice", vec![Answer::Crash; 2]),
        Fault { away: seconds(60), ..fault("no server listens for 60 s", vec![]) },
        Fault {
            batch_spans: 2000,
            requests: vec![with_a_bad_span],
            ..fault("one bad span in a full batch (INVALID_ARGUMENT)", vec![])
        },
        Fault {
            requests: vec![vec!["failed"; 10]; 50],
            ..fault("every code and every fault above, one call in two", every_second_call())
        },
    ]
}

/// Returns every status and every connection fault, each followed by a good answer.
fn every_second_call() -> Vec<Answer> {
    let mut answers = say(&(1..=16).map(Code::from).filter(|code| *code != Code::AlreadyExists).collect::<Vec<_>>());
    let stored = [Status::already_exists("have it"), Status::unavailable("lost")].map(Answer::StoreAndSay);
    let connection =
        [Answer::Reset, Answer::StoreAndReset, Answer::GoAway, Answer::Silence, Answer::Hang, Answer::Crash];
    answers.extend(stored.into_iter().chain(connection).chain([Answer::Proxy(503, 1)]));
    answers.into_iter().flat_map(|answer| [answer, Answer::After(Duration::ZERO)]).collect()
}

/// The result of a fault: spans sent, spans in the sink by (project, trace, span), and lost spans.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub sent: usize,
    pub exported_once: usize,
    pub lost: usize,
}

/// Returns the name that identifies the span in Cloud Trace.
fn name(span: &Span) -> String {
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("projects/{PROJECT}/traces/{}/spans/{}", hex(&span.trace_id), hex(&span.span_id))
}

async fn until_settled(daemon: &Daemon, fault: &str) -> String {
    let settled = async {
        while metric(&daemon.scrape()(), "spansieve_held_spans", &[]) > 0.0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let patient = tokio::time::timeout(PATIENCE, settled).await;
    let text = daemon.scrape()();
    assert!(patient.is_ok(), "{fault}: some spans are not settled\n{text}");
    text
}

pub async fn run(fault: Fault) -> Outcome {
    let Fault { name: fault, away, script, limit, waits, batch_spans, requests } = fault;
    let start = Instant::now();
    let sink = Sink::with_limit(free_address().await, away, script, limit);
    let config = CONFIG
        .replace("endpoint: embedded", &format!("endpoint: \"http://{}\"\n  project: {PROJECT}", sink.address))
        .replace("{max_delay: 100ms}", &format!("{{max_delay: 100ms, max_spans: {batch_spans}}}"));
    let daemon = support::start(&config).await;
    let mut client = Client::new(&support::otlp(&daemon));
    let mut sent = BTreeSet::new();
    for names in requests {
        let spans: Vec<Span> = names.iter().map(|name| error(trace_id(false), name)).collect();
        sent.extend(spans.iter().map(name));
        client.export(request("shop", spans)).await.unwrap();
    }
    let text = until_settled(&daemon, fault).await;
    assert!(start.elapsed() >= waits, "{fault}: settled after {:?}", start.elapsed());
    assert_eq!(conservation(&text), (sent.len() as f64, sent.len() as f64), "{fault}");
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0, "{fault}");
    assert_eq!(sink.answers_left(), 0, "{fault}: the sink gave every scripted answer");

    let written = sink.written();
    assert_eq!(written.changed, BTreeSet::new(), "{fault}: a span that came again was unchanged");
    assert!(written.spans.keys().all(|name| sent.contains(name)), "{fault}: the sink has only spans that were sent");
    let exported = written.spans.len();
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), exported as f64, "{fault}");
    let lost = metric(&text, "spansieve_dropped_spans_total", &[]) as usize;
    Outcome { sent: sent.len(), exported_once: exported, lost }
}

/// Returns the rows of the table of faults in the document.
fn documented() -> Vec<(&'static str, Outcome)> {
    let table = DOCUMENT.split_once("| fault | spans in | exported once | lost |").unwrap().1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let number = |at: usize| cells[at].replace(',', "").parse().unwrap();
        (cells[0], Outcome { sent: number(1), exported_once: number(2), lost: number(3) })
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn every_fault_has_the_documented_result() {
    let mut rows = Vec::new();
    for fault in faults() {
        rows.push((fault.name, run(fault).await));
    }
    assert_eq!(rows, documented());
}

#[tokio::test(start_paused = true)]
async fn a_call_carries_no_trace_context() {
    let sink = Sink::start(Duration::ZERO, vec![]).await;
    let config = CONFIG.replace("endpoint: embedded", &format!("endpoint: \"http://{}\"\n  project: p", sink.address));
    let daemon = support::start(&config).await;
    Client::new(&support::otlp(&daemon)).export(request("shop", vec![error(1, "failed")])).await.unwrap();
    until_settled(&daemon, "none").await;
    let written = sink.written();
    let headers: Vec<&str> = written.headers.iter().map(String::as_str).collect();
    assert_eq!(headers, ["content-type", "grpc-timeout", "te", "user-agent", "x-goog-request-params"]);
    assert_eq!(written.calls, 1);
}
