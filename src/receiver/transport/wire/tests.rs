use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![(len >> 16) as u8, (len >> 8) as u8, len as u8, kind, flags, 0, 0, 0, 1];
    frame.resize(9 + len, 0);
    frame
}

/// Returns a wire, the peer at its other end, and a reserve of `reserve_bytes`.
fn wire(reserve_bytes: usize) -> (Wire<DuplexStream>, DuplexStream, Arc<Heads>) {
    let (near, far) = duplex(1 << 20);
    let heads = Heads::new(16 * reserve_bytes);
    let wire = Wire::new(near, Arc::new(Connection::new()), Arc::clone(&heads), 64 << 10);
    (wire, far, heads)
}

/// Reads once. Returns the number of bytes. `None` if the wire pauses.
async fn poll(wire: &mut Wire<DuplexStream>, at_most: usize) -> Option<usize> {
    let mut buffer = vec![0; at_most];
    tokio::select! {
        biased;
        read = wire.read(&mut buffer) => read.ok(),
        () = std::future::ready(()) => None,
    }
}

/// Returns the number of bytes that are read before the first pause.
async fn turn(wire: &mut Wire<DuplexStream>) -> usize {
    let mut bytes = 0;
    while let Some(more) = poll(wire, 1000).await {
        bytes += more;
    }
    bytes
}

#[tokio::test]
async fn a_turn_ends_after_some_bytes_or_some_heads() {
    let (mut bodies, mut far, _) = wire(0);
    far.write_all(&[HELLO, &frame(0, 0, 60_000).repeat(4)].concat()).await.unwrap();
    assert!((64 << 10..66 << 10).contains(&turn(&mut bodies).await));
    assert!((64 << 10..66 << 10).contains(&turn(&mut bodies).await), "the next turn begins then");
    let (mut heads, mut far, _) = wire(0);
    far.write_all(&[HELLO, &frame(1, 5, 91).repeat(500)].concat()).await.unwrap();
    assert!((1_500..3_000).contains(&turn(&mut heads).await));
    let (mut http1, mut far, _) = wire(0);
    far.write_all(&[b'x'; 200_000]).await.unwrap();
    assert_eq!(turn(&mut http1).await, 200_000, "HTTP/1 has one request at a time");
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_not_read() {
    let (near, mut far) = duplex(1_000);
    let mut wire = Wire::new(near, Arc::new(Connection::new()), Heads::new(0), 64 << 10);
    far.write_all(HELLO).await.unwrap();
    assert_eq!(turn(&mut wire).await, HELLO.len());
    far.write_all(&frame(1, 5, 91)).await.unwrap();
    let mut blocked = tokio::spawn(async move {
        wire.write_all(&[0; 1_500]).await.unwrap();
        wire
    });
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut blocked).await.is_err(), "the peer reads nothing");
    far.read_exact(&mut [0; 1_500]).await.unwrap();
    let mut wire = blocked.await.unwrap();
    assert_eq!(turn(&mut wire).await, 100, "the peer reads again");
    // A write that has to wait stops reading, and its end wakes the reader.
    far.write_all(&frame(1, 5, 91)).await.unwrap();
    let (mut from, mut to) = tokio::io::split(wire);
    let writing = tokio::spawn(async move { to.write_all(&[0; 1_500]).await });
    tokio::task::yield_now().await;
    let mut head = [0; 100];
    assert!(tokio::time::timeout(Duration::from_millis(20), from.read_exact(&mut head)).await.is_err());
    let reading = tokio::spawn(async move { from.read_exact(&mut head).await.map(|_| ()) });
    far.read_exact(&mut [0; 1_500]).await.unwrap();
    writing.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the reader is woken").unwrap().unwrap();
}

