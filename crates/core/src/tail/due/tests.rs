use super::*;

#[test]
fn moments_stay_in_order_when_32_bits_overflow() {
    let wrap = 1 << 32;
    for start_ms in [0, 1, wrap / 2 - 5, wrap - 5, wrap, 3 * wrap - 1] {
        let (start, end) = (Moment::new(start_ms), Moment::new(start_ms + 3_600_000));
        assert!(start.is_before(end) && !end.is_before(start) && !start.is_before(start));
        assert_eq!(end.elapsed_ms(start_ms), 0);
        assert_eq!(end.elapsed_ms(start_ms + 3_600_007), 7);
        let mut queue = DueQueue::default();
        queue.push(end, 9);
        assert!(queue.pop_due(start_ms + 3_599_999).is_none());
        assert_eq!(queue.pop_due(start_ms + 3_600_000).map(|due| due.slot), Some(9));
        assert!(queue.pop_due(start_ms + 3_600_000).is_none());
    }
}

#[test]
fn the_first_moment_is_known_whatever_is_pushed_and_removed() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut queue = DueQueue::default();
    for round in 0..5_000 {
        match rng.u8(..4) {
            0 | 1 => queue.push(Moment::new(u64::from(rng.u32(..500))), round),
            2 => _ = queue.pop(),
            _ => queue.prune(rng.usize(..20), |due| due.slot % 3 == 0),
        }
        assert_eq!(queue.first(), queue.entries(0).next().map(|due| due.at));
        assert!(queue.entries(0).is_sorted_by(|a, b| !b.at.is_before(a.at)));
    }
}
