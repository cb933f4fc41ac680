//! More requests than the processor can serve: acknowledgements are not late, and other senders are told to retry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::Code;

use super::support::{Daemon, EXPORT, GrpcAnswer, Table, collect, frame, proto, request};

/// Processor time of a request. It is short because a tokio worker polls its sockets only after about sixty tasks.
const WORK: Duration = Duration::from_micros(500);

/// Number of served requests after which the senders end.
const SERVED: usize = 3000;

/// Wait of a sender after a refusal. It is shorter than the refusal asks for, so that the overload continues.
const BACK_OFF: Duration = Duration::from_millis(200);

type Http2 = SendRequest<Full<Bytes>>;

fn export() -> Request<Full<Bytes>> {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    request(Method::POST, EXPORT, &headers, frame(0, &proto(1, 0)))
}

async fn connect(address: SocketAddr) -> Http2 {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (http2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    http2
}

/// The results of one sender.
#[derive(Default)]
struct Seen {
    /// The number of requests that were served during each acknowledged request.
    waits: Vec<usize>,
    refused: usize,
}

/// Sends one request after another until the table has received [`SERVED`].
async fn send(mut http2: Http2, table: Arc<Table>) -> Seen {
    let served = || table.bodies.lock().len();
    let mut seen = Seen::default();
    while served() < SERVED {
        let before = served();
        let answer = GrpcAnswer::from(collect(http2.send_request(export()).await.unwrap()).await);
        if answer.code == Code::Ok as i32 {
            seen.waits.push(served() - before);
        } else {
            assert_eq!(answer.code, Code::ResourceExhausted as i32, "{}", answer.message);
            assert!(answer.message.contains("overloaded") && answer.retry_after.is_some(), "{answer:?}");
            seen.refused += 1;
            tokio::time::sleep(BACK_OFF).await;
        }
    }
    seen
}

/// Starts a daemon with one worker. Returns its runtime, which must outlive it, the daemon, and a runtime for clients.
fn busy_daemon() -> (Runtime, Daemon, Runtime) {
    let one_worker = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = one_worker();
    let daemon = server.block_on(Daemon::start());
    *daemon.table.work.lock() = WORK;
    (server, daemon, one_worker())
}

/// Opens connections, each with the given number of requests in flight. Returns the results of each connection's
/// senders, and the number of requests that were refused as overloaded.
fn crowd(connections: &[usize]) -> (Vec<Seen>, u64) {
    let (_server, daemon, clients) = busy_daemon();
    let seen = clients.block_on(async {
        let mut senders = JoinSet::new();
        for (number, &in_flight) in connections.iter().enumerate() {
            let http2 = connect(daemon.address).await;
            for _ in 0..in_flight {
                let sender = send(http2.clone(), Arc::clone(&daemon.table));
                senders.spawn(async move { (number, sender.await) });
            }
        }
        let mut seen: Vec<Seen> = connections.iter().map(|_| Seen::default()).collect();
        while let Some(ended) = senders.join_next().await {
            let (number, one) = ended.unwrap();
            seen[number].waits.extend(one.waits);
            seen[number].refused += one.refused;
        }
        seen
    });
    (seen, daemon.metric("spansieve_requests_total{protocol=\"grpc\",outcome=\"overloaded\"}"))
}

/// Without load shedding, each request would wait until the thousand others have been served.
#[test]
fn acknowledgements_are_not_late() {
    let (seen, counted) = crowd(&[16; 64]);
    let mut waits: Vec<usize> = seen.iter().flat_map(|seen| seen.waits.iter().copied()).collect();
    waits.sort_unstable();
    let refused: usize = seen.iter().map(|seen| seen.refused).sum();
    assert_eq!(refused as u64, counted);
    assert!(waits[waits.len() / 2] < 512, "{}", waits[waits.len() / 2]);
    assert!(refused > 0);
}
