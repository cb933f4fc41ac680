use proptest::prelude::*;

use super::*;

/// A limit that makes blocks of 128 KiB.
const LIMIT_BYTES: usize = 4 << 20;
const BLOCK_BYTES: usize = ladder::BLOCK.of(LIMIT_BYTES);

fn held(budget: &Budget, bytes: usize, seed: u8) -> (Bytes, Share) {
    let mut room = budget.room(bytes).unwrap();
    room.put(&vec![seed; bytes]);
    room.freeze()
}

/// An owner that has nothing but its body.
struct Owned(Mutex<(Bytes, Share)>);

impl BodyOwner for Owned {
    fn relocate(self: &Arc<Self>) {
        let mut own = self.0.lock();
        let (body, share) = &mut *own;
        if let Some((copy, covered)) = share.budget().copy_of_old(body) {
            *body = copy;
            share.move_to(covered.block());
        }
        self.enlist(share);
    }
}

impl Owned {
    fn new((body, share): (Bytes, Share)) -> Arc<Self> {
        let owned = Arc::new(Owned(Mutex::new((body, share))));
        owned.enlist(&owned.0.lock().1);
        owned
    }

    fn enlist(self: &Arc<Self>, share: &Share) {
        if let Some(block) = share.block() {
            share.budget().enlist(block, Arc::downgrade(self));
        }
    }

    fn body(&self) -> Bytes {
        self.0.lock().0.clone()
    }

    fn is_shared(&self) -> bool {
        self.0.lock().1.block().is_some()
    }
}

/// An empty gRPC message has a body of 0 bytes, which a sender can keep open for seconds.
#[test]
fn a_body_without_bytes_keeps_its_block_charged() {
    let budget = Budget::new(LIMIT_BYTES);
    let empty = held(&budget, 0, 0);
    drop(held(&budget, BLOCK_BYTES / 2, 1));
    assert_eq!(budget.used_bytes(), BLOCK_BYTES, "the block still has a body");
    drop(empty);
    assert_eq!((budget.used_bytes(), budget.idle_bytes()), (0, BLOCK_BYTES), "the block can be used again");
}

#[test]
fn a_block_is_charged_whole_and_goes_with_its_last_body() {
    let budget = Budget::new(LIMIT_BYTES);
    let bodies: Vec<_> = (0..4).map(|seed| held(&budget, BLOCK_BYTES / 4, seed)).collect();
    assert_eq!(budget.used_bytes(), BLOCK_BYTES);
    let more = held(&budget, 1, 9);
    assert_eq!(budget.used_bytes(), 2 * BLOCK_BYTES);
    for (left, body) in (0..4).rev().zip(bodies) {
        drop(body);
        let blocks = if left > 0 { 2 } else { 1 };
        assert_eq!(budget.used_bytes(), blocks * BLOCK_BYTES, "{left} bodies are left");
    }
    assert_eq!((&more.0[..], budget.idle_bytes()), (&[9][..], BLOCK_BYTES));
}

#[test]
fn an_idle_block_is_filled_before_a_new_one_and_in_the_same_place() {
    let budget = Budget::new(LIMIT_BYTES);
    let place = held(&budget, 1000, 1).0.as_ptr() as usize;
    assert_eq!((budget.used_bytes(), budget.idle_bytes()), (0, BLOCK_BYTES));
    let (body, share) = held(&budget, 1000, 2);
    assert_eq!((body.as_ptr() as usize, budget.idle_bytes()), (place, 0));
    drop((body, share));
}

