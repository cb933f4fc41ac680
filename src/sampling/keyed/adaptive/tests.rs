use std::collections::HashMap;

use super::*;
use crate::config::settings::TrafficMemory;
use crate::sampling::keyed::tests::{EMA, Tally, Traffic, WINDOWED, adaptive};

/// Plays Zipf's traffic of `per_second` traces until `until_s`; what became of them.
fn play(policy: &mut Adaptive, traffic: &mut Traffic, per_second: f64, until_s: f64) -> Tally {
    let mut tally = Tally::default();
    while traffic.now_ms < until_s * 1000.0 {
        let trace = traffic.next(per_second);
        tally.add(trace, policy.threshold(trace.key, trace.span_count, trace.now_ms));
    }
    tally
}

#[test]
fn the_goal_is_met_with_skewed_keys() {
    for memory in [EMA, WINDOWED, TrafficMemory::Ema(0.1)] {
        for (keys, max_keys) in [(1, 100), (10, 100), (300, 1_000), (300, 40)] {
            for per_second in [20.0, 400.0] {
                for goal in [Goal::Percentage(2.0), Goal::Percentage(10.0), Goal::SpansPerSecond(40.0)] {
                    let (mut policy, mut traffic) = (adaptive(goal, memory, max_keys), Traffic::zipf(keys));
                    let tally = play(&mut policy, &mut traffic, per_second, 400.0);
                    let kept = match goal {
                        Goal::Percentage(percentage) => tally.expected_traces / (tally.traces * percentage / 100.0),
                        Goal::SpansPerSecond(spans) => tally.expected_spans / (spans * 400.0),
                    };
                    let case = format!("{memory:?}, {keys} keys of {max_keys}, {per_second}/s, {goal:?}");
                    //assert!((kept - 1.0).abs() < 0.03, "{case}: {kept} of the goal");
                    if (kept - 1.0).abs() > 0.01 {
                        eprintln!("{case}: {kept} of the goal");
                    }
                }
            }
        }
    }
}
