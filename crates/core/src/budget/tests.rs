use super::*;

const LIMIT: usize = 32 << 10;
const RESERVE: usize = 1 << 10;

/// Takes `bytes` of the reserve for the connection with `claim`, for ever if there is room.
fn take(budget: &Budget, claim: &Arc<Claim>, bytes: usize) -> bool {
    let taken = budget.share().claimed(claim).of_reserve(bytes);
    taken.map(std::mem::forget).is_some()
}

#[test]
fn a_connection_that_asks_alone_leaves_most_of_the_reserve() {
    let budget = Budget::new(LIMIT);
    let greedy = Arc::default();
    while take(&budget, &greedy, 8) {}
    assert_eq!(budget.used_bytes(), RESERVE / 4);
    let next = budget.share().claimed(&Arc::default());
    assert!(
        next.of_reserve(RESERVE / 16).is_some() && next.of_reserve(RESERVE / 16 + 1).is_none(),
        "small requests only"
    );
    assert!(budget.share().of_reserve(1).is_none(), "without a connection there is no reserve");
}

/// Nothing of the reserve is given back, as while the sink is away. A small sender still gets a request through every
/// tenth of a second for 25 seconds, however many greedy connections there are, each of which asks ten times as often.
#[test]
fn many_greedy_connections_leave_a_part_of_the_reserve_to_a_small_sender() {
    const REQUEST: usize = 1_300;
    for connections in [1, 2, 12, 40, 100] {
        let budget = Budget::new(112 << 20);
        let greedy: Vec<Arc<Claim>> = (0..connections).map(|_| Arc::default()).collect();
        let ask = |times: usize| {
            for _ in 0..times {
                greedy.iter().for_each(|claim| _ = take(&budget, claim, REQUEST));
            }
        };
        ask(5_000);
        let small = Arc::default();
        for request in 0..250 {
            assert!(take(&budget, &small, REQUEST), "request {request} beside {connections} connections");
            ask(10);
        }
    }
}

/// Greedy senders that connect again for each request do not look small.
#[test]
fn greedy_senders_that_connect_again_leave_a_part_of_the_reserve_to_a_small_sender() {
    const REQUEST: usize = 1_300;
    let budget = Budget::new(112 << 20);
    let connect_again = |times: usize| {
        for _ in 0..times {
            take(&budget, &Arc::default(), REQUEST);
        }
    };
    // A new connection looks like theirs at first.
    let small = Arc::default();
    assert!(take(&budget, &small, REQUEST));
    connect_again(20_000);
    for request in 0..90 {
        assert!(take(&budget, &small, REQUEST), "request {request}");
        connect_again(40);
    }
}

/// A request that could never be served from the reserve counts with what it could take at most.
#[test]
fn large_requests_do_not_make_others_look_small() {
    let budget = Budget::new(LIMIT);
    let (large, greedy) = (Arc::default(), Arc::default());
    for _ in 0..1000 {
        assert!(!take(&budget, &large, RESERVE));
        take(&budget, &greedy, RESERVE / 16);
    }
    let left = RESERVE - budget.used_bytes();
    assert!(left > RESERVE / 3, "{left}");
}

#[test]
fn a_connection_that_asks_less_than_before_has_more_of_the_reserve() {
    let budget = Budget::new(LIMIT);
    let (first, second) = (Arc::default(), Arc::default());
    while take(&budget, &first, 8) {}
    // Each generation of asks halves the earlier ones.
    for _ in 0..20 * 16 * RESERVE / 64 {
        take(&budget, &second, 64);
    }
    let used = budget.used_bytes();
    while take(&budget, &first, 8) {}
    assert!(budget.used_bytes() > used + RESERVE / 4, "{used}, then {}", budget.used_bytes());
}

#[test]
fn what_connections_borrow_is_not_left_for_spans() {
    let budget = Budget::new(LIMIT);
    let loan = Loan::from(budget.reserve(LIMIT / 4).unwrap());
    assert_eq!((budget.used_bytes(), budget.filled_bytes()), (0, LIMIT / 4));
    assert!(budget.reserve(LIMIT / 4 * 3 + 1).is_none());
    let share = budget.reserve(LIMIT / 4 * 3).unwrap();
    assert_eq!(budget.over(ladder::FULL), 0);
    assert_eq!(budget.over(ladder::RESCUE), LIMIT - ladder::RESCUE.of(LIMIT));
    drop(loan);
    assert_eq!(budget.filled_bytes(), share.bytes());
    assert!(budget.reserve(LIMIT / 4).is_some());
}

#[test]
fn the_limit_and_the_reserve_are_separate() {
    let budget = Budget::new(LIMIT);
    assert!(budget.reserve(LIMIT + 1).is_none());
    let kept = budget.force(2 * LIMIT);
    let mut share = budget.share().claimed(&Arc::default());
    assert!(!share.grow(1));
    share.absorb(share.of_reserve(RESERVE / 16).unwrap());
    drop(kept);
    assert!(share.grow(LIMIT) && !share.grow(1));
    assert_eq!((share.bytes(), budget.used_bytes()), (LIMIT + RESERVE / 16, LIMIT + RESERVE / 16));
}

#[test]
fn a_share_gives_back_of_the_reserve_first() {
    let budget = Budget::new(LIMIT);
    let (claim, reserve_bytes) = (Arc::default(), || budget.inner.reserve_bytes.load(Ordering::Relaxed));
    let mut whole = budget.share();
    let mut share = budget.share().claimed(&claim);
    assert!(share.grow(100));
    share.absorb(share.of_reserve(50).unwrap());
    whole.absorb(share);
    // Each size in bytes, and the part of it that is from the reserve.
    for (bytes, of_reserve_bytes) in [(150, 50), (120, 20), (90, 0), (200, 0)] {
        whole.resize(bytes);
        assert_eq!((budget.used_bytes(), reserve_bytes()), (bytes, of_reserve_bytes));
    }
    whole.absorb(whole.of_reserve(10).unwrap());
    drop(whole);
    assert_eq!((budget.used_bytes(), reserve_bytes()), (0, 0));
}
