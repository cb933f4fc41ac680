use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn one_peer_has_half_of_the_places() {
    let slots = ConnectionSlots::new(8, 0);
    let held: Vec<_> = (0..8).map_while(|_| slots.acquire(ip("192.0.2.1"))).collect();
    assert_eq!(held.len(), 4);
    let others: Vec<_> = (2..9).map_while(|n| slots.acquire(ip(&format!("192.0.2.{n}")))).collect();
    assert_eq!(others.len(), 4, "all places are taken");
    drop(held);
    assert_eq!((0..8).map_while(|_| slots.acquire(ip("192.0.2.9"))).count(), 8, "each place was given back at once");
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
    let slots = ConnectionSlots::new(10_000, 64 << 20);
    let held: Vec<_> = (0..5_000).map_while(|_| slots.acquire(ip("::1"))).collect();
    let rooms: Vec<usize> = held.iter().map(|slot| slot.room_bytes).collect();
    assert_eq!((rooms.len(), rooms[0]), (5_000, ROOM_BYTES_MAX));
    assert!(rooms.is_sorted_by(|one, next| one >= next), "later connections get no more room");
    assert!(rooms.iter().sum::<usize>() <= 64 << 20);
    assert!(rooms[99] < 16 << 10, "{}", rooms[99]);
    drop(held);
    assert_eq!(slots.taken.lock().room_bytes, 64 << 20, "all room is given back");
}
