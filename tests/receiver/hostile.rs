//! Broken, greedy or slow senders get a clear answer. Memory is bounded, and other senders are not affected.

use std::io::Write;
use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

use super::frames::{DATA, END_HEADERS, HEADERS, HELLO};
use super::support::{Daemon, JSON, LIMIT, PATIENCE, frame, gzip, proto, request};

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Checks that a good request is still served.
pub(crate) async fn assert_unharmed(daemon: &Daemon) {
    let before = daemon.table.bodies.lock().len();
    let over_http = request(Method::POST, "/v1/traces", &[("content-type", "application/json")], JSON);
    assert_eq!(daemon.send(Version::HTTP_11, over_http).await.status(), 200);
    assert_eq!(daemon.export(&[], frame(0, &proto(1, 0))).await.code, 0);
    assert_eq!(daemon.table.bodies.lock().len(), before + 2);
}

#[tokio::test]
async fn a_gigabyte_of_zeros_takes_at_most_the_limit_of_a_request() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1024 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let daemon = Daemon::start().await;
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let answer = daemon.send(version, request(Method::POST, "/v1/traces", &headers, bomb.clone())).await;
        assert_eq!(answer.status(), 413);
    }
    let answer = daemon.export(&[("grpc-encoding", "gzip")], frame(1, &bomb)).await;
    assert_eq!((answer.code, answer.retry_after), (Code::ResourceExhausted as i32, None));
    let peak_bytes = *daemon.table.peak_bytes.lock();
    assert!(peak_bytes <= LIMIT + bomb.len(), "{peak_bytes}");
    assert_eq!(daemon.table.used_bytes(), 0);
    assert_unharmed(&daemon).await;
}

