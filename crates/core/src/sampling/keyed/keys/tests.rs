use super::*;

/// Looks up `key` and counts it. Returns how often it was looked up before; `None` if there is no room.
fn see(keys: &mut KeyTable<u32>, key: u64, now_ms: u64) -> Option<u32> {
    keys.see(key, now_ms, || 0).map(|count| {
        *count += 1;
        *count - 1
    })
}

#[test]
fn a_full_table_takes_at_most_bytes_max() {
    for keys_max in [1, 2, 3, 7, 8, 14, 15, 28, 29, 100, 448, 449, 1_000, 7_168, 7_169, 100_000] {
        let mut keys = KeyTable::new(keys_max, 1_000);
        for key in 0..2 * keys_max as u64 {
            see(&mut keys, key, 0);
        }
        let (taken, promised) = (keys.entries.allocation_size(), keys.bytes_max());
        assert!(taken <= promised, "{keys_max} keys take {taken} bytes, but bytes_max is {promised}");
    }
}

#[test]
fn a_full_table_refuses_new_keys_until_others_have_been_silent() {
    let mut keys = KeyTable::new(2, 1_000);
    for (key, now_ms, seen) in [
        (1, 0, Some(0)),
        (2, 0, Some(0)),
        (3, 0, None),
        (1, 900, Some(1)),
        // Key 2 is silent, key 1 is not.
        (3, 1_000, Some(0)),
        (2, 1_001, None),
        (1, 1_002, Some(2)),
        (3, 1_003, Some(1)),
        // Both keys are silent. One place is needed, but a sweep removes both.
        (4, 9_000, Some(0)),
        (5, 9_000, Some(0)),
        (1, 9_000, None),
    ] {
        assert_eq!(see(&mut keys, key, now_ms), seen, "key {key} at {now_ms} ms");
    }
}

#[test]
fn a_key_that_is_never_silent_keeps_its_place() {
    let mut keys = KeyTable::new(100, 1_000);
    for now_ms in 0..100_000 {
        assert_eq!(see(&mut keys, 0, now_ms), Some(now_ms as u32));
        // A flood of keys, each seen once.
        see(&mut keys, now_ms + 1, now_ms);
        assert!(keys.entries.len() <= 100);
    }
    assert!(keys.entries.capacity() < 300, "a table of 100 keys has {} places", keys.entries.capacity());
}

#[test]
fn a_table_for_0_keys_refuses_all_keys() {
    assert_eq!(see(&mut KeyTable::new(0, 1_000), 1, 0), None);
}

#[test]
fn no_key_becomes_silent_if_the_clock_runs_backwards() {
    let mut keys = KeyTable::new(1, 1_000);
    assert_eq!(see(&mut keys, 1, 5_000), Some(0));
    assert_eq!(see(&mut keys, 2, 0), None);
    assert_eq!(see(&mut keys, 1, 4_999), Some(1));
}
