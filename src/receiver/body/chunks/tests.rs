use http_body_util::Full;
use proptest::prelude::*;

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
        (run(Chunks::new(known()).exactly(120_001, 1 << 20, &large)), "invalid"),
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
