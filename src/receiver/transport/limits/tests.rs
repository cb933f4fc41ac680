use super::*;

#[test]
fn connections_are_as_many_as_memory_has_room_for() {
    let mib = 1 << 20;
    let cases = [
        (1, 64, 64),
        (32 * mib, 384, 192),
        (48 * mib, 576, 288),
        (358 * mib, 4296, 2148),
        (16_000 * mib, 16_384, 16_384),
    ];
    for (limit_bytes, plain, behind_tls) in cases {
        let connections = [false, true].map(|has_tls| connections_max(limit_bytes, has_tls));
        assert_eq!(connections, [plain, behind_tls], "{limit_bytes}");
    }
}

/// Connections hold at most half of the limit, as the documents say, in addition to the smallest windows that HTTP/2
/// allows.
#[test]
fn room_and_connections_stay_within_half_of_the_limit() {
    for limit_bytes in [16 << 20, 48 << 20, 358 << 20, 4 << 30] {
        let connections = connections_max(limit_bytes, false) * CONNECTION_BYTES;
        assert!(connections + room_bytes(limit_bytes) <= limit_bytes / 2, "{limit_bytes}");
    }
}

#[test]
fn streams_shrink_with_the_room() {
    assert_eq!([4 << 20, 2 << 20, 64 << 10, 0].map(streams_max), [1000, 1000, 32, 16]);
}
