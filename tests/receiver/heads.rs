//! Heads of requests and other data that a peer can make the daemon hold before a body. All connections together are
//! bounded, on every path, and other senders are not affected.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use super::frames::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, HELLO, SETTINGS, block, frame, get, stream};
use super::hostile::assert_unharmed;
use super::support::{BUDGET, Daemon, EXPORT, JSON, PATIENCE, free_address, request};
use crate::support::process::Program;

/// The memory reserved for heads, in addition to [`BUDGET`].
const RESERVE: usize = BUDGET / 16;

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// A field that the first request of a connection adds to the HPACK table. Later requests refer to it in one byte.
const INDEXED: [u8; 8] = [0x40, 2, b'x', b'-', 3, b'a', b'b', b'c'];
const INDEX: u8 = 0x80 | 62;

const POST_TRACES: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/v1/traces"), ("content-type", "application/x-protobuf")];

/// Returns the head of a gRPC call. Calls after the first one have `fields` more fields, of one byte each.
fn call(path: &str, fields: usize, is_first: bool) -> Vec<u8> {
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")];
    let mut head = block(&[&pseudo[..], &[("content-type", "application/grpc"), ("te", "trailers")]].concat());
    match is_first {
        true => head.extend_from_slice(&INDEXED),
        false => head.extend(std::iter::repeat_n(INDEX, fields)),
    }
    head
}

/// Opens a connection and sends `streams` requests on it. Answers are read as long as the connection exists.
async fn flood(address: SocketAddr, window: u8, streams: u32, head: impl Fn(u32) -> (u8, Vec<u8>)) -> Flood {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    // SETTINGS_INITIAL_WINDOW_SIZE is the number of bytes of an answer's body that may be sent.
    let mut bytes = [HELLO, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, window])].concat();
    for n in 0..streams {
        let (flags, head) = head(n);
        bytes.extend(frame(HEADERS, END_HEADERS | flags, stream(n), &head));
    }
    // An error means that the daemon closed the connection first.
    let _ = to.write_all(&bytes).await;
    let reads = tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while matches!(from.read(&mut buffer).await, Ok(n) if n > 0) {}
    });
    Flood { _to: to, reads }
}

/// An attacker's connection, which stays open until it is dropped.
struct Flood {
    _to: tokio::net::tcp::OwnedWriteHalf,
    reads: tokio::task::JoinHandle<()>,
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

/// Waits until `condition` holds; panics with `what` if it never does.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Checks that a good request is served. It is repeated, because a slow debug build may refuse some as overloaded.
async fn assert_served(daemon: &Daemon) {
    let served = async {
        loop {
            let request = request(Method::POST, "/v1/traces", &[("content-type", "application/json")], JSON);
            let answer = daemon.send(Version::HTTP_11, request).await;
            if answer.status() == 200 {
                return;
            }
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            assert!(text.contains("overloaded"), "{text}");
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("served in the end");
}

/// A function that returns the flags and the head of the `n`th request.
type Head = fn(u32) -> (u8, Vec<u8>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_requests_hold_at_most_the_reserve() {
    let floods: [(&str, u8, Head); 5] = [
        ("health without an end", 255, |n| (0, call(HEALTH_CHECK, 90, n == 0))),
        ("watched healths", 255, |n| (0, call("/grpc.health.v1.Health/Watch", 90, n == 0))),
        ("spans without an end", 255, |n| (0, call(EXPORT, 90, n == 0))),
        ("HTTP without an end", 255, |_| (0, block(&POST_TRACES))),
        ("pages that are not read", 0, |_| (END_STREAM, get("/livez"))),
    ];
    for (name, window, head) in floods {
        let daemon = Daemon::start().await;
        let mut floods = Vec::new();
        let mut peak = 0;
        for _ in 0..10 {
            floods.push(flood(daemon.address, window, 1_000, head).await);
            peak = peak.max(daemon.receiver.head_bytes());
        }
        // Ten connections have enough streams for a quarter of the reserve.
        eventually(name, || daemon.receiver.head_bytes() > RESERVE / 4).await;
        peak = peak.max(daemon.receiver.head_bytes());
        assert!(peak <= RESERVE, "{name}: {peak}");
        assert_served(&daemon).await;
        let livez = daemon.send(Version::HTTP_2, request(Method::GET, "/livez", &[], "")).await;
        assert_eq!(livez.status(), 200, "{name}");
        drop(floods);
        eventually(name, || daemon.receiver.head_bytes() == 0).await;
    }
}

#[tokio::test]
async fn a_head_has_at_most_a_hundred_fields() {
    let daemon = Daemon::start().await;
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let leak = |name: &String| -> &'static str { name.clone().leak() };
    let fields: Vec<(&'static str, &str)> = names.iter().map(|name| (leak(name), "a")).collect();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let few = daemon.send(version, request(Method::GET, "/livez", &fields[..80], "")).await;
        assert_eq!(few.status(), 200, "{version:?}");
        let many = daemon.send(version, request(Method::GET, "/livez", &fields, "")).await;
        assert_eq!(many.status(), 431, "{version:?}");
    }
    let answer = daemon.export(&fields, Vec::new()).await;
    assert_eq!((answer.code, answer.retry_after), (Code::ResourceExhausted as i32, None));
    assert!(answer.message.contains("100 header fields"), "{}", answer.message);
    assert_eq!(daemon.metric("spansieve_requests_total{protocol=\"grpc\",outcome=\"invalid\"}"), 1);
    assert_unharmed(&daemon).await;
}

#[tokio::test]
async fn unfinished_heads_share_the_reserve() {
    let daemon = Daemon::start().await;
    let mut attackers = Vec::new();
    let head = block(&[(":method", "GET")]);
    let unfinished = [
        HELLO,
        &frame(HEADERS, END_STREAM, 1, &head),
        // The string does not end within this frame.
        &frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 0x7f, 0x80, 0xff, 1][..], &[b'a'; 12_000]].concat()),
    ];
    for _ in 0..300 {
        let mut attacker = TcpStream::connect(daemon.address).await.unwrap();
        attacker.write_all(&unfinished.concat()).await.unwrap();
        attackers.push(attacker);
    }
    let cut = || daemon.metric("spansieve_cut_connections_total{reason=\"large_head\"}");
    eventually("a connection is cut for want of memory", || cut() > 0).await;
    assert!(daemon.receiver.head_bytes() <= RESERVE);
    assert_unharmed(&daemon).await;
    drop(attackers);
    eventually("the memory is given back", || daemon.receiver.head_bytes() == 0).await;
}

/// Returns the anonymous memory of a process in bytes (`man 5 proc_pid_status`).
fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    1024 * line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap()
}

