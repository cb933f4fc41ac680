use super::super::connection::Exchange;
use super::*;
use crate::telemetry::metrics::CutReason;

/// Memory of ten bytes for each connection.
const MEMORY: SlotMemory = SlotMemory { each: 10, reserve: 0, room: 0 };

/// Takes a place for a connection with a request that finds room in the budget.
fn busy(slots: &Arc<ConnectionSlots>, address: &str) -> Option<(ConnectionSlot, Exchange)> {
    let slot = acquire(slots, address)?;
    let exchange = Exchange::begin(&slot.connection);
    Some((slot, exchange))
}

/// Takes a place for a connection that finds room in the budget.
fn acquire(slots: &Arc<ConnectionSlots>, address: &str) -> Option<ConnectionSlot> {
    slots.acquire(ip(address), |bytes| Budget::new(bytes).reserve(bytes))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn one_peer_has_half_of_the_places() {
    let slots = ConnectionSlots::new(8, MEMORY);
    let held: Vec<_> = (0..8).map_while(|_| busy(&slots, "192.0.2.1")).collect();
    assert_eq!(held.len(), 4);
    let others: Vec<_> = (2..9).map_while(|n| busy(&slots, &format!("192.0.2.{n}"))).collect();
    assert_eq!(others.len(), 3, "the last place is left to a peer that has none yet");
    drop(held);
    assert_eq!(
        (0..8).map_while(|_| busy(&slots, "192.0.2.9").map(drop)).count(),
        8,
        "each place was given back at once"
    );
    drop(others);
    assert!(slots.taken.lock().by_peer.is_empty(), "peers without a connection are forgotten");
}

#[test]
fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
    let same = |one: &str, other: &str| peer(ip(one)) == peer(ip(other));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
    assert!(same("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"));
    assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
}

#[test]
fn connections_share_a_bounded_room() {
    let slots = ConnectionSlots::new(10_000, SlotMemory { room: 64 << 20, ..MEMORY });
    let held: Vec<_> = (0..5_000).map_while(|_| acquire(&slots, "::1")).collect();
    let rooms: Vec<usize> = held.iter().map(|slot| slot.room_bytes).collect();
    assert_eq!((rooms.len(), rooms[0]), (5_000, ROOM_BYTES_MAX));
    assert!(rooms.is_sorted_by(|one, next| one >= next), "later connections get no more room");
    assert!(rooms.iter().sum::<usize>() <= 64 << 20);
    assert!(rooms[99] < 16 << 10, "{}", rooms[99]);
    drop(held);
    assert_eq!(slots.taken.lock().room_bytes, 64 << 20, "all room is given back");
}

/// The budget is full of kept spans. Connections take their memory from the reserve, and no peer takes all of it.
#[tokio::test(start_paused = true)]
async fn connections_without_room_in_the_budget_share_a_reserve() {
    let slots = ConnectionSlots::new(1_000, SlotMemory { reserve: 80, room: 64 << 20, ..MEMORY });
    let budget = Budget::new(20);
    let full = budget.force(20);
    let take = |address: &str| {
        let slot = slots.acquire(ip(address), |bytes| budget.reserve(bytes))?;
        let exchange = Exchange::begin(&slot.connection);
        std::mem::forget(exchange);
        Some(slot)
    };
    let mut held: Vec<_> = std::iter::from_fn(|| take("192.0.2.1")).collect();
    assert_eq!(held.len(), 4, "half of the reserve");
    assert!(held.iter().all(|slot| slot.room_bytes == 0));
    let other: Vec<_> = std::iter::from_fn(|| take("192.0.2.2")).collect();
    assert_eq!(other.len(), 2, "half of the rest");
    assert!(take("192.0.2.3").is_some(), "a probe gets through");
    drop((full, other));
    for slot in &mut held[..2] {
        assert!(tokio::time::timeout(BORROW_INTERVAL * 2, slot.borrow(&budget)).await.is_err());
    }
    assert_eq!((budget.filled_bytes(), slots.taken.lock().reserve_bytes), (20, 20), "two connections have moved");
    drop(held);
    assert_eq!((budget.filled_bytes(), slots.taken.lock().reserve_bytes), (0, 0));
    assert!(slots.taken.lock().by_peer.is_empty());
}

