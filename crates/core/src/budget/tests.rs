use super::*;

const LIMIT: usize = 32 << 10;
const RESERVE: usize = 1 << 10;

#[test]
fn a_connection_leaves_four_times_as_much_of_the_reserve_as_it_holds() {
    let budget = Budget::new(LIMIT);
    let claims: [Arc<Claim>; 3] = Default::default();
    let mut held = Vec::new();
    // The most that each connection may have while the ones before it hold theirs.
    for (claim, most_bytes) in claims.iter().zip([200, 160, 128]) {
        let mut share = budget.share().claimed(claim);
        while let Some(more) = share.of_reserve(8) {
            share.absorb(more);
        }
        assert_eq!(share.bytes(), most_bytes);
        assert!(share.beside().of_reserve(8).is_none(), "all requests of a connection count together");
        held.push(share);
    }
    assert_eq!(budget.used_bytes(), 200 + 160 + 128);
    let next = budget.share().claimed(&Arc::default());
    assert!(
        next.of_reserve(RESERVE / 16).is_some() && next.of_reserve(RESERVE / 16 + 1).is_none(),
        "small requests only"
    );
    assert!(budget.share().of_reserve(1).is_none(), "without a connection there is no reserve");
    held.clear();
    assert_eq!(budget.used_bytes(), 0);
    assert!(budget.share().claimed(&claims[0]).of_reserve(RESERVE / 16).is_some(), "all was given back");
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
    let claim = Arc::default();
    let mut whole = budget.share();
    let mut share = budget.share().claimed(&claim);
    assert!(share.grow(100));
    share.absorb(share.of_reserve(50).unwrap());
    whole.absorb(share);
    // Each size in bytes, and the part of it that is from the reserve.
    for (bytes, of_reserve_bytes) in [(150, 50), (120, 20), (90, 0), (200, 0)] {
        whole.resize(bytes);
        assert_eq!((budget.used_bytes(), claim.0.load(Ordering::Relaxed)), (bytes, of_reserve_bytes));
    }
    whole.absorb(whole.of_reserve(10).unwrap());
    drop(whole);
    assert_eq!((budget.used_bytes(), claim.0.load(Ordering::Relaxed)), (0, 0));
}
