//! Random answers from a sink and its proxy, out of everything that HTTP/2 and gRPC allow except verdicts on spans.
//! Each seed is a test case of its own, so that a failure can be repeated.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::faults::{Outcome, fault, run};
use spansieve_test_support::sink::{Answer, Raw};

const SEEDS: u64 = 6;
/// Number of calls with a random answer. There are more batches, so that every answer is given.
const ANSWERS: usize = 24;
const BATCHES: usize = 50;

/// gRPC statuses and invalid ones. INVALID_ARGUMENT and OUT_OF_RANGE are left out: they are verdicts on spans.
const STATUSES: [&str; 19] =
    ["0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "12", "13", "14", "15", "16", "17", "-1", "word", ""];
const HTTP: [u16; 20] =
    [200, 200, 200, 200, 204, 301, 307, 400, 401, 403, 404, 408, 413, 421, 429, 431, 500, 502, 503, 504];
const CONTENT_TYPES: [&str; 5] = ["application/grpc", "application/grpc", "text/html", "application/grpc-web", ""];
const TEXTS: [&str; 6] =
    ["", "a%zz%", "%00%0a%1b[31m", "%ff%fe", "quota exceeded", "spans[0] spans[99999999999999999999] spans["];
const DETAILS: [&str; 6] = ["!!", "AAAA,AAAA", "====", "_-_-", "Gg==", ""];
const WAITS: [&str; 5] = ["0", "1", "-1", "soon", "Mon, 30 Nov 2026 04:00:00 GMT"];

fn one<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// Returns a random status, and the headers with it and its optional details.
fn status(random: &mut Rng) -> (&'static str, Vec<(&'static str, &'static str)>) {
    let status = one(random, &STATUSES);
    let mut headers = vec![("grpc-status", status), ("grpc-message", one(random, &TEXTS))];
    if random.bool() {
        headers.push(("grpc-status-details-bin", one(random, &DETAILS)));
        headers.push(("retry-after", one(random, &WAITS)));
    }
    (status, headers)
}

fn raw(random: &mut Rng) -> Raw {
    let http = one(random, &HTTP);
    let mut head = vec![("content-type", one(random, &CONTENT_TYPES)), ("server", "as scripted")];
    let mut last = None;
    if random.u8(..4) == 0 {
        let (status, headers) = status(random);
        last = Some(status);
        head.extend(headers);
    }
    let mut trailers = Vec::new();
    if random.u8(..3) > 0 {
        let (status, headers) = status(random);
        last = Some(status);
        trailers = headers;
    }
    let lengths = [0, 1, 4, 5, 6, 100, 100_000];
    let data = Bytes::from((0..one(random, &lengths)).map(|_| random.u8(..)).collect::<Vec<_>>());
    // A sink that reports success has stored the spans. A sink that reports an error may have stored them, too.
    let says_so = http == 200 && last.is_some_and(|last| ["0", "6"].contains(&last));
    Raw { http, head, data, trailers, stores: says_so || random.bool() }
}

fn answer(random: &mut Rng) -> Answer {
    match random.u8(..16) {
        0 => Answer::Reset,
        1 => Answer::StoreAndReset,
        2 => Answer::GoAway,
        3 => Answer::Silence,
        4 => Answer::Verbose(100 << 10),
        5 => Answer::StoreAndSend(5 << 20),
        6 => Answer::After(Duration::from_secs(random.u64(..30))),
        _ => Answer::Raw(raw(random)),
    }
}

#[tokio::test(start_paused = true)]
async fn all_spans_arrive_once_the_sink_recovers_from_random_answers() {
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        let script: Vec<_> = (0..ANSWERS).map(|_| answer(&mut random)).collect();
        let said = format!("seed {seed}: {script:?}");
        let mut case = fault("a sink that answers at random", script);
        case.requests = vec![vec!["failed"; 10]; BATCHES];
        let sent = 10 * BATCHES;
        assert_eq!(run(case).await, Outcome { sent, exported_once: sent, lost: 0 }, "{said}");
    }
}
