use bytes::Bytes;

use super::*;

fn daemon() -> DaemonClient {
    DaemonClient::new(&DaemonArgs { from: "http://127.0.0.1:9".to_owned(), token_file: None }).unwrap()
}

fn signals() -> Signals {
    Signals { interrupt: None, terminate: None }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_does_not_hold_up_the_end() {
    let (pieces, mut received) = mpsc::channel(1);
    // Nobody takes a piece.
    pieces.try_send(Piece::Bytes(Bytes::from_static(b"waits"))).unwrap();
    let response = Response::from(http::Response::new("more"));
    let (daemon, mut signals) = (daemon(), signals());
    let feed = feed(Duration::from_secs(3), &daemon, response, pieces, &mut signals);
    let ended = timeout(Duration::from_secs(60), feed).await.expect("the time is over");
    assert!(matches!(ended.end, End::Time));
    assert!(matches!(received.recv().await, Some(Piece::Bytes(_))) && received.recv().await.is_none());
}
