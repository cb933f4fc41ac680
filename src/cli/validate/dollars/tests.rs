use super::*;
use crate::config::load;

fn policies(policies: &str) -> Vec<Policy> {
    load(&format!("tail_sampling: {{policies: [{policies}]}}"), &|_| None).unwrap().settings.tail_sampling.policies
}

#[test]
fn the_largest_ratio_is_what_is_kept_in_any_case() {
    let ratio = "{name: r, type: probabilistic, probabilistic: {sampling_percentage: 5}}";
    for (text, expected) in [
        ("{name: a, type: always_sample}", 1.0),
        ("{name: a, type: error}", 0.0),
        (ratio, 0.05),
        ("{name: a, type: adaptive, adaptive: {goal_percentage: 2}}", 0.02),
        ("{name: a, type: adaptive, adaptive: {goal_spans_per_second: 100}}", 0.1),
        ("{name: a, type: rate_limiting, rate_limiting: {spans_per_second: 5000}}", 1.0),
        (
            "{name: a, type: composite, composite: {max_total_spans_per_second: 250, composite_sub_policy: [{name: b, type: error}]}}",
            0.25,
        ),
        ("{name: a, type: budget, budget: {spans_per_month: 262800000}}", 0.1),
    ] {
        let part = kept_part(&policies(text), 1_000.0);
        assert!((part - expected).abs() < 1e-9, "{text}: {part}");
    }
    assert_eq!(kept_part(&policies(&format!("{{name: e, type: error}}, {ratio}")), 1_000.0), 0.05);
}

/// The table of docs/cost.md: 20,000 spans a second are 52,560 million a month.
#[test]
fn dollars_are_those_of_the_document() {
    let costs =
        costs(&policies("{name: r, type: probabilistic, probabilistic: {sampling_percentage: 5}}"), Some(20_000.0));
    assert_eq!(
        text(&costs),
        "Cost of 5 % of 20,000 spans a second: 2,628,000,000 spans a month, $525.10 a month.\n  This is at Cloud Trace's \
         list price: $0.20 for a million spans, after 2.5 million free ones a month; errors, slow traces and others that are \
         kept for what is in them come on top.\n"
    );
    assert_eq!(json(&costs)[0]["dollars_per_month"], 525.1);
}

#[test]
fn a_budget_has_a_price_without_a_rate() {
    let budget = |rest: &str| costs(&policies(&format!("{{name: b, type: budget, budget: {{{rest}}}}}")), None);
    let line = |rest: &str| text(&budget(rest)).lines().next().unwrap().to_owned();
    assert_eq!(
        line("spans_per_month: 100000000"),
        "Cost of the budget `b`: 100,000,000 spans a month, $19.50 a month."
    );
    assert_eq!(
        line("dollars_per_month: 1234.5"),
        "Cost of the budget `b`: 6,175,000,000 spans a month, $1,234.50 a month."
    );
    // The free spans.
    assert_eq!(line("spans_per_month: 2000000"), "Cost of the budget `b`: 2,000,000 spans a month, $0.00 a month.");
    assert_eq!(costs(&policies("{name: e, type: error}"), None), []);
}
