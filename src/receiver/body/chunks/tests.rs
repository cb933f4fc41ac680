use http_body_util::Full;
use proptest::prelude::*;
use tonic::codegen::tokio_stream::{self, StreamExt};

use super::*;
use crate::budget::Budget;
use crate::receiver::fake::{FakeIntake, cut, pieces};

const LIMIT: usize = 100_000;

fn intake(limit_bytes: usize) -> FakeIntake {
    FakeIntake(Budget::new(limit_bytes))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn a_known_length_is_admitted_at_once_and_exactly() {
    let intake = intake(LIMIT);
    let held = run(Chunks::new(Full::new(Bytes::from(vec![7; 5000]))).whole(LIMIT, &intake)).unwrap();
    assert_eq!((held.bytes.len(), held.share.bytes(), intake.0.used_bytes()), (5000, 5000, 5000));
    drop(held);
    assert_eq!(intake.0.used_bytes(), 0);
}

#[test]
fn limit_and_budget_have_different_refusals() {
    let body = || vec![Bytes::from(vec![1; 60_000]), Bytes::from(vec![1; 60_000])];
    let known = || Full::new(Bytes::from(body().concat()));
    let (small, large) = (intake(50_000), intake(1 << 20));
    for (result, expected) in [
        (run(Chunks::new(known()).whole(LIMIT, &large)), "too_large"),
        (run(Chunks::new(pieces(body())).whole(LIMIT, &large)), "too_large"),
        (run(Chunks::new(known()).whole(1 << 20, &small)), "busy"),
        (run(Chunks::new(pieces(body())).whole(1 << 20, &small)), "busy"),
        (run(Chunks::new(known()).exactly(120_001, false, 1 << 20, &large)), "invalid"),
    ] {
        assert_eq!(result.unwrap_err().outcome().as_str(), expected);
    }
    assert_eq!((small.0.used_bytes(), large.0.used_bytes()), (0, 0), "refused bodies give their share back");
}

#[test]
fn a_limit_is_inclusive() {
    let intake = intake(LIMIT);
    let body = || vec![Bytes::from(vec![1; LIMIT - 1]), Bytes::from(vec![1; 1])];
    assert_eq!(run(Chunks::new(pieces(body())).whole(LIMIT, &intake)).unwrap().bytes.len(), LIMIT);
}

/// Returns a body of which `bytes` arrive at once, and the rest never.
fn stuck(bytes: usize) -> impl Body<Data = Bytes, Error = &'static str> + Unpin {
    let first = (bytes > 0).then(|| Ok(http_body::Frame::data(Bytes::from(vec![7; bytes]))));
    http_body_util::StreamBody::new(tokio_stream::iter(first).chain(tokio_stream::pending()))
}

/// Reads a message of `len` bytes of which `arrived` arrive. Returns the bytes of the budget in use after some time.
async fn used_after(intake: &FakeIntake, arrived: usize, len: usize, millis: u64) -> usize {
    let mut chunks = Chunks::new(stuck(arrived));
    tokio::select! {
        held = chunks.exactly(len, true, 16 << 20, intake) => panic!("{held:?}"),
        used = async { sleep(Duration::from_millis(millis)).await; intake.0.used_bytes() } => used,
    }
}

/// With blocks of 128 KiB.
const WITH_BLOCKS: usize = 4 << 20;

/// A sender leaves the stream of a whole message open.
#[tokio::test(start_paused = true)]
async fn a_message_without_an_end_leaves_its_block() {
    let intake = intake(WITH_BLOCKS);
    assert_eq!(used_after(&intake, 1, 1, 50).await, 128 << 10, "the end of nearly all messages comes at once");
    assert_eq!(used_after(&intake, 1, 1, 150).await, 1);
    assert_eq!(used_after(&intake, 5_000, 5_001, 900).await, 128 << 10, "a slow message has a second");
    assert_eq!(used_after(&intake, 5_000, 5_001, 1_150).await, 5_001);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_that_cannot_leave_its_block_is_refused() {
    let intake = intake(WITH_BLOCKS);
    let _kept = intake.0.force(WITH_BLOCKS - (128 << 10));
    for (arrived, len) in [(100, 100), (5_000, 5_001)] {
        let start = Instant::now();
        let refused = Chunks::new(stuck(arrived)).exactly(len, true, LIMIT, &intake).await.unwrap_err();
        assert_eq!((refused.outcome().as_str(), start.elapsed().as_secs()), ("busy", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_length_takes_memory_as_bytes_arrive() {
    let intake = intake(WITH_BLOCKS);
    assert_eq!(used_after(&intake, 0, 1 << 20, 10).await, 0);
    assert_eq!(used_after(&intake, 1, 1 << 20, 10).await, 1 << 10);
    assert_eq!(used_after(&intake, 1_000, 1 << 20, 10).await, 64_000);
    assert_eq!(used_after(&intake, 16 << 10, 2 << 20, 10).await, 1 << 20);
}

#[test]
fn a_message_whose_bytes_arrive_in_small_pieces_is_held_as_any_other() {
    let intake = intake(WITH_BLOCKS);
    let body: Vec<u8> = (0..60_000).map(|at| at as u8).collect();
    let cuts: Vec<usize> = (1..6_000).map(|at| at * 10).collect();
    let held = run(Chunks::new(pieces(cut(&body, &cuts))).exactly(body.len(), true, LIMIT, &intake)).unwrap();
    assert_eq!((&held.bytes[..], intake.0.used_bytes()), (&body[..], 128 << 10), "it is in a block");
    let more = run(Chunks::new(pieces(cut(&body, &cuts))).exactly(body.len() - 1, true, LIMIT, &intake));
    assert_eq!(more.unwrap_err().outcome().as_str(), "invalid");
}

#[test]
fn draining_is_bounded() {
    let endless = (0..100).map(|_| Bytes::from(vec![0; 1 << 20])).collect();
    let mut chunks = Chunks::new(pieces(endless));
    run(chunks.drain());
    assert!(!run(chunks.ends()).unwrap(), "more than DRAIN_BYTES_MAX was read");
}

proptest! {
    #[test]
    fn a_body_may_arrive_in_any_pieces(
        body in proptest::collection::vec(any::<u8>(), 0..50_000),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let intake = intake(LIMIT);
        let held = run(Chunks::new(pieces(cut(&body, &cuts))).whole(LIMIT, &intake)).unwrap();
        prop_assert_eq!(&held.bytes[..], &body[..]);
        prop_assert_eq!(held.share.bytes(), body.len());
        prop_assert_eq!(intake.0.used_bytes(), body.len());
    }
}
