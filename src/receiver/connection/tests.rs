use super::*;

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

/// What is read at the beginning, and when and why the connection ends.
#[tokio::test(start_paused = true)]
async fn who_begins_has_to_get_on() {
    let cases: [(&[u8], End, u64); 5] = [
        (b"", End::Idle, 625),
        (b"POST /v1/tr", End::Cut("slow_head"), 15),
        (b"PRI * HTTP/2.0", End::Cut("slow_head"), 15),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", End::Idle, 625),
        (b"P", End::Cut("slow_head"), 15),
    ];
    for (bytes, end, seconds) in cases {
        let (connection, watched) = watched();
        connection.read(bytes);
        assert_eq!(watched.await.unwrap(), (end, seconds), "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_head_begins_anew_after_each_request() {
    let (connection, watched) = watched();
    for _ in 0..10 {
        connection.read(b"POST");
        seconds(8).await;
        let exchange = Exchange::begin(&connection);
        // The body takes long.
        connection.read(b"body");
        seconds(20).await;
        drop(exchange);
        seconds(300).await;
    }
    connection.read(b"P");
    let (end, after) = watched.await.unwrap();
    assert_eq!((end, after), (End::Cut("slow_head"), 3280 + 15));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_when_it_has_no_request() {
    let (connection, watched) = watched();
    let exchange = Exchange::begin(&connection);
    seconds(2000).await;
    drop(exchange);
    assert_eq!(watched.await.unwrap(), (End::Idle, 2625));
}

#[tokio::test(start_paused = true)]
async fn answers_have_to_be_taken() {
    let (connection, watched) = watched();
    for _ in 0..100 {
        let mut exchange = Exchange::begin(&connection);
        exchange.answered();
        seconds(29).await;
    }
    let mut others: Vec<_> = (0..1000).map(|_| Exchange::begin(&connection)).collect();
    others[500].answered();
    let (end, after) = watched.await.unwrap();
    assert_eq!(end, End::Cut("unread"));
    assert!((2930..=2970).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_has_to_read() {
    let (connection, watched) = watched();
    for _ in 0..10 {
        connection.wrote(true);
        seconds(29).await;
        connection.wrote(false);
    }
    connection.wrote(true);
    connection.wrote(true);
    assert_eq!(watched.await.unwrap(), (End::Cut("unread"), 325));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_forgotten() {
    let connection = Connection::new();
    assert!(connection.take(1000, 1000));
    assert!(!connection.take(1, 1000));
    tokio::time::sleep(HALF_LIFE).await;
    assert!(!connection.take(510, 1000));
    assert!(connection.take(490, 1000), "what was refused is not counted");
}
