use super::*;

/// Learns `count` durations from `draw`, one every `every_ms`.
fn learn(sketch: &mut Sketch, quantile: Quantile, (count, every_ms): (u64, u64), mut draw: impl FnMut() -> u64) {
    let from_ms = sketch.halved_ms;
    for index in 0..count {
        sketch.learn(draw(), quantile, from_ms + index * every_ms);
    }
}

/// Returns the shortest duration that is beyond the quantile.
fn answer(sketch: &Sketch, quantile: Quantile) -> Option<u64> {
    (0..10_000_000).step_by(1).find(|&duration_ms| sketch.is_beyond(duration_ms, quantile))
}

/// Returns a random duration, 20 ms to a few minutes. The distribution has a long tail, like that of requests.
fn durations(random: &mut fastrand::Rng) -> u64 {
    (20.0 * (1.0 - random.f64()).powf(-0.7)) as u64
}

#[test]
fn buckets_cover_an_hour_and_are_five_percent_wide() {
    let ends: Vec<u64> = (0..4_000_000).filter(|&ms| bucket(ms) < bucket(ms + 1)).collect();
    assert_eq!(bucket(0), 0);
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    assert!(ends.iter().all(|&end| bucket(end) + 1 == bucket(end + 1)), "each bucket is followed by the next one");
    assert!(ends.last().is_some_and(|&end| end > 3_600_000), "the last bucket begins after an hour");
    for (a, b) in ends.iter().zip(&ends[1..]) {
        assert!(b - a == 1 || (*b as f64) < (*a + 1) as f64 * GROWTH + 1.0, "{a} to {b} ms");
    }
}

#[test]
fn the_answer_is_within_five_percent() {
    for percentile in [50.0, 90.0, 95.0, 99.0, 99.9] {
        let quantile = Quantile::from_percentile(percentile);
        let (mut sketch, mut random) = (Sketch::new(0), fastrand::Rng::with_seed(11));
        let mut all: Vec<u64> = (0..100_000).map(|_| durations(&mut random)).collect();
        let mut next = all.clone().into_iter();
        learn(&mut sketch, quantile, (100_000, 0), || next.next().unwrap());
        all.sort_unstable();
        let exact = all[(percentile / 100.0 * all.len() as f64).ceil() as usize - 1] as f64;
        // The error is up to 5 %, and a millisecond more because durations are whole milliseconds.
        let answer = answer(&sketch, quantile).unwrap() as f64;
        assert!(exact < answer && answer <= exact * GROWTH + 1.0, "p{percentile}: {answer}, not {exact}");
        let beyond = all.iter().filter(|&&duration_ms| sketch.is_beyond(duration_ms, quantile)).count();
        assert!(
            beyond as f64 <= (1.0 - percentile / 100.0) * 1.001 * all.len() as f64,
            "p{percentile}: {beyond} beyond"
        );
    }
}

#[test]
fn there_is_no_answer_before_enough_observations() {
    for (percentile, count) in [(50.0, 20), (90.0, 100), (99.0, 1_000), (99.9, 10_000), (99.9999, 524_288)] {
        let quantile = Quantile::from_percentile(percentile);
        let mut sketch = Sketch::new(0);
        learn(&mut sketch, quantile, (count - 1, 0), || 10);
        assert!(!sketch.is_beyond(u64::MAX, quantile), "p{percentile} after {}", count - 1);
        sketch.learn(10, quantile, 0);
        // Percentiles are not binary fractions, so one more observation may be needed.
        sketch.learn(10, quantile, 0);
        assert!(sketch.is_beyond(11, quantile), "p{percentile} after {count}");
        assert!(!sketch.is_beyond(10, quantile), "p{percentile}: equal durations are not slow");
    }
}

#[test]
fn old_durations_are_forgotten() {
    let quantile = Quantile::from_percentile(99.0);
    let mut sketch = Sketch::new(0);
    // For an hour 20 traces a second take about a second each. Then traces are fast.
    learn(&mut sketch, quantile, (72_000, 50), || 1_000);
    assert!(answer(&sketch, quantile).is_some_and(|ms| (1_000..1_060).contains(&ms)));
    let from_ms = 3_600_000;
    let mut minutes = 0;
    while answer(&sketch, quantile).is_some_and(|ms| ms > 110) {
        (0..1_200).for_each(|index| sketch.learn(100, quantile, from_ms + minutes * 60_000 + index * 50));
        minutes += 1;
    }
    // It takes six to seven half-lives until the slow traces are no more than 1 % of the weight.
    assert!((50..=80).contains(&minutes), "forgotten after {minutes} minutes");
}

#[test]
fn a_flood_of_slow_traces_raises_the_quantile_step_by_step() {
    let quantile = Quantile::from_percentile(99.0);
    let mut sketch = Sketch::new(0);
    learn(&mut sketch, quantile, (12_000, 50), || 100);
    let before = sketch.weight;
    let from_ms = sketch.halved_ms;
    let slow = (0..).take_while(|_| {
        let slow = sketch.is_beyond(5_000, quantile);
        sketch.learn(5_000, quantile, from_ms);
        slow
    });
    // From 100 ms to 5 s there are ten steps by a factor of 1.5. Each takes 1 % of the weight.
    let share = slow.count() as f32 / before;
    assert!((0.08..0.13).contains(&share), "the flood is not slow any more after {share} of the weight");
}

#[test]
fn a_quiet_key_remembers_enough_observations_for_an_answer() {
    let quantile = Quantile::from_percentile(99.0);
    let mut sketch = Sketch::new(0);
    // One trace a minute comes for two days, then none for a week.
    learn(&mut sketch, quantile, (2_880, 60_000), || 100);
    sketch.learn(100, quantile, 9 * 86_400_000);
    assert!(sketch.is_beyond(110, quantile) && sketch.weight < 2_001.0, "{}", sketch.weight);
}

#[test]
fn a_key_takes_what_the_documentation_says() {
    assert!(size_of::<Sketch>() < 1_126, "1.1 KiB");
}

#[test]
fn a_busy_key_stays_in_range() {
    let quantile = Quantile::from_percentile(99.0);
    let (mut sketch, mut random) = (Sketch::new(0), fastrand::Rng::with_seed(5));
    learn(&mut sketch, quantile, (3_000_000, 0), || durations(&mut random));
    assert!(sketch.weight <= WEIGHT_MAX && sketch.weight >= WEIGHT_MAX / 2.0);
    let sum: f32 = sketch.counts.iter().sum();
    let above: f32 = sketch.counts[sketch.level + 1..].iter().sum();
    assert!((sum - sketch.weight).abs() < 1.0 && (above - sketch.above).abs() < 1.0);
}