#[tokio::test]
async fn a_client_that_reads_only_after_sending_gets_the_refusal() {
    let daemon = Daemon::start().await;
    let mut whole = head(20 << 20, "").into_bytes();
    whole.resize(whole.len() + (20 << 20), 0);
    // The connection stays open, and a second request is answered on it.
    whole.extend_from_slice(head(0, "connection: close\r\n").as_bytes());
    let answer = daemon.raw(&whole, false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(*daemon.table.peak_bytes.lock(), 0, "nothing was buffered");
    assert_unharmed(&daemon).await;
}

#[tokio::test]
async fn a_client_that_expects_100_continue_sends_nothing() {
    let daemon = Daemon::start().await;
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(head(20 << 20, "expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(2), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_body_that_ends_early_is_refused() {
    let daemon = Daemon::start().await;
    let answer = daemon.raw((head(100, "") + "only this").as_bytes(), true).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(daemon.metric("spansieve_requests_total{protocol=\"http_protobuf\",outcome=\"invalid\"}"), 1);
    assert_eq!(daemon.table.used_bytes(), 0);
    assert_unharmed(&daemon).await;
}

#[tokio::test]
async fn chunked_bodies_are_bounded_as_well() {
    let daemon = Daemon::start().await;
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let (first, second) = JSON.split_at(40);
    let good = format!(
        "{head}connection: close\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let answer = daemon.raw(good.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let large = format!("{head}connection: close\r\n\r\n{}0\r\n\r\n", chunk.repeat(17));
    let answer = daemon.raw(large.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(*daemon.table.peak_bytes.lock() <= LIMIT + good.len());
}

#[tokio::test]
async fn data_other_than_http_ends_only_its_own_connection() {
    let daemon = Daemon::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense",
    ] {
        daemon.raw(bytes, true).await;
    }
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let answer = daemon.raw(many.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_unharmed(&daemon).await;
}

#[tokio::test]
async fn a_thousand_idle_connections_do_no_harm() {
    // A budget that allows one peer so many connections.
    let daemon = Daemon::with_budget(512 << 20).await;
    let mut idle = Vec::with_capacity(1000);
    for n in 0..1000 {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        // The connections are silent, in the middle of a head, or idle HTTP/2.
        let said: &[u8] = [&b""[..], b"POST /v1/tr", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"][n % 3];
        stream.write_all(said).await.unwrap();
        idle.push(stream);
    }
    assert_unharmed(&daemon).await;
    drop(idle);
}

#[tokio::test]
async fn a_cancelled_call_holds_no_memory() {
    let daemon = Daemon::start().await;
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all((head(1 << 20, "") + "a beginning").as_bytes()).await.unwrap();
    let held = |bytes: usize| {
        let table = std::sync::Arc::clone(&daemon.table);
        async move {
            while table.used_bytes() != bytes {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, held(1 << 10)).await.expect("a part of the body is admitted");
    drop(stream);
    tokio::time::timeout(PATIENCE, held(0)).await.expect("the share is given back");
}

#[tokio::test]
async fn large_bodies_are_inflated_on_another_thread() {
    let daemon = Daemon::start().await;
    // Random names hardly compress, so the body is far above the threshold for the other thread.
    let mut traces = super::support::traces(3000, 0);
    for span in &mut traces.resource_spans[0].scope_spans[0].spans {
        span.name = std::iter::repeat_with(|| fastrand::char('a'..='z')).take(300).collect();
    }
    let plain = prost::Message::encode_to_vec(&traces);
    let body = gzip(&plain);
    assert!(body.len() > 256 << 10, "{}", body.len());
    assert_eq!(daemon.export(&[("grpc-encoding", "gzip")], frame(1, &body)).await.code, 0);
    assert_eq!(daemon.accepted(), [traces]);
    assert_eq!(daemon.table.used_bytes(), plain.len());
}

/// Eighty senders announce a body of 1 MiB, send nothing of it, and come again when they are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_bodies_that_never_come_leave_memory_to_others() {
    let daemon = Daemon::start().await;
    let mut announced = Vec::new();
    for _ in 0..80 {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        stream.write_all(head(1 << 20, "").as_bytes()).await.unwrap();
        announced.push(stream);
    }
    for n in 0..20 {
        let request = request(Method::POST, "/v1/traces", &[("content-type", "application/json")], JSON);
        assert_eq!(daemon.send(Version::HTTP_11, request).await.status(), 200, "request {n}");
    }
    drop(announced);
}

/// A whole message whose stream stays open would keep a block of memory from other bodies.
#[tokio::test]
async fn a_message_whose_stream_stays_open_holds_only_its_own_bytes() {
    let daemon = Daemon::start().await;
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let head = super::frames::frame(HEADERS, END_HEADERS, 1, &super::frames::export());
    let message = super::frames::frame(DATA, 0, 1, &frame(0, b"x"));
    stream.write_all(&[HELLO, &head, &message].concat()).await.unwrap();
    let budget = daemon.table.budget.clone();
    let holds_its_own = async {
        while budget.used_bytes() != 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds_its_own).await.expect("the message leaves its block");
    assert_unharmed(&daemon).await;
    drop(stream);
}

/// Memory is full of spans that are kept. A peer with many connections leaves some to other peers.
#[tokio::test]
async fn connections_of_one_peer_leave_some_to_others_while_memory_is_full() {
    let daemon = Daemon::start().await;
    let kept = daemon.table.budget.force(super::support::BUDGET);
    let from = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        socket.connect(daemon.address).await.unwrap()
    };
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(from("127.0.2.1:0").await);
    }
    // A new connection is refused, or an idle one makes room for it.
    let idle = "spansieve_cut_connections_total{reason=\"idle\"}";
    let closed = || daemon.metric("spansieve_refused_connections_total") + daemon.metric(idle);
    let some_closed = async {
        // 4 MiB for connections of 64 KiB, of which one peer has half.
        while closed() < 100 - 32 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, some_closed).await.expect("the peer has half of the reserve");
    assert_eq!(closed(), 100 - 32);
    let livez = daemon.send(Version::HTTP_11, request(Method::GET, "/livez", &[], "")).await;
    assert_eq!(livez.status(), 200);
    drop((crowd, kept));
    assert_unharmed(&daemon).await;
}