/// Without the limit, 3.4 MB (ten connections, each with a thousand calls of 250 fields) took 300 MiB permanently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_program_stays_small_under_a_flood_of_heads() {
    let address = free_address().await;
    let config = format!(
        "otlp: {{listen: [\"{address}\"]}}\nmemory: {{limit: 64MiB}}\n\
         export: {{endpoint: \"http://127.0.0.1:1\", project: p}}\n"
    );
    let program = Program::start(format!("http://{address}"), &config).await;
    let before = resident_bytes(program.id());
    let mut floods = Vec::new();
    for path in [HEALTH_CHECK, EXPORT] {
        for fields in [90, 250] {
            for _ in 0..10 {
                floods.push(flood(address, 255, 1_000, |n| (0, call(path, fields, n == 0))).await);
            }
        }
    }
    // The daemon has read all heads once it answers this later request.
    assert_eq!(program.get("/livez").await.as_deref(), Some("ok\n"));
    let grown = resident_bytes(program.id()).saturating_sub(before);
    assert!(grown < 48 << 20, "{grown}");
    drop(floods);
}

/// An unknown frame type, which receivers must ignore (RFC 9113, 4.1).
const UNKNOWN: u8 = 0xfe;

/// The HTTP/2 library keeps a whole read buffer for each entry of the HPACK table, and a peer can fill the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_program_stays_small_when_peers_fill_the_tables_of_fields() {
    let address = free_address().await;
    let config = format!(
        "otlp: {{listen: [\"{address}\"]}}\nmemory: {{limit: 64MiB}}\n\
         export: {{endpoint: \"http://127.0.0.1:1\", project: p}}\n"
    );
    let program = Program::start(format!("http://{address}"), &config).await;
    let before = resident_bytes(program.id());
    let entry = [get("/livez"), b"\x40\x01a\x01b".to_vec()].concat();
    let mut attackers = Vec::new();
    for _ in 0..40 {
        let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
        let reads = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while matches!(from.read(&mut buffer).await, Ok(n) if n > 0) {}
        });
        let mut sent = to.write_all(HELLO).await;
        for n in 0..115 {
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &entry);
            // An error means that the daemon closed the connection first.
            sent = sent.and(to.write_all(&[head, frame(UNKNOWN, 0, 0, &[0; 16_000])].concat()).await);
        }
        attackers.push(Flood { _to: to, reads });
    }
    assert_eq!(program.get("/livez").await.as_deref(), Some("ok\n"));
    let grown = resident_bytes(program.id()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    drop(attackers);
}

/// If refused requests had answers with bodies, 60 connections with a window of 0 would take twice as much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_program_stays_small_under_a_flood_of_unread_pages() {
    let address = free_address().await;
    let config = format!(
        "otlp: {{listen: [\"{address}\"]}}\nmemory: {{limit: 64MiB}}\n\
         export: {{endpoint: \"http://127.0.0.1:1\", project: p}}\n"
    );
    let program = Program::start(format!("http://{address}"), &config).await;
    let before = resident_bytes(program.id());
    let mut floods = Vec::new();
    for _ in 0..60 {
        floods.push(flood(address, 0, 1_000, |_| (END_STREAM, get("/livez"))).await);
    }
    assert_eq!(program.get("/livez").await.as_deref(), Some("ok\n"));
    let grown = resident_bytes(program.id()).saturating_sub(before);
    assert!(grown < 26 << 20, "{grown}");
    drop(floods);
}
