use super::*;

#[test]
fn credit_is_bounded_and_boosts() {
    let mut credit = Credit::new((-4.0, 2.0));
    for (amount, boost) in
        [(0.0, 1.0), (1.0, 1f64.exp()), (100.0, 2f64.exp()), (-3.0, (-1f64).exp()), (-1e9, (-4f64).exp())]
    {
        credit.add(amount);
        assert!((credit.boost(1.0) - boost).abs() < 1e-12, "{amount}");
    }
}

#[test]
fn seconds_since_the_last_call() {
    let mut last_ms = None;
    // If the clock runs backwards, no time passes until it is past its highest value again.
    for (now_ms, seconds) in [(5_000, 0.0), (5_500, 0.5), (5_500, 0.0), (5_200, 0.0), (6_500, 1.0)] {
        assert_eq!(seconds_since(&mut last_ms, now_ms), seconds, "at {now_ms} ms");
    }
}
