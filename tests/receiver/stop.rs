//! Binding of addresses, and the two steps of a stop.

use std::time::Duration;

use http::{Method, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use spansieve::receiver::Receiver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use super::support::{Daemon, PATIENCE, frame, proto, request};

const AS_PROTOBUF: &[(&str, &str)] = &[("content-type", "application/x-protobuf")];

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_named() {
    let daemon = Daemon::start().await;
    let taken = daemon.address.to_string();
    let cases = [
        (taken.as_str(), "another process has this port"),
        ("192.0.2.1:4317", "does not have that address"),
        ("4317", "host:port"),
    ];
    for (address, hint) in cases {
        let error = Receiver::bind(&["127.0.0.1:0".to_owned(), address.to_owned()]).await.unwrap_err().to_string();
        assert!(error.contains(address) && error.contains(hint) && error.contains("otlp.listen"), "{error}");
    }
}

#[tokio::test]
async fn after_the_first_step_only_pages_are_served() {
    let daemon = Daemon::start().await;
    daemon.receiver.stop_accepting(Duration::from_secs(1)).await;
    for (path, status) in [("/metrics", 200), ("/livez", 200), ("/readyz", 503), ("/", 200)] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let answer = daemon.send(version, request(Method::GET, path, &[], "")).await;
            assert_eq!(answer.status().as_u16(), status, "{path} {version:?}");
        }
    }
    let answer = daemon.send(Version::HTTP_11, request(Method::POST, "/v1/traces", AS_PROTOBUF, proto(1, 0))).await;
    assert_eq!(answer.status(), 503);
    assert!(["1", "2"].contains(&answer.headers()["retry-after"].to_str().unwrap()));
    assert_eq!(answer.headers()["connection"], "close");
    let answer = daemon.export(&[], frame(0, &proto(1, 0))).await;
    assert_eq!(answer.code, Code::Unavailable as i32);
    assert_eq!(answer.retry_after.unwrap().as_secs(), 1);
    assert!(daemon.accepted().is_empty());
    daemon.receiver.close(Duration::from_secs(1)).await;
    assert!(TcpStream::connect(daemon.address).await.is_err());
}

/// Sends a request's head and half of its body; returns the connection.
async fn half_sent(daemon: &Daemon, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..body.len() / 2]).await.unwrap();
    while daemon.table.used_bytes() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stream
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    // A refusal has details in protobuf, so the answer may not be UTF-8.
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let daemon = Daemon::start().await;
    let body = proto(10, 0);
    let mut stream = half_sent(&daemon, &body).await;
    let rest = async {
        while !daemon.health.is_stopping() {
            tokio::task::yield_now().await;
        }
        stream.write_all(&body[body.len() / 2..]).await.unwrap();
        read_to_end(&mut stream).await
    };
    let ((), answer) = tokio::join!(daemon.receiver.stop_accepting(PATIENCE), rest);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(daemon.accepted().len(), 1);
}

#[tokio::test]
async fn a_request_that_is_not_complete_in_time_is_refused() {
    let daemon = Daemon::start().await;
    let body = proto(10, 0);
    let mut stream = half_sent(&daemon, &body).await;
    daemon.receiver.stop_accepting(Duration::from_millis(20)).await;
    stream.write_all(&body[body.len() / 2..]).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(daemon.accepted().is_empty());
    assert_eq!(daemon.table.used_bytes(), 0);
}

#[tokio::test]
async fn closing_does_not_wait_forever() {
    let daemon = Daemon::start().await;
    let mut stream = half_sent(&daemon, &proto(10, 0)).await;
    let Daemon { receiver, .. } = daemon;
    tokio::time::timeout(PATIENCE, receiver.close(Duration::from_millis(20))).await.unwrap();
    let mut rest = Vec::new();
    assert!(!matches!(stream.read_to_end(&mut rest).await, Ok(n) if n > 0), "the connection was cut");
}

#[tokio::test]
async fn idle_connections_end_with_the_first_step() {
    let daemon = Daemon::start().await;
    let mut silent = TcpStream::connect(daemon.address).await.unwrap();
    let mut kept_alive = TcpStream::connect(daemon.address).await.unwrap();
    kept_alive.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    kept_alive.read_exact(&mut answer).await.unwrap();
    let io = TokioIo::new(TcpStream::connect(daemon.address).await.unwrap());
    let (mut http2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(http2.send_request(request(Method::GET, "/livez", &[], "")).await.unwrap().status(), 200);
    daemon.receiver.stop_accepting(PATIENCE).await;
    assert_eq!(read_to_end(&mut silent).await, "");
    read_to_end(&mut kept_alive).await;
    tokio::time::timeout(PATIENCE, connection).await.expect("GOAWAY").unwrap().unwrap();
}
