use super::*;
use crate::budget::{Budget, ladder};

/// A limit that makes blocks of 128 KiB.
const LIMIT_BYTES: usize = 4 << 20;
const BLOCK_BYTES: usize = ladder::BLOCK.of(LIMIT_BYTES);

/// Returns a request with a body but no spans.
fn request(budget: &Budget, bytes: usize, seed: u8) -> Arc<Request> {
    let mut room = budget.room(bytes).unwrap();
    room.put(&vec![seed; bytes]);
    let (body, share) = room.freeze();
    Request::new(body, Box::default(), Box::default(), share)
}

#[test]
fn the_last_requests_of_a_block_move_to_another_block() {
    let budget = Budget::new(LIMIT_BYTES);
    // One request in fifteen stays. A block has 21 bodies.
    let mut requests: Vec<_> = (0..210).map(|seed| request(&budget, 6_000, seed)).collect();
    let full_bytes = budget.used_bytes();
    let mut number = 0..;
    requests.retain(|_| number.next().is_some_and(|number| number % 15 == 0));
    assert_eq!(budget.used_bytes(), full_bytes, "every block has at least one body left");
    for now_ms in (0..5_000).step_by(20) {
        budget.tidy(now_ms);
    }
    // One block of old bodies, and up to four that new bodies are appended to.
    assert!(budget.used_bytes() <= (1 + 4) * BLOCK_BYTES, "{} of {full_bytes}", budget.used_bytes());
    for (at, request) in requests.iter().enumerate() {
        request.with_body(|body| assert!(body.plain().iter().all(|&byte| byte == 15 * at as u8)));
    }
    drop(requests);
    assert_eq!(budget.used_bytes(), 0);
}
