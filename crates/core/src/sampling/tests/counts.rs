//! For every type of policy, the adjusted counts of the kept traces sum to the number of traces, within sampling error.

use super::*;

const SECONDS: u64 = 900;
const TRACES_PER_SECOND: u64 = 60;

/// Returns one trace of each of three routes, with its number of traces a second. One route fails.
fn traffic(policies: &Policies) -> [(Summary, u64); 3] {
    let of_route = |route: &str| root().service("shop").with("http.route", string(route));
    [
        (summary(policies, &[of_route("/busy"), span()]), 45),
        (summary(policies, &[of_route("/calm")]), 12),
        (summary(policies, &[of_route("/broken").failed(), span(), span()]), 3),
    ]
}

/// Returns the number of traces, the sum of the adjusted counts of the kept ones, and that sum's standard error.
fn sums(list: &str) -> (f64, f64, f64) {
    let policies = policies(list);
    let traffic = traffic(&policies);
    let mut rng = fastrand::Rng::with_seed(5);
    let (mut sum, mut variance, mut traces) = (0.0, 0.0, 0.0);
    for n in 0..SECONDS * TRACES_PER_SECOND {
        let now_ms = n * 1_000 / TRACES_PER_SECOND;
        let mut ticket = rng.u64(..TRACES_PER_SECOND);
        let (summary, _) = traffic
            .iter()
            .find(|(_, share)| {
                let is_it = ticket < *share;
                ticket = ticket.saturating_sub(*share);
                is_it
            })
            .unwrap();
        traces += 1.0;
        if let Verdict::Kept(keep) = policies.decide(summary, TraceId(rng.u128(..).to_be_bytes()), now_ms) {
            let count = keep.threshold.adjusted_count();
            sum += count;
            variance += count * (count - 1.0);
            policies.kept(summary.span_count, now_ms);
        }
    }
    (traces, sum, f64::sqrt(variance))
}

#[test]
fn adjusted_counts_sum_to_the_number_of_traces() {
    let baseline = "    - {name: baseline, type: probabilistic, probabilistic: {sampling_percentage: 4}}";
    let cases = [
        String::new(),
        "    - {name: a, type: adaptive, adaptive: {goal_percentage: 5}}".into(),
        "    - {name: a, type: adaptive, adaptive: {goal_spans_per_second: 6, lookback: 30s}}".into(),
        "    - {name: a, type: budget, budget: {spans_per_month: 20000000}}".into(),
        "    - {name: a, type: rare, rare: {traces_per_minute: 5}}".into(),
        "    - {name: a, type: identical_errors, identical_errors: {first: 2, sampling_percentage: 10}}".into(),
        "    - {name: a, type: rate_limiting, rate_limiting: {spans_per_second: 20}}".into(),
        "    - {name: a, type: bytes_limiting, bytes_limiting: {bytes_per_second: 500}}".into(),
        "    - {name: a, type: latency, latency: {percentile: 99}}".into(),
        "    - {name: a, type: error}\n    - {name: b, type: budget, budget: {spans_per_month: 60000000}}".into(),
        "    - {name: a, type: drop, drop: {drop_sub_policy: [{type: probabilistic, probabilistic: {sampling_percentage: 70}}]}}"
            .into(),
        "    - {name: a, type: and, and: {and_sub_policy: [{type: error}, {type: adaptive, adaptive: {goal_percentage: 20}}]}}"
            .into(),
        "    - name: a
      type: composite
      composite:
        max_total_spans_per_second: 20
        composite_sub_policy: [{name: x, type: error}, {name: y, type: probabilistic, probabilistic: {sampling_percentage: 50}}]"
            .into(),
    ];
    for list in cases {
        let (traces, sum, error) = sums(&format!("{list}\n{baseline}"));
        assert!(
            (sum - traces).abs() < 4.0 * error,
            "{list}: {sum} instead of {traces}, with a standard error of {error}"
        );
    }
}
