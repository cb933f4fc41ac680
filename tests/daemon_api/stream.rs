//! The stream of decisions: what a listener gets, and what many or slow listeners cost.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use spansieve::api::decisions::LISTENERS_MAX;
use spansieve::daemon::Daemon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::asking::{client, document, get, spansieve, start};
use crate::support::{Client, error, eventually, otlp, request, span, trace_id};

/// Maximum wait for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener that reads lines.
pub(crate) struct Listening {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Listening {
    pub(crate) async fn to(daemon: &Daemon, query: &str) -> Self {
        let url = format!("{}/api/decisions{query}", daemon.api_url().unwrap());
        let response = client().get(url).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/x-ndjson".parse().unwrap())
        );
        Listening { response, buffer: Vec::new() }
    }

    /// Returns the next document; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                match line.len() {
                    1 => continue,
                    _ => return Some(serde_json::from_slice(&line).unwrap()),
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap().unwrap();
            self.buffer.extend_from_slice(&chunk?);
        }
    }
}

async fn send(daemon: &Daemon, service: &str, spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>) {
    Client::new(&otlp(daemon)).export(request(service, spans)).await.unwrap();
}

#[tokio::test]
async fn each_decision_is_a_line() {
    let daemon = start().await;
    let mut all = Listening::to(&daemon, "").await;
    let mut kept = Listening::to(&daemon, "?verdict=kept&policy=errors").await;
    let mut of_cart = Listening::to(&daemon, "?service=cart").await;
    let (wrong, dropped) = (trace_id(false), trace_id(false));
    send(&daemon, "shop", vec![error(wrong, "a")]).await;
    send(&daemon, "cart", vec![span(dropped, "b"), span(dropped, "c")]).await;
    let first = all.next().await.unwrap();
    assert_eq!(first["trace_id"], format!("{wrong:032x}"));
    assert_eq!([&first["verdict"], &first["policy"], &first["trigger"]], ["kept", "errors", "evidence"]);
    assert_eq!((&first["services"], &first["spans"]), (&serde_json::json!(["shop"]), &1.into()));
    assert_eq!(kept.next().await.unwrap(), first);
    let second = all.next().await.unwrap();
    assert_eq!([&second["verdict"], &second["trigger"]], ["dropped", "decision_wait"]);
    assert_eq!(
        [&second["policy"], &second["adjusted_count"], &second["spans"]],
        [&Value::Null, &Value::Null, &2.into()]
    );
    assert_eq!(of_cart.next().await.unwrap(), second);
    send(&daemon, "cart", vec![error(dropped, "late")]).await;
    let rescued = all.next().await.unwrap();
    assert_eq!([&rescued["verdict"], &rescued["trigger"]], ["kept", "rescue"]);
    let (status, _, body) = get(&format!("{}/api/decisions?verdict=maybe", daemon.api_url().unwrap())).await;
    assert!(status == 400 && body.contains("kept or dropped"), "{body}");
    daemon.stop(Duration::from_secs(8)).await;
    assert!(all.next().await.is_none_or(|last| last["trace_id"].is_string()), "the stream ends with the daemon");
}

#[tokio::test]
async fn a_thousand_listeners_are_bounded() {
    let daemon = start().await;
    let url = format!("{}/api/decisions", daemon.api_url().unwrap());
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..1_000 {
        let response = client_of(&url).await;
        match response.status().as_u16() {
            200 => open.push(response),
            status => {
                assert_eq!((status, &response.headers()["retry-after"]), (429, &"10".parse().unwrap()));
                refused += 1;
            }
        }
    }
    // All connections are of one peer, which leaves as many places as it takes.
    assert_eq!((open.len(), refused), (LISTENERS_MAX / 2, 1_000 - LISTENERS_MAX / 2));
    assert_eq!(document(&daemon, "/api/policies").await["spans"]["received"], 0, "other questions are answered");
    drop(open);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while client_of(&url).await.status() != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the places are free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn client_of(url: &str) -> reqwest::Response {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(client).get(url).send().await.unwrap()
}

#[tokio::test]
async fn a_listener_that_does_not_read_costs_no_more_than_its_queue() {
    let daemon = start().await;
    let address: SocketAddr = daemon.api_url().unwrap().trim_start_matches("http://").parse().unwrap();
    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck.write_all(b"GET /api/decisions HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut head = [0; 16];
    stuck.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK\r");
    let mut reads = Listening::to(&daemon, "?verdict=kept").await;
    let mut sender = Client::new(&otlp(&daemon));
    for _ in 0..100 {
        let spans = (0..500).map(|_| error(trace_id(false), "a")).collect();
        let request = request("shop", spans);
        // A machine that is busy with other things may refuse a request for a moment.
        while sender.export(request.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let observed = std::sync::Arc::clone(daemon.observed());
    let kept = || -> u64 { observed.decided_traces().iter().map(|decided| decided.traces).sum() };
    eventually("all traces are decided", || kept() == 50_000).await;
    // A decision that comes later brings the number of those before it that were left out.
    let later = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            send(&daemon, "shop", vec![error(trace_id(false), "later")]).await;
        }
    };
    let count = async {
        let (mut decisions, mut left_out) = (0, 0);
        while decisions + left_out < 50_000 {
            match reads.next().await.unwrap() {
                line if line["left_out"].is_u64() => left_out += line["left_out"].as_u64().unwrap(),
                line => decisions += u64::from(line["verdict"] == "kept"),
            }
        }
        (decisions, left_out)
    };
    let (decisions, left_out) = tokio::select! {
        () = later => unreachable!("it does not end"),
        counted = count => counted,
    };
    assert!(left_out > 0 && decisions >= 100, "{decisions} decisions, {left_out} left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_decisions() {
    let daemon = start().await;
    let url = daemon.api_url().unwrap().to_owned();
    let traffic = async {
        loop {
            send(&daemon, "shop", vec![error(trace_id(false), "a")]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let tails = async {
        let text = spansieve(&["tail", "--from", &url, "--count", "2", "--verdict", "kept"]).await;
        let json = spansieve(&["tail", "--from", &url, "--count", "1", "--policy", "errors", "--format", "json"]).await;
        (text, json)
    };
    let (text, json) = tokio::select! {
        () = traffic => unreachable!("it does not end"),
        printed = tails => printed,
    };
    assert_eq!((text.code, text.stdout.lines().count(), text.stderr.as_str()), (Some(0), 2, ""), "{text:?}");
    let words: Vec<&str> = text.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!((words[2..5].join(" "), words.last()), ("kept errors evidence".to_owned(), Some(&"shop")));
    let line: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &line["policy"]), (Some(0), &"errors".into()));
    let bad = spansieve(&["tail", "--from", "http://127.0.0.1:1"]).await;
    assert!(bad.code == Some(1) && bad.stderr.starts_with("error: cannot reach http://127.0.0.1:1"), "{bad:?}");
}
