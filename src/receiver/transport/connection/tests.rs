use super::super::frames::Frames;
use http_body_util::BodyExt;

use super::*;
use crate::receiver::API_STREAM_SILENCE_MAX;
use crate::receiver::admission::places::Places;
use crate::receiver::protocol::reply::PlacedStream;

impl Connection {
    /// Reports `bytes` to the connection as the wire does.
    fn read(&self, frames: &mut Frames, bytes: &[u8]) {
        frames.read(bytes);
        match frames.is_http2() {
            true => self.read_http2(frames.is_in_head()),
            false => self.read_http1(bytes.len()),
        }
    }
}

fn watched() -> (Arc<Connection>, tokio::task::JoinHandle<(End, u64)>) {
    let connection = Arc::new(Connection::new());
    let watched = Arc::clone(&connection);
    let task = tokio::spawn(async move {
        let end = watched.watch().await;
        (end, watched.epoch.elapsed().as_secs())
    });
    (connection, task)
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Cases: pieces that are read a second apart, then the reason and the second at which the connection ends.
#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_must_end_in_time() {
    let hello_and = |more: &[u8]| [HELLO, more].concat();
    let begun = b"\0\0\x0a\x01\x04\0\0\0\x01:".to_vec();
    let continued = b"\0\0\0\x01\0\0\0\0\x01\0\0\0\x09\0\0\0\0\x01".to_vec();
    let whole = b"\0\0\0\x01\x05\0\0\0\x01".to_vec();
    let cases: [(Vec<Vec<u8>>, End, u64); 11] = [
        (vec![], End::Idle, 625),
        (vec![b"POST /v1/tr".to_vec()], End::Cut(CutReason::SlowHead), 15),
        (vec![b"PRI * HTTP/2.0".to_vec()], End::Cut(CutReason::SlowHead), 15),
        (vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()], End::Cut(CutReason::SlowHead), 15),
        (vec![HELLO.to_vec()], End::Idle, 625),
        (vec![b"P".to_vec()], End::Cut(CutReason::SlowHead), 15),
        (vec![b"P".to_vec(), HELLO[1..].to_vec()], End::Idle, 625),
        (HELLO.chunks(5).map(<[u8]>::to_vec).collect(), End::Idle, 625),
        (vec![hello_and(&begun)], End::Cut(CutReason::SlowHead), 15),
        (vec![hello_and(&continued)], End::Cut(CutReason::SlowHead), 15),
        (vec![hello_and(&whole)], End::Idle, 625),
    ];
    for (pieces, end, after) in cases {
        let (connection, watched) = watched();
        let mut frames = Frames::new();
        for piece in &pieces {
            connection.read(&mut frames, piece);
            seconds(1).await;
        }
        assert_eq!(watched.await.unwrap(), (end, after), "{pieces:?}");
    }
}

/// Answers on an HTTP/2 connection do not extend the time of a head that is incomplete.
#[tokio::test(start_paused = true)]
async fn other_requests_do_not_hide_an_incomplete_head() {
    let (connection, watched) = watched();
    let mut frames = Frames::new();
    connection.read(&mut frames, HELLO);
    seconds(100).await;
    let _open = Exchange::begin(&connection);
    connection.read(&mut frames, b"\0\0\x0a\x01\x04\0\0\0\x01:");
    for _ in 0..20 {
        seconds(1).await;
        drop(Exchange::begin(&connection));
    }
    assert_eq!(watched.await.unwrap(), (End::Cut(CutReason::SlowHead), 115));
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_head_begins_anew_after_each_request() {
    let (connection, watched) = watched();
    let mut frames = Frames::new();
    for _ in 0..10 {
        connection.read(&mut frames, b"POST");
        seconds(8).await;
        let exchange = Exchange::begin(&connection);
        // The body takes longer than a head may.
        connection.read(&mut frames, b"body");
        seconds(20).await;
        drop(exchange);
        seconds(300).await;
    }
    connection.read(&mut frames, b"P");
    let (end, after) = watched.await.unwrap();
    assert_eq!((end, after), (End::Cut(CutReason::SlowHead), 3280 + 15));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_becomes_idle() {
    let (connection, watched) = watched();
    let exchange = Exchange::begin(&connection);
    seconds(2000).await;
    drop(exchange);
    assert_eq!(watched.await.unwrap(), (End::Idle, 2625));
}

#[tokio::test(start_paused = true)]
async fn a_peer_must_take_its_answers() {
    let (connection, watched) = watched();
    for _ in 0..100 {
        let mut exchange = Exchange::begin(&connection);
        exchange.answered();
        seconds(29).await;
    }
    let mut others: Vec<_> = (0..1000).map(|_| Exchange::begin(&connection)).collect();
    others[500].answered();
    let (end, after) = watched.await.unwrap();
    assert_eq!(end, End::Cut(CutReason::Unread));
    assert!((2930..=2970).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_must_read_what_is_written() {
    let (connection, watched) = watched();
    for _ in 0..10 {
        connection.wrote(true);
        seconds(29).await;
        connection.wrote(false);
    }
    connection.wrote(true);
    connection.wrote(true);
    assert_eq!(watched.await.unwrap(), (End::Cut(CutReason::Unread), 325));
}

#[tokio::test(start_paused = true)]
async fn a_peer_must_take_a_scrape_soon() {
    let (connection, watched) = watched();
    let _open = Exchange::begin(&connection);
    for _ in 0..100 {
        let _scrape = connection.scrape();
        seconds(9).await;
    }
    let _unread = connection.scrape();
    let (end, after) = watched.await.unwrap();
    assert_eq!(end, End::Cut(CutReason::Unread));
    assert!((910..=930).contains(&after), "{after}");
}

/// The body of a stream that always has something to say.
#[derive(Debug)]
struct Lines;

impl http_body::Body for Lines {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, tonic::Status>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data("\n".into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_must_take_the_parts_of_a_stream() {
    let (connection, watched) = watched();
    let _open = Exchange::begin(&connection);
    let place = Places::new(16).take(&connection).unwrap();
    let mut stream = PlacedStream::new(Box::pin(Lines), place, &connection);
    for _ in 0..100 {
        assert!(stream.frame().await.is_some());
        seconds(API_STREAM_SILENCE_MAX.as_secs()).await;
    }
    let (end, after) = watched.await.unwrap();
    assert_eq!(end, End::Cut(CutReason::Unread));
    assert!((1_500..=1_570).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_another_one_needs_its_place() {
    let (connection, watched) = watched();
    seconds(3).await;
    assert_eq!(connection.idle_since(), Some(connection.epoch));
    let exchange = Exchange::begin(&connection);
    assert_eq!(connection.idle_since(), None);
    drop(exchange);
    assert_eq!(connection.idle_since(), Some(connection.epoch + Duration::from_secs(3)));
    connection.dismiss();
    assert_eq!(watched.await.unwrap(), (End::Crowded, 3));
    assert_eq!(connection.cut_reason(), Some(CutReason::Idle));
}
