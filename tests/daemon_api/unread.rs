//! Clients that ask for documents and do not read them.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::asking::{config, document};
use crate::support::{self, eventually};

#[tokio::test]
async fn documents_that_are_not_read_are_few_and_are_charged() {
    // A document of some size.
    let policies: String = (0..200).map(|n| format!("    - {{name: policy-{n}, type: error}}\n")).collect();
    let daemon = support::start(&config().replace("    - {name: errors, type: error}\n", &policies)).await;
    let address = daemon.api_url().unwrap().trim_start_matches("http://").to_owned();
    let observed = std::sync::Arc::clone(daemon.observed());
    let (mut unread, mut refused, mut senders) = (Vec::new(), 0, Vec::new());
    for _ in 0..3 {
        let io = TokioIo::new(TcpStream::connect(&address).await.unwrap());
        // The daemon may not send any byte of an answer's body.
        let mut client = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = client.initial_stream_window_size(0).handshake(io).await.unwrap();
        tokio::spawn(connection);
        senders.push(sender.clone());
        for _ in 0..10 {
            let request = Request::get(format!("http://{address}/api/policies")).body(Empty::<Bytes>::new()).unwrap();
            let answer = sender.clone().send_request(request).await.unwrap();
            match answer.status() {
                StatusCode::OK => unread.push(answer),
                status => {
                    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                    refused += 1;
                }
            }
        }
    }
    // All connections are of one peer, which leaves as many places as it takes.
    assert_eq!((unread.len(), refused), (4, 26));
    let length = |answer: &http::Response<_>| answer.headers()["content-length"].to_str().unwrap().parse::<usize>();
    let bytes: usize = unread.iter().map(|answer| length(answer).unwrap()).sum();
    let charged = observed.held().used_bytes;
    assert!(bytes > 20_000, "{bytes}");
    drop(unread);
    eventually("the bytes are given back", || observed.held().used_bytes + bytes as u64 <= charged).await;
    document(&daemon, "/api/policies").await;
}
