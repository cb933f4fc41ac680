use super::*;
use crate::sampling::keyed::tests::{EMA, Tally, Traffic, WINDOWED, adaptive};
use crate::sampling::settings::TrafficMemory;

const PERCENTAGE: Goal = Goal::Percentage(5.0);
const SPANS: Goal = Goal::SpansPerSecond(100.0);

/// Plays traffic of `per_second` traces until `until_s`, with keys in Zipf's distribution. Returns the counts.
fn play(policy: &mut AdaptiveState, traffic: &mut Traffic, per_second: f64, until_s: f64) -> Tally {
    let mut tally = Tally::default();
    while traffic.now_ms < until_s * 1000.0 {
        let trace = traffic.next(per_second);
        tally.add(trace, policy.threshold(trace.key, trace.span_count, trace.now_ms));
    }
    tally
}

/// Returns the part that was kept in `seconds` seconds, as a multiple of the goal.
fn goals(goal: Goal, tally: &Tally, seconds: f64) -> f64 {
    match goal {
        Goal::Percentage(percentage) => tally.expected_traces / (tally.traces * percentage / 100.0),
        Goal::SpansPerSecond(spans) => tally.expected_spans / (spans * seconds),
    }
}

#[test]
fn the_goal_is_met_with_skewed_keys() {
    for memory in [EMA, WINDOWED, TrafficMemory::Ema(0.1)] {
        for (keys, max_keys) in [(1, 100), (10, 100), (300, 1_000), (300, 40)] {
            for per_second in [20.0, 400.0] {
                for goal in [Goal::Percentage(2.0), Goal::Percentage(10.0), Goal::SpansPerSecond(40.0)] {
                    let (mut policy, mut traffic) = (adaptive(goal, memory, max_keys), Traffic::zipf(keys));
                    let kept = goals(goal, &play(&mut policy, &mut traffic, per_second, 400.0), 400.0);
                    let case = format!("{memory:?}, {keys} keys of {max_keys}, {per_second}/s, {goal:?}");
                    assert!((kept - 1.0).abs() < 0.02, "{case}: {kept} of the goal");
                }
            }
        }
    }
}

#[test]
fn traces_of_rarer_keys_are_kept_with_higher_probability() {
    for goal in [PERCENTAGE, SPANS] {
        for memory in [EMA, WINDOWED] {
            let (mut policy, mut traffic) = (adaptive(goal, memory, 1_000), Traffic::zipf(200));
            play(&mut policy, &mut traffic, 300.0, 300.0);
            let now_ms = traffic.now_ms as u64;
            let busiest = policy.threshold(0, 6, now_ms).probability();
            let middle = policy.threshold(20, 6, now_ms).probability();
            let rarest = policy.threshold(199, 6, now_ms).probability();
            let unknown = policy.threshold(1_000, 6, now_ms).probability();
            let all = format!("{goal:?} {memory:?}: {busiest} {middle} {rarest} {unknown}");
            assert!(busiest < 0.03 && 5.0 * busiest < middle && middle < rarest && rarest <= unknown, "{all}");
            assert!(unknown > 0.25, "{all}");
        }
    }
}

#[test]
fn the_goal_is_met_in_the_first_interval() {
    let mut policy = adaptive(PERCENTAGE, EMA, 100);
    for now_ms in 0..15_000 {
        let probability = policy.threshold(now_ms % 7, 6, now_ms).probability();
        assert!((probability / 0.05 - 1.0).abs() < 0.001, "{probability} at {now_ms} ms");
    }
    // A goal in spans keeps all traces at first, because there may be few. The first interval costs no more than a
    // burst.
    for per_second in [10.0, 1_000.0] {
        let (mut policy, mut traffic) = (adaptive(SPANS, EMA, 100), Traffic::zipf(7));
        let start = goals(SPANS, &play(&mut policy, &mut traffic, per_second, 15.0), 15.0);
        assert!((0.5..2.5).contains(&start), "{per_second}/s: {start} of the goal");
    }
}