#[test]
fn other_charges_displace_idle_blocks() {
    let budget = Budget::new(LIMIT_BYTES);
    drop((0..64).map(|seed| held(&budget, BLOCK_BYTES / 2, seed)).collect::<Vec<_>>());
    assert_eq!((budget.used_bytes(), budget.idle_bytes()), (0, LIMIT_BYTES));
    let mut share = budget.reserve(LIMIT_BYTES / 2).unwrap();
    assert_eq!(budget.idle_bytes(), LIMIT_BYTES / 2);
    share.resize(LIMIT_BYTES - 1);
    assert_eq!(budget.idle_bytes(), 0);
    drop(share);
    drop(budget.force(2 * LIMIT_BYTES));
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_body_that_is_given_up_leaves_its_place_at_once() {
    let budget = Budget::new(LIMIT_BYTES);
    let first = held(&budget, 1000, 1);
    for _ in 0..1000 {
        let mut room = budget.room(BLOCK_BYTES / 2).unwrap();
        room.put(&[2; 100]);
    }
    assert_eq!((budget.used_bytes(), budget.idle_bytes()), (BLOCK_BYTES, 0));
    drop(first);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_slow_body_moves_out_and_keeps_no_block() {
    let budget = Budget::new(LIMIT_BYTES);
    let mut room = budget.room(1000).unwrap();
    room.put(&[7; 400]);
    assert!(room.is_shared());
    assert!(room.move_out());
    assert_eq!((room.is_shared(), budget.used_bytes(), budget.idle_bytes()), (false, 1000, BLOCK_BYTES));
    assert_eq!(room.put(&[8; 1000]), 600, "no more than there is room for");
    let (body, share) = room.freeze();
    assert_eq!((&body[..400], &body[400..]), (&[7; 400][..], &[8; 600][..]));
    drop((body, share));
    assert_eq!(budget.used_bytes(), 0);
}

/// A body of one byte that is not complete keeps a whole block in use when the block has no other body.
#[test]
fn unfinished_bodies_that_keep_blocks_in_use_are_noticed() {
    let budget = Budget::new(LIMIT_BYTES);
    let mut rooms: Vec<Room> = Vec::new();
    for _ in 0..12 {
        rooms.push(budget.room(1).unwrap());
        // Bodies that fill this block and the next ones are given up.
        let rest = budget.room(BLOCK_BYTES / 2 - 1).unwrap();
        drop((rest, [(); 9].map(|()| budget.room(BLOCK_BYTES / 2).unwrap())));
    }
    let in_use = budget.used_bytes() / BLOCK_BYTES;
    assert!(in_use > 8 && budget.is_pinned(), "{in_use} blocks");
    assert!(rooms.iter_mut().all(Room::move_out));
    assert!(!budget.is_pinned());
    assert_eq!(budget.used_bytes(), rooms.len());
    let finished = held(&budget, 1000, 1);
    assert!(!budget.is_pinned(), "a complete body pins nothing");
    drop((finished, rooms));
    assert_eq!((budget.used_bytes(), budget.blocks().pinned_bytes.load(Relaxed)), (0, 0));
}

#[test]
fn the_last_bodies_of_a_block_are_moved_together() {
    let budget = Budget::new(LIMIT_BYTES);
    // One body in fifteen stays. A block has 21 bodies.
    let mut owners: Vec<_> = (0..210).map(|seed| Some(Owned::new(held(&budget, 6_000, seed)))).collect();
    let full_bytes = budget.used_bytes();
    for (at, owner) in owners.iter_mut().enumerate() {
        if at % 15 > 0 {
            *owner = None;
        }
    }
    assert_eq!(budget.used_bytes(), full_bytes, "every block has at least one body left");
    for now_ms in (0..5_000).step_by(20) {
        budget.tidy(now_ms);
    }
    // One block of old bodies, and up to four that new bodies are appended to.
    assert!(budget.used_bytes() <= (1 + 4) * BLOCK_BYTES, "{} of {full_bytes}", budget.used_bytes());
    for (at, owner) in owners.iter().enumerate() {
        let Some(owner) = owner else { continue };
        assert!(owner.body().iter().all(|&byte| byte == at as u8));
    }
    drop(owners);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn surplus_blocks_go_back_to_the_system_one_by_one() {
    let budget = Budget::new(LIMIT_BYTES);
    drop((0..64).map(|seed| held(&budget, BLOCK_BYTES / 2, seed)).collect::<Vec<_>>());
    let mut before = budget.idle_bytes();
    for now_ms in (0..4_000).step_by(20) {
        budget.tidy(now_ms);
        assert!(before - budget.idle_bytes() <= BLOCK_BYTES, "one at a time");
        before = budget.idle_bytes();
    }
    assert_eq!(before, 0);
}

/// An event in the life of bodies.
#[derive(Clone, Debug)]
enum Act {
    /// A body is read to its end, is given up, or is slow.
    Read { bytes: usize, end: usize },
    /// One of the owners is released.
    Release(usize),
    /// A second of upkeep passes.
    Tidy,
    /// Another use of the budget takes memory, and gives it back.
    Other(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = prop_oneof![1..2_000usize, 1..BLOCK_BYTES / 2, 1..2 * BLOCK_BYTES];
    prop_oneof![
        6 => (bytes, 0..8usize).prop_map(|(bytes, end)| Act::Read { bytes, end }),
        5 => any::<usize>().prop_map(Act::Release),
        1 => Just(Act::Tidy),
        1 => (1..LIMIT_BYTES).prop_map(Act::Other),
    ]
}

proptest! {
    #[test]
    fn live_bodies_do_not_change_and_the_budget_is_exact(acts in proptest::collection::vec(act(), 1..400)) {
        let budget = Budget::new(LIMIT_BYTES);
        let mut held: Vec<(Arc<Owned>, u8, usize)> = Vec::new();
        let mut now_ms = 0;
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Read { bytes, end } => {
                    let seed = number as u8;
                    let Some(mut room) = budget.room(bytes) else { continue };
                    room.put(&vec![seed; bytes / 2]);
                    match end {
                        0 => continue,
                        1 => _ = room.move_out(),
                        _ => {}
                    }
                    room.put(&vec![seed; bytes - bytes / 2]);
                    let (body, share) = room.freeze();
                    prop_assert_eq!((body.len(), share.bytes()), (bytes, bytes));
                    held.push((Owned::new((body, share)), seed, bytes));
                }
                Act::Release(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Act::Release(_) => {}
                Act::Tidy => for _ in 0..50 {
                    now_ms += 20;
                    budget.tidy(now_ms);
                },
                Act::Other(bytes) => drop(budget.reserve(bytes)),
            }
            prop_assert!(budget.used_bytes() + budget.idle_bytes() <= LIMIT_BYTES);
            let own_bytes: usize = held.iter().filter(|held| !held.0.is_shared()).map(|held| held.2).sum();
            let blocks = budget.blocks().with_pool(|pool| pool.in_use());
            prop_assert_eq!(budget.used_bytes(), blocks * BLOCK_BYTES + own_bytes);
        }
        for (owner, seed, bytes) in &held {
            let body = owner.body();
            prop_assert!(body.len() == *bytes && body.iter().all(|byte| byte == seed));
        }
        drop(held);
        prop_assert_eq!(budget.used_bytes(), 0);
    }
}
