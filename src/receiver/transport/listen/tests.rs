use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::budget::Budget;
use crate::receiver::fake::FakeIntake;
use crate::telemetry::metrics::HeldAmounts;

#[tokio::test]
async fn one_connection_too_many_is_closed_and_counted() {
    // Such a small budget gives the smallest number of places, and one peer can have half of them.
    let bound = Receiver::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    let address = bound.local_addrs()[0];
    let metrics = Arc::new(Metrics::new());
    let _receiver = bound.serve(
        ReceiverSettings { max_request_bytes: 1000, reflection: false },
        Arc::new(FakeIntake(Budget::new(1000))),
        Arc::clone(&metrics),
        Arc::default(),
        Arc::new(String::new),
    );
    // Returns the first bytes of the answer. `None` if the connection was closed instead.
    let ask = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = [0; 15];
        let asked = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let read = stream.read_exact(&mut answer).await;
        (stream, (asked.is_ok() && read.is_ok()).then_some(answer))
    };
    let mut held = Vec::new();
    for _ in 0..32 {
        let (stream, answer) = ask().await;
        assert_eq!(answer, Some(*b"HTTP/1.1 200 OK"));
        held.push(stream);
    }
    assert_eq!(ask().await.1, None);
    let text = metrics.render(HeldAmounts::default());
    assert!(text.contains("spansieve_refused_connections_total 1"), "{text}");
    drop(held.pop());
    let freed = async {
        while ask().await.1.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("a slot is free again");
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