#[tokio::test]
async fn an_incomplete_head_takes_room_until_its_end() {
    let (mut wire, mut far, heads) = wire(100 << 10);
    far.write_all(&[HELLO, &frame(1, 1, 8_000)].concat()).await.unwrap();
    turn(&mut wire).await;
    assert_eq!(heads.used_bytes(), 0, "a head up to FREE_BLOCK_BYTES takes no room");
    far.write_all(&frame(9, 0, 8_000)).await.unwrap();
    turn(&mut wire).await;
    assert_eq!(heads.used_bytes(), BLOCK_BYTES_MAX);
    far.write_all(&frame(9, END_HEADERS, 8_000)).await.unwrap();
    turn(&mut wire).await;
    assert_eq!(heads.used_bytes(), 0);
    assert_eq!(wire.connection.cut_reason(), None);
}

const END_HEADERS: u8 = 4;

#[tokio::test]
async fn a_head_that_is_too_large_ends_the_connection() {
    let large = [HELLO, &frame(1, 0, 16_000), &frame(9, 0, 16_000), &frame(9, 0, 16_000)].concat();
    // The reserve is empty; the head is larger than one head may be.
    for (reserve_bytes, bytes) in [(0, &large[..10_000]), (1 << 20, &large[..])] {
        let (mut wire, mut far, heads) = wire(reserve_bytes);
        far.write_all(bytes).await.unwrap();
        turn(&mut wire).await;
        assert_eq!(wire.connection.cut_reason(), Some(CutReason::LargeHead), "{reserve_bytes}");
        drop(wire);
        assert_eq!(heads.used_bytes(), 0);
    }
}

#[tokio::test]
async fn the_greeting_is_read_again() {
    for (bytes, is_http2) in [(HELLO, true), (b"POST /v1/traces HTTP/1.1\r\n\r\n", false), (b"PRI", false)] {
        let (mut wire, mut far, _) = wire(0);
        far.write_all(bytes).await.unwrap();
        drop(far);
        assert_eq!(wire.greet().await.unwrap(), is_http2);
        let mut all = Vec::new();
        wire.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, bytes);
    }
}

/// Returns a head that adds an entry to the HPACK table, and a frame that arrives in the same buffer of the library.
fn entry_and_more() -> Vec<u8> {
    let entry = *b"\0\0\x05\x01\x05\0\0\0\x01\x40\x01a\x01b";
    [&entry[..], &frame(0xfe, 0, 16_000)].concat()
}

#[tokio::test]
async fn buffers_of_an_hpack_table_take_room_until_it_is_emptied() {
    let (mut obedient, mut far, heads) = wire(1 << 20);
    far.write_all(&[HELLO, &entry_and_more().repeat(4)].concat()).await.unwrap();
    turn(&mut obedient).await;
    assert_eq!(heads.used_bytes(), 2 * TABLE_STEP_BYTES);
    let no_table = *b"\0\0\x02\x01\x05\0\0\0\x01\x20\x82";
    far.write_all(&no_table).await.unwrap();
    turn(&mut obedient).await;
    assert_eq!((heads.used_bytes(), obedient.connection.cut_reason()), (0, None));
    let (mut greedy, mut far, heads) = wire(1 << 20);
    far.write_all(&[HELLO, &entry_and_more().repeat(60)].concat()).await.unwrap();
    for _ in 0..20 {
        turn(&mut greedy).await;
    }
    assert_eq!(greedy.connection.cut_reason(), Some(CutReason::LargeHead));
    assert!(heads.used_bytes() <= 1 << 19, "at most half of the reserve");
}

#[tokio::test]
async fn a_flood_ends_with_goaway_unless_the_library_has_begun_a_frame() {
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    for (written, expects_goaway) in [(&settings[..], true), (&settings[..5], false), (&[], false)] {
        let (mut wire, mut far, _) = wire(0);
        wire.write_all(written).await.unwrap();
        far.write_all(&[HELLO, &frame(1, 5, 91), &frame(6, 0, 8).repeat(6_000)].concat()).await.unwrap();
        for _ in 0..3 {
            turn(&mut wire).await;
        }
        assert_eq!(wire.connection.cut_reason(), Some(CutReason::Flood));
        drop(wire);
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        let goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\x0b";
        let expected = [written, if expects_goaway { goaway } else { &[][..] }].concat();
        assert_eq!(seen, expected);
    }
}