fn is_dismissed(slot: &ConnectionSlot) -> bool {
    slot.connection.cut_reason() == Some(CutReason::Idle)
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_connection_makes_room() {
    let slots = ConnectionSlots::new(16, MEMORY);
    let mut few = Vec::new();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        few.push(acquire(&slots, "192.0.2.1").unwrap());
    }
    let others: [_; 7] = std::array::from_fn(|n| busy(&slots, &format!("192.0.2.{}", 10 + n)).unwrap());
    // A request makes a connection the one that was idle for the shortest time.
    drop(Exchange::begin(&few[0].connection));
    let probe = busy(&slots, "192.0.2.30").unwrap();
    assert!(is_dismissed(&few[1]), "an idle connection of the peer with the most places leaves");
    assert_eq!(few.iter().filter(|slot| is_dismissed(slot)).count(), 1);
    few[1].connection.dismissed().await;
    let newcomer = busy(&slots, "192.0.2.31").unwrap();
    assert!(is_dismissed(&few[2]), "a second one leaves");
    assert!(busy(&slots, "192.0.2.32").is_none(), "two connections are leaving");
    drop((few.remove(2), few.remove(1)));
    assert_eq!(slots.taken.lock().leaving, 0);
    let own: Vec<_> = (0..2).map_while(|_| acquire(&slots, "192.0.2.1")).collect();
    assert_eq!(own.len(), 2, "connections of the same peer leave");
    drop((few, own, others, probe, newcomer));
    let taken = slots.taken.lock();
    assert_eq!((taken.all, taken.leaving, taken.connections.len(), taken.by_peer.len()), (0, 0, 0, 0));
}

/// The budget is full, and idle connections have the reserve.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_in_the_reserve_makes_room() {
    let slots = ConnectionSlots::new(16, SlotMemory { reserve: 80, ..MEMORY });
    let take = |address: &str| slots.acquire(ip(address), |_| None);
    let borrowed = acquire(&slots, "192.0.2.1").unwrap();
    let idle: Vec<_> = (0..4).map(|_| take("192.0.2.1").unwrap()).collect();
    let own = take("192.0.2.1").expect("one of its own leaves");
    assert!(!is_dismissed(&borrowed), "it has nothing of the reserve");
    assert_eq!(idle.iter().filter(|slot| is_dismissed(slot)).count(), 1);
    drop((idle, own, borrowed));
    let taken = slots.taken.lock();
    assert_eq!((taken.all, taken.reserve_bytes, taken.leaving, taken.by_peer.len()), (0, 0, 0, 0));
}

/// All connections are looked at for an idle one, under the lock. A flood of refused ones must not do that each time.
#[tokio::test(start_paused = true)]
async fn a_search_in_vain_is_not_repeated_at_once() {
    for is_newcomer in [false, true] {
        let slots = ConnectionSlots::new(8, MEMORY);
        // The last attempt finds none that could leave.
        let mut own: Vec<_> = std::iter::from_fn(|| busy(&slots, "192.0.2.1")).collect();
        let others = [2, 3, 4].map(|n| busy(&slots, &format!("192.0.2.{n}")).unwrap());
        let (slot, exchange) = own.pop().unwrap();
        drop(exchange);
        assert!(busy(&slots, "192.0.2.1").is_none(), "nothing was there a moment ago");
        let made_room = if is_newcomer {
            busy(&slots, "192.0.2.5").expect("what one peer was told is not true of a peer with fewer connections")
        } else {
            tokio::time::sleep(SEARCH_INTERVAL).await;
            busy(&slots, "192.0.2.1").expect("the search is repeated later")
        };
        assert!(is_dismissed(&slot));
        drop((own, others, made_room));
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_finds_no_idle_connection_speaks_for_all() {
    let slots = ConnectionSlots::new(8, MEMORY);
    let mut own: Vec<_> = std::iter::from_fn(|| busy(&slots, "192.0.2.1")).collect();
    let others = [2, 3, 4].map(|n| busy(&slots, &format!("192.0.2.{n}")).unwrap());
    assert!(busy(&slots, "192.0.2.5").is_none());
    let (slot, exchange) = own.pop().unwrap();
    drop(exchange);
    assert!(busy(&slots, "192.0.2.6").is_none(), "there was none a moment ago");
    tokio::time::sleep(SEARCH_INTERVAL).await;
    assert!(busy(&slots, "192.0.2.6").is_some() && is_dismissed(&slot));
    drop((own, others));
}
