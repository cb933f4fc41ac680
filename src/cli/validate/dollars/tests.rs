use super::*;
use crate::config::load;

/// 2025-12-01T00:00:00Z.
const NOW_S: u64 = 1_764_547_200;

fn policies(policies: &str) -> TailSampling {
    tail(&format!("policies: [{policies}]"))
}

fn tail(keys: &str) -> TailSampling {
    load(&format!("tail_sampling: {{{keys}}}"), &|_| None).unwrap().settings.tail_sampling
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
        let part = kept_part(&policies(text), 1_000.0, NOW_S);
        assert!((part - expected).abs() < 1e-9, "{text}: {part}");
    }
    assert_eq!(kept_part(&policies(&format!("{{name: e, type: error}}, {ratio}")), 1_000.0, NOW_S), 0.05);
}

/// The table of docs/cost.md: 20,000 spans a second are 52,560 million a month.
#[test]
fn dollars_are_those_of_the_document() {
    let tail = policies("{name: r, type: probabilistic, probabilistic: {sampling_percentage: 5}}");
    let costs = costs(&tail, Some(20_000.0), NOW_S);
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
    let budget = |rest: &str| costs(&policies(&format!("{{name: b, type: budget, budget: {{{rest}}}}}")), None, NOW_S);
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
    assert_eq!(costs(&policies("{name: e, type: error}"), None, NOW_S), []);
}

/// Returns the first words of each cost at 1,000 spans a second, and the dollars.
fn prices(keys: &str) -> Vec<(String, f64)> {
    costs(&tail(keys), Some(1_000.0), NOW_S).iter().map(|cost| (cost.what.clone(), cost.dollars().round())).collect()
}

const LASTING: &str = "{name: r, type: probabilistic, probabilistic: {sampling_percentage: 5}}";

#[test]
fn a_policy_with_an_end_has_a_price_until_then() {
    let with_end =
        |end: &str| format!("policies: [{LASTING}, {{name: all, type: always_sample, until: {end}T00:00:00Z}}]");
    let (five, all) = ("5 % of 1,000 spans a second", "100 % of 1,000 spans a second");
    assert_eq!(prices(&with_end("2025-12-01")), [(five.to_owned(), 26.0)]);
    assert_eq!(kept_part(&tail(&with_end("2025-12-01")), 1_000.0, NOW_S), 0.05);
    let later = format!("{five} from 2025-12-02T00:00:00Z, when policies with `until` have ended");
    assert_eq!(prices(&with_end("2025-12-02")), [(all.to_owned(), 525.0), (later, 26.0)]);
    assert_eq!(kept_part(&tail(&with_end("2025-12-02")), 1_000.0, NOW_S), 1.0);
    // The end changes nothing.
    let smaller = format!("policies: [{LASTING}, {{name: e, type: error, until: 2025-12-02T00:00:00Z}}]");
    assert_eq!(prices(&smaller), [(five.to_owned(), 26.0)]);
    let budget = "policies: [{name: b, type: budget, until: 2025-11-30T00:00:00Z, budget: {spans_per_month: 5000000}}]";
    assert_eq!(prices(budget), [("0 % of 1,000 spans a second".to_owned(), 0.0)]);
}

#[test]
fn a_dry_run_costs_all_spans() {
    let dry_run = format!("dry_run: true, policies: [{LASTING}]");
    let words = |text: &str| format!("{text} of 1,000 spans a second");
    assert_eq!(prices(&dry_run), [(words("100 %"), 525.0), (words("5 %") + " without the dry run", 26.0)]);
    assert_eq!(kept_part(&tail(&dry_run), 1_000.0, NOW_S), 1.0);
    let budget = "dry_run: true, policies: [{name: b, type: budget, budget: {spans_per_month: 5000000}}]";
    assert_eq!(costs(&tail(budget), None, NOW_S)[0].assumption, "without the dry run, if traffic uses it up");
}
