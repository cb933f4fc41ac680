//! Attacks with HTTP/2 frames that are legal, or nearly so, and only cause work. The attacker is cut off or stopped,
//! while a well-behaved sender on another connection is served.

use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::hostile::assert_unharmed;
use super::support::{BUDGET, Daemon, EXPORT, LIMIT, PATIENCE, request};

/// A client's connection preface with an empty SETTINGS frame (RFC 9113, 3.4).
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

// Frame types and flags (RFC 9113, 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes a header block without compression, as literals without indexing (RFC 7541, 6.2.2).
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let literal = |text: &str| {
        assert!(text.len() < 127);
        [&[text.len() as u8], text.as_bytes()].concat()
    };
    headers.iter().flat_map(|(name, value)| [vec![0], literal(name), literal(value)].concat()).collect()
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")])
}

pub(crate) fn export() -> Vec<u8> {
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", EXPORT), (":authority", "x")];
    block(&[&pseudo[..], &[("content-type", "application/grpc"), ("te", "trailers")]].concat())
}

/// Returns the id of the `n`th stream that a client opens.
pub(crate) fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// Time after which a write that does not finish counts as stopped.
const STALL_TIME: Duration = Duration::from_secs(2);

/// The end of an attack.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The daemon closed the connection.
    Closed,
    /// The daemon reads no more until the attacker reads.
    Stopped,
    /// The daemon read all of it without lasting cost.
    Taken,
}

/// Writes `rounds` of frames. `reads` is true if the attacker also reads the answers.
async fn attack(stream: TcpStream, rounds: u32, frames: impl Fn(u32) -> Vec<u8>, reads: bool) -> (End, TcpStream) {
    let (mut from, mut to) = stream.into_split();
    let write = async {
        to.write_all(HELLO).await?;
        for round in 0..rounds {
            let Ok(written) = tokio::time::timeout(STALL_TIME, to.write_all(&frames(round))).await else {
                return Ok(End::Stopped);
            };
            written?;
        }
        to.flush().await.map(|()| End::Taken)
    };
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        if reads {
            while matches!(from.read(&mut buffer).await, Ok(n) if n > 0) {}
        } else {
            std::future::pending::<()>().await;
        }
    };
    let end = tokio::select! {
        () = read => End::Closed,
        written = write => written.unwrap_or(End::Closed),
    };
    (end, from.reunite(to).unwrap())
}

/// Returns true if the peer closes the connection within two seconds.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let end = async {
        let mut buffer = vec![0; 64 << 10];
        while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
    };
    tokio::time::timeout(Duration::from_secs(2), end).await.is_ok()
}

/// A function that makes the frames of one round.
type Frames = Box<dyn Fn(u32) -> Vec<u8>>;

struct Attack {
    name: &'static str,
    frames: Frames,
    rounds: u32,
    reads: bool,
    end: End,
}

fn case(name: &'static str, rounds: u32, reads: bool, end: End, frames: impl Fn(u32) -> Vec<u8> + 'static) -> Attack {
    Attack { name, frames: Box::new(frames), rounds, reads, end }
}

