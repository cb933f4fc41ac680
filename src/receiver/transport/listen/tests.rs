use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::budget::Budget;
use crate::receiver::fake::FakeIntake;
use crate::telemetry::metrics::HeldAmounts;

/// Number of connections of one peer with the smallest budget: half of the smallest number of places.
const PLACES: usize = 32;

/// A receiver with the smallest number of places, and its metrics.
async fn small_receiver() -> (SocketAddr, Receiver, Arc<Metrics>) {
    let bound = Receiver::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    let address = bound.local_addrs()[0];
    let metrics = Arc::new(Metrics::new());
    let receiver = bound.serve(
        ReceiverSettings { max_request_bytes: 1000, reflection: false },
        Arc::new(FakeIntake(Budget::new(1000))),
        Arc::clone(&metrics),
        Arc::default(),
        Arc::new(|_, _| Ok(())),
    );
    (address, receiver, metrics)
}

/// A request whose body never comes. The daemon tells the client to send it.
const ENDLESS: &str = "POST /v1/traces HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\
    content-type: application/x-protobuf\r\n\r\n";

/// Sends `request` on a new connection. Returns true if the answer has the status `status`, and false if the connection
/// was closed instead.
async fn ask(address: SocketAddr, request: &str, status: &str) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = [0; 12];
    let asked = stream.write_all(request.as_bytes()).await;
    let read = stream.read_exact(&mut answer).await;
    let is_answered = asked.is_ok() && read.is_ok();
    assert!(!is_answered || answer[9..] == *status.as_bytes(), "{answer:?}");
    (stream, is_answered)
}

/// Asks for `/livez`.
async fn probe(address: SocketAddr) -> (TcpStream, bool) {
    ask(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", "200").await
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_counted() {
    let (address, _receiver, metrics) = small_receiver().await;
    let mut held = Vec::new();
    for _ in 0..PLACES {
        let (stream, is_answered) = ask(address, ENDLESS, "100").await;
        assert!(is_answered);
        held.push(stream);
    }
    assert!(!probe(address).await.1);
    let text = metrics.render(HeldAmounts::default());
    assert!(text.contains("spansieve_refused_connections_total 1"), "{text}");
    drop(held.pop());
    let freed = async {
        while !probe(address).await.1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("a slot is free again");
}

#[tokio::test]
async fn an_idle_connection_makes_room_when_all_places_are_taken() {
    let (address, _receiver, metrics) = small_receiver().await;
    let mut held = Vec::new();
    for n in 0..PLACES {
        // Half of the connections never send anything.
        let stream = match n % 2 {
            0 => TcpStream::connect(address).await.unwrap(),
            _ => probe(address).await.0,
        };
        held.push(stream);
    }
    let mut newcomers = Vec::new();
    // Each newcomer is answered, and stays connected. It waits while too many connections are leaving.
    for _ in 0..PLACES {
        let served = async {
            loop {
                match probe(address).await {
                    (stream, true) => return stream,
                    (_, false) => tokio::task::yield_now().await,
                }
            }
        };
        newcomers.push(tokio::time::timeout(Duration::from_secs(20), served).await.expect("a newcomer gets in"));
    }
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), held[0].read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the first connection was closed");
    let text = metrics.render(HeldAmounts::default());
    assert!(text.contains("spansieve_cut_connections_total{reason=\"idle\"}"), "{text}");
}

#[test]
fn only_errors_of_the_whole_process_pause_the_accept_loop() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let cases = [
        (io::Error::from(io::ErrorKind::ConnectionAborted), Duration::ZERO),
        // EMFILE
        (io::Error::from_raw_os_error(24), ACCEPT_PAUSE),
    ];
    for (error, expected) in cases {
        let paused = runtime.block_on(async {
            let start = tokio::time::Instant::now();
            pause_after(&error).await;
            start.elapsed()
        });
        assert_eq!(paused, expected, "{error}");
    }
}
