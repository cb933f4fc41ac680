use super::super::slots::ConnectionSlots;
use super::*;

#[test]
fn connections_are_as_many_as_memory_has_room_for() {
    let mib = 1 << 20;
    let cases = [
        (1, 64, 64),
        (32 * mib, 192, 128),
        (48 * mib, 288, 192),
        (358 * mib, 2148, 1432),
        (16_000 * mib, 16_384, 16_384),
    ];
    for (limit_bytes, plain, behind_tls) in cases {
        let connections = [false, true].map(|has_tls| connections_max(limit_bytes, has_tls));
        assert_eq!(connections, [plain, behind_tls], "{limit_bytes}");
    }
}

/// The memory of connections beside the budget fits into its parts in `budget::ladder`. A very small budget is an
/// exception: its reserve is that of the least number of connections.
#[test]
fn the_memory_of_connections_has_its_place_beside_the_budget() {
    for limit_bytes in [48 << 20, 112 << 20, 358 << 20, 4 << 30] {
        let SlotMemory { each, reserve, room } = memory(limit_bytes, false);
        let least = CONNECTIONS_RANGE.start() * each;
        assert!(reserve <= ladder::CONNECTION_RESERVE.of(limit_bytes).max(least), "{limit_bytes}");
        // Each connection with large buffers may hold a turn of unread bytes, a read buffer, and the refusals of one turn.
        let slots = ConnectionSlots::new(16_384, SlotMemory { each, reserve, room });
        let budget = crate::budget::Budget::new(usize::MAX / 2);
        let held: Vec<_> =
            (0..8_000).filter_map(|_| slots.acquire([192, 0, 2, 1].into(), |bytes| budget.reserve(bytes))).collect();
        let large = held.iter().filter(|slot| slot.room_bytes >= LARGE_ROOM_BYTES).count();
        let buffers = large * 3 * turn_bytes_max(LARGE_ROOM_BYTES);
        assert!(buffers <= ladder::BUFFERS.of(limit_bytes), "{large} large connections in {limit_bytes}");
    }
}

#[test]
fn streams_shrink_with_the_room() {
    assert_eq!([4 << 20, 2 << 20, 64 << 10, 0].map(streams_max), [1000, 1000, 32, 16]);
}
