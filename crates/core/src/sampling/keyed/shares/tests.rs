use std::time::Duration;

use super::*;

const INTERVAL_MS: u64 = 10_000;
const SPANS: Goal = Goal::SpansPerSecond(10.0);

fn shares(memory: TrafficMemory, keys_max: usize) -> Shares {
    Shares::new(SPANS, memory, INTERVAL_MS, keys_max)
}

fn windowed(seconds: u64) -> TrafficMemory {
    TrafficMemory::Windowed(Duration::from_secs(seconds))
}

/// Plays one interval in which key `k` brings `traffic[k]`, and begins the next one.
fn interval(shares: &mut Shares, number: u64, traffic: &[f64]) {
    let now_ms = number * INTERVAL_MS;
    traffic.iter().zip(0..).filter(|(weight, _)| **weight > 0.0).for_each(|(&weight, key)| {
        shares.threshold(key, weight, 1.0, now_ms);
    });
    shares.advance(now_ms + INTERVAL_MS);
}

/// Returns the averages of all keys, sorted.
fn averages(shares: &Shares) -> Vec<f32> {
    let mut averages: Vec<f32> = shares.keys.states().map(|traffic| traffic.average).collect();
    averages.sort_by(f32::total_cmp);
    averages
}

#[test]
fn shares_sum_to_the_goal_and_quiet_keys_are_kept_whole() {
    // The goal is 100 spans an interval.
    for traffic in [
        vec![1_000.0],
        vec![1.0, 1_000.0],
        vec![10.0, 20.0, 1e6],
        vec![60.0, 50.0],
        (1..500).map(f64::from).collect(),
        vec![1.0; 400],
        [vec![1.0; 90], vec![1e5; 10]].concat(),
    ] {
        let mut shares = shares(TrafficMemory::Ema(0.5), 1_000);
        interval(&mut shares, 0, &traffic);
        let level = shares.level.unwrap();
        let share = |traffic: f64| (level * traffic.ln_1p()).min(traffic);
        let sum: f64 = traffic.iter().map(|&traffic| share(traffic)).sum();
        assert!((sum - 100.0).abs() < 0.5, "{} keys: {sum}", traffic.len());
        // A busier key has more kept traces, but never a larger share of its traces.
        for (a, b) in [(1.0, 10.0), (10.0, 100.0), (100.0, 1e6)] {
            assert!(share(a) <= share(b) && share(a) / a >= share(b) / b);
        }
    }
}

#[test]
fn all_traces_are_kept_if_the_goal_exceeds_the_traffic() {
    let mut shares = shares(TrafficMemory::Ema(0.5), 1_000);
    interval(&mut shares, 0, &[30.0, 5.0]);
    assert_eq!(shares.threshold(0, 90.0, 1.0, INTERVAL_MS), Threshold::ALWAYS, "a key may grow up to the goal");
    assert!(
        shares.threshold(0, 910.0, 1.0, INTERVAL_MS).probability() < 0.2,
        "a key may not grow to ten times the goal"
    );
}

#[test]
fn an_exponential_average_weighs_the_last_interval() {
    let mut shares = shares(TrafficMemory::Ema(0.25), 10);
    // The first intervals are averaged with equal weights.
    for (number, traffic, average) in
        [(0, 80.0, 80.0), (1, 40.0, 60.0), (2, 0.0, 40.0), (3, 40.0, 40.0), (4, 80.0, 50.0)]
    {
        interval(&mut shares, number, &[traffic]);
        assert!((averages(&shares)[0] - average).abs() < 1e-3, "interval {number}: {:?}", averages(&shares));
    }
    // Of hours without traffic, only the first interval changes the average.
    shares.advance(1_000 * INTERVAL_MS);
    assert_eq!(averages(&shares), [37.5]);
}

#[test]
fn a_window_averages_its_intervals_with_equal_weights() {
    let mut shares = shares(windowed(30), 10);
    for (number, traffic, average) in
        [(0, 90.0, 90.0), (1, 30.0, 60.0), (2, 0.0, 40.0), (3, 30.0, 20.0), (4, 0.0, 10.0), (5, 6.0, 12.0)]
    {
        interval(&mut shares, number, &[traffic]);
        assert!((averages(&shares)[0] - average).abs() < 1e-3, "interval {number}: {:?}", averages(&shares));
    }
    shares.advance(1_000 * INTERVAL_MS);
    assert_eq!((averages(&shares), shares.level), (vec![0.0], None), "hours without traffic leave no average");
}

#[test]
fn a_window_is_a_whole_number_of_intervals() {
    for (seconds, count, length_ms) in [(30, 3, 10_000), (45, 4, 11_250), (3_600, 12, 300_000), (1, 1, 1_000)] {
        let shares = shares(windowed(seconds), 10);
        assert!(matches!(shares.memory, IntervalMemory::Windowed { intervals } if intervals == count), "{seconds} s");
        assert_eq!(shares.interval_ms, length_ms, "{seconds} s");
    }
}

#[test]
fn keys_without_room_share_one_ratio() {
    let mut shares = shares(TrafficMemory::Ema(0.5), 2);
    interval(&mut shares, 0, &[50.0, 50.0, 500.0, 500.0, 500.0]);
    assert_eq!((averages(&shares), shares.others.average), (vec![50.0, 50.0], 1_500.0));
    let probabilities = [2, 3, 77].map(|key| shares.threshold(key, 1.0, 1.0, INTERVAL_MS).probability());
    assert!(probabilities.iter().all(|p| *p == probabilities[0] && *p < 0.1), "{probabilities:?}");
}

#[test]
fn a_key_takes_what_the_documentation_says() {
    // The table itself takes 17 bytes for each key.
    assert!(size_of::<Traffic>() + 17 <= 80);
}