#[test]
fn a_burst_of_one_key_does_not_use_up_the_goal() {
    for memory in [EMA, WINDOWED] {
        for goal in [PERCENTAGE, SPANS] {
            for (keys, most) in [(1, 3.0), (20, 1.5), (300, 1.2)] {
                let (mut policy, mut traffic) = (adaptive(goal, memory, 1_000), Traffic::zipf(keys));
                let before = play(&mut policy, &mut traffic, 100.0, 307.0);
                let (mut burst, mut others) = (Tally::default(), Tally::default());
                // In the middle of an interval a new key begins, a hundred times as busy as all others together.
                while traffic.now_ms < 322_000.0 {
                    let quiet = traffic.random.u32(..100) == 0;
                    let trace = if quiet { traffic.next(10_000.0) } else { traffic.next_of(1_000_000, 10_000.0) };
                    let threshold = policy.threshold(trace.key, trace.span_count, trace.now_ms);
                    burst.add(trace, threshold);
                    if quiet {
                        others.add(trace, threshold);
                    }
                }
                let case = format!("{memory:?} {goal:?} {keys} keys");
                let kept = goals(goal, &burst, 15.0);
                assert!(kept < most, "{case}: {kept} of the goal within the burst");
                let (was, is) = (before.expected_traces / before.traces, others.expected_traces / others.traces);
                assert!(
                    keys == 1 || is > was / 2.0,
                    "{case}: kept {was} of the others before the burst, {is} within it"
                );
                // The overspent goal is paid back.
                let after = play(&mut policy, &mut traffic, 100.0, 382.0);
                let spent = match goal {
                    PERCENTAGE => {
                        (burst.expected_traces + after.expected_traces) / ((burst.traces + after.traces) * 0.05)
                    }
                    _ => (burst.expected_spans + after.expected_spans) / (100.0 * 75.0),
                };
                assert!(spent < 1.5, "{case}: {spent} of the goal within and after the burst");
            }
        }
    }
}

#[test]
fn traffic_that_rises_and_falls_meets_the_goal() {
    for memory in [EMA, WINDOWED] {
        for goal in [PERCENTAGE, SPANS] {
            let (mut policy, mut traffic) = (adaptive(goal, memory, 1_000), Traffic::zipf(50));
            play(&mut policy, &mut traffic, 100.0, 300.0);
            for (per_second, until_s) in [(3_000.0, 360.0), (300.0, 480.0), (100.0, 600.0)] {
                let seconds = until_s - traffic.now_ms / 1000.0;
                let kept = goals(goal, &play(&mut policy, &mut traffic, per_second, until_s), seconds);
                assert!((0.5..1.5).contains(&kept), "{memory:?} {goal:?}, now {per_second}/s: {kept} of the goal");
            }
        }
    }
}

#[test]
fn a_flood_of_keys_meets_the_goal() {
    for memory in [EMA, WINDOWED] {
        for goal in [PERCENTAGE, SPANS] {
            let (mut policy, mut traffic) = (adaptive(goal, memory, 1_000), Traffic::zipf(20));
            let (mut first, mut later) = (Tally::default(), Tally::default());
            while traffic.now_ms < 300_000.0 {
                let mut trace = traffic.next(1_000.0);
                if trace.randomness % 2 == 0 {
                    trace.key = trace.randomness;
                }
                let threshold = policy.threshold(trace.key, trace.span_count, trace.now_ms);
                if traffic.now_ms < 150_000.0 { &mut first } else { &mut later }.add(trace, threshold);
            }
            let (first, later) = (goals(goal, &first, 150.0), goals(goal, &later, 150.0));
            assert!(first < 1.1, "{memory:?} {goal:?}: {first} of the goal at first");
            assert!((0.9..1.1).contains(&later), "{memory:?} {goal:?}: {later} of the goal");
        }
    }
}

#[test]
fn all_traces_are_kept_if_the_goal_is_at_least_the_traffic() {
    for goal in [Goal::Percentage(100.0), Goal::SpansPerSecond(1_000.0)] {
        for memory in [EMA, WINDOWED] {
            let (mut policy, mut traffic) = (adaptive(goal, memory, 100), Traffic::zipf(20));
            let tally = play(&mut policy, &mut traffic, 50.0, 600.0);
            let missing = tally.traces - tally.expected_traces;
            assert!(missing < 1e-3 * tally.traces, "{goal:?} {memory:?}: lost {missing} of {}", tally.traces);
        }
    }
}

#[test]
fn the_goal_is_met_after_hours_without_traffic() {
    for goal in [PERCENTAGE, SPANS] {
        for memory in [EMA, WINDOWED] {
            let (mut policy, mut traffic) = (adaptive(goal, memory, 100), Traffic::zipf(20));
            play(&mut policy, &mut traffic, 200.0, 300.0);
            traffic.now_ms += 10.0 * 3_600_000.0;
            let from_s = traffic.now_ms / 1000.0;
            let morning = play(&mut policy, &mut traffic, 200.0, from_s + 120.0);
            // The unspent goal of two intervals may be kept in addition.
            let kept = goals(goal, &morning, 120.0);
            assert!((0.9..1.4).contains(&kept), "{goal:?} {memory:?}: {kept} of the goal");
        }
    }
}