fn attacks() -> Vec<Attack> {
    let reset = |n| {
        [frame(HEADERS, END_HEADERS, stream(n), &export()), frame(RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat()
    };
    let opened = |n: u32, more: Vec<u8>| match n {
        0 => [frame(HEADERS, END_HEADERS, 1, &export()), more].concat(),
        _ => more,
    };
    vec![
        case("rapid reset", 10_000, true, End::Closed, reset),
        case("CONTINUATION without end", 10_000, true, End::Closed, |n| match n {
            0 => frame(HEADERS, 0, 1, &export()),
            _ => frame(CONTINUATION, 0, 1, &block(&[("a", "b"); 100])),
        }),
        case("empty CONTINUATION without end", 100_000, true, End::Closed, |n| match n {
            0 => frame(HEADERS, 0, 1, &export()),
            _ => frame(CONTINUATION, 0, 1, &[]),
        }),
        case("empty DATA without end", 100_000, true, End::Closed, move |n| opened(n, frame(DATA, 0, 1, &[]))),
        case("PING without reading", 40_000, false, End::Closed, |_| frame(PING, 0, 0, &[0; 8]).repeat(100)),
        case("SETTINGS without reading", 40_000, false, End::Closed, |_| frame(SETTINGS, 0, 0, &[]).repeat(100)),
        case("PING", 100_000, true, End::Closed, |_| frame(PING, 0, 0, &[0; 8])),
        case("SETTINGS", 100_000, true, End::Closed, |_| frame(SETTINGS, 0, 0, &[])),
        // The library changes the window of each open stream.
        case("SETTINGS with open streams", 10_000, true, End::Closed, move |n| match n {
            0 => (0..250).flat_map(|n| frame(HEADERS, END_HEADERS, stream(n), &export())).collect(),
            n => frame(SETTINGS, 0, 0, &[&[0, 4][..], &(n % 2 * 60_000).to_be_bytes()].concat()),
        }),
        case("WINDOW_UPDATE", 100_000, true, End::Closed, move |n| {
            opened(n, frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]))
        }),
        case("PRIORITY", 100_000, true, End::Closed, |_| frame(PRIORITY, 0, 1, &[0; 5])),
        case("RST_STREAM", 100_000, true, End::Closed, move |n| opened(n, frame(RST_STREAM, 0, 1, &[0; 4]))),
        case("frames of unknown types", 100_000, true, End::Closed, |_| frame(0xfe, 0, 0, &[])),
        case("what requests need", 2_000, true, End::Taken, |n| {
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &get("/livez"));
            [request, frame(PING, 0, 0, &[0; 8]).repeat(10)].concat()
        }),
        case("a window that overflows", 3, true, End::Closed, |_| {
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])
        }),
        case("a frame that is too large", 1, true, End::Closed, |_| frame(PING, 0, 0, &vec![0; 1 << 20])),
        case("requests without reading", 1_000_000, false, End::Stopped, |n| {
            frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &get("/nowhere"))
        }),
        // Each stream beyond the limit is refused.
        case("more streams than allowed", 5_000, true, End::Taken, |n| {
            frame(HEADERS, END_HEADERS, stream(n), &export())
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_cut_off_or_stopped_and_harm_no_other_sender() {
    let daemon = Daemon::start().await;
    let mut held = Vec::new();
    for attack in attacks() {
        let name = attack.name;
        let stream = TcpStream::connect(daemon.address).await.unwrap();
        let (mut end, mut stream) = self::attack(stream, attack.rounds, attack.frames, attack.reads).await;
        // All frames were written before the daemon closed the connection.
        if end == End::Taken && attack.end == End::Closed && is_closed(&mut stream).await {
            end = End::Closed;
        }
        assert_eq!(end, attack.end, "{name}");
        assert_unharmed(&daemon).await;
        held.push(stream);
    }
    assert_eq!(daemon.metric("spansieve_cut_connections_total{reason=\"flood\"}"), 9);
    let used: usize = daemon.table.bodies.lock().iter().map(|(body, _)| body.len()).sum();
    assert_eq!(daemon.table.used_bytes(), used, "attacks hold no memory");
}

#[tokio::test]
async fn headers_are_bounded() {
    let daemon = Daemon::start().await;
    let long = "a".repeat(80 << 10);
    let answer = daemon.send(Version::HTTP_11, request(Method::GET, "/livez", &[("x", &long)], "")).await;
    assert_eq!(answer.status(), 431);
    let answer = daemon.send(Version::HTTP_2, request(Method::GET, "/livez", &[("x", &long[..20 << 10])], "")).await;
    assert_eq!(answer.status(), 431);
    assert_unharmed(&daemon).await;
}

/// Waits until the table has used `at_least` bytes; returns the peak.
async fn peak_bytes(daemon: &Daemon, at_least: usize) -> usize {
    let filled = async {
        while *daemon.table.peak_bytes.lock() < at_least {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, filled).await.expect("bodies are admitted");
    // Further announced bodies are refused as soon as they are read. This request is answered after them.
    assert_unharmed(daemon).await;
    *daemon.table.peak_bytes.lock()
}

#[tokio::test]
async fn announced_bodies_that_are_never_sent_hold_only_a_part_of_the_memory() {
    let daemon = Daemon::start().await;
    // One frame of a body of 16 MiB, for which it gets 1 MiB at most.
    let announced = [&[0][..], &(LIMIT as u32).to_be_bytes(), &[b'x'; 16_000]].concat();
    let mut attackers = Vec::new();
    for _ in 0..4 {
        let mut attacker = TcpStream::connect(daemon.address).await.unwrap();
        attacker.write_all(HELLO).await.unwrap();
        for n in 0..20 {
            let open = frame(HEADERS, END_HEADERS, stream(n), &export());
            attacker.write_all(&[open, frame(DATA, 0, stream(n), &announced)].concat()).await.unwrap();
        }
        attackers.push(attacker);
    }
    let peak = peak_bytes(&daemon, 10 << 20).await;
    assert!(peak < BUDGET, "{peak}");
    drop(attackers);
}

/// Reads frames until `is_last` returns true for the type, flags and stream of one. Panics if the connection ends.
async fn read_until(stream: &mut TcpStream, mut is_last: impl FnMut(u8, u8, u32) -> bool) {
    let read = async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.expect("the connection is open");
            let [high, middle, low, kind, flags, stream_id @ ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
            stream.read_exact(&mut payload).await.expect("the connection is open");
            assert_ne!(kind, GOAWAY, "{payload:?}");
            if is_last(kind, flags, u32::from_be_bytes(stream_id)) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the frame came in time");
}

/// The HTTP/2 library counts the DATA frames that come after an answer, and by default ends the connection after 1,024.
#[tokio::test]
async fn a_sender_that_is_refused_often_stays_connected() {
    const AT_ONCE: u32 = 50;
    const REFUSED: u32 = 1_500;
    let daemon = Daemon::start().await;
    let mut sender = TcpStream::connect(daemon.address).await.unwrap();
    let window = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    sender.write_all(&[HELLO, &window].concat()).await.unwrap();
    let post = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/nowhere"), (":authority", "x")]);
    for first in (0..REFUSED).step_by(AT_ONCE as usize) {
        let heads = (first..first + AT_ONCE).flat_map(|n| frame(HEADERS, END_HEADERS, stream(n), &post));
        sender.write_all(&heads.collect::<Vec<_>>()).await.unwrap();
        let mut answered = 0;
        read_until(&mut sender, |kind, flags, _| {
            answered += u32::from((kind == HEADERS || kind == DATA) && flags & END_STREAM != 0);
            answered == AT_ONCE
        })
        .await;
    }
    for n in 0..REFUSED {
        sender.write_all(&frame(DATA, END_STREAM, stream(n), &[0; 100])).await.unwrap();
    }
    let probe = stream(REFUSED);
    sender.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, probe, &get("/livez"))).await.unwrap();
    read_until(&mut sender, |kind, _, stream| kind == HEADERS && stream == probe).await;
}

#[tokio::test]
async fn a_connection_that_reads_no_page_leaves_pages_for_others() {
    let daemon = Daemon::start().await;
    let mut attacker = TcpStream::connect(daemon.address).await.unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0: the daemon may not send any byte of an answer's body.
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    attacker.write_all(&[HELLO, &settings].concat()).await.unwrap();
    for n in 0..20 {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &get("/metrics"));
        attacker.write_all(&open).await.unwrap();
    }
    let mut heads = 0;
    read_until(&mut attacker, |kind, _, _| {
        heads += u32::from(kind == HEADERS);
        heads == 20
    })
    .await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        assert_eq!(daemon.send(version, request(Method::GET, "/metrics", &[], "")).await.status(), 200);
        assert_eq!(daemon.send(version, request(Method::GET, "/livez", &[], "")).await.status(), 200);
    }
    assert_unharmed(&daemon).await;
}
