//! The price of what a configuration keeps, in dollars a month.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::sampling::settings::{Goal, Policy, Rule, cloud_trace_dollars, display_unix_seconds};
use crate::settings::units::grouped;
use crate::tail::settings::TailSampling;

/// Seconds of a month: a twelfth of a year of 365 days.
pub(in crate::cli) const SECONDS_PER_MONTH: f64 = 2_628_000.0;

/// Cloud Trace's price in words (docs/cost.md).
pub(in crate::cli) const PRICE: &str =
    "at Cloud Trace's list price: $0.20 for a million spans, after 2.5 million free ones a month";

/// A number of spans, and its price.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cost {
    /// The cause of these spans.
    what: String,
    spans_per_month: f64,
    assumption: &'static str,
}

impl Cost {
    fn dollars(&self) -> f64 {
        cloud_trace_dollars(self.spans_per_month)
    }
}

/// Returns the price of each budget and, with a rate, that of the kept part: at the time `now_s`, in seconds since 1970,
/// and later if a trial ends.
pub(super) fn costs(tail: &TailSampling, spans_per_second: Option<f64>, now_s: u64) -> Vec<Cost> {
    let budgets = tail.policies.iter().filter(|policy| policy.counts_at(now_s)).filter_map(|policy| {
        let Rule::Budget(budget) = &policy.rule else { return None };
        let assumption =
            if tail.dry_run { "without the dry run, if traffic uses it up" } else { "if traffic uses it up" };
        Some(Cost {
            what: format!("the budget `{}`", policy.name),
            spans_per_month: budget.spans_per_month,
            assumption,
        })
    });
    budgets.chain(spans_per_second.into_iter().flat_map(|rate| of_rate(tail, rate, now_s))).collect()
}

const ON_TOP: &str = "errors, slow traces and others that are kept for what is in them come on top";

/// Returns the price of the kept part: of the dry run if there is one, of the policies at present, and of those that are
/// left when all others have ended.
fn of_rate(tail: &TailSampling, rate: f64, now_s: u64) -> Vec<Cost> {
    let cost = |part: f64, when: &str, assumption| Cost {
        what: format!("{} % of {} spans a second{when}", rounded(part * 100.0), grouped(rate as u64)),
        spans_per_month: rate * part * SECONDS_PER_MONTH,
        assumption,
    };
    let mut costs = Vec::new();
    if tail.dry_run {
        costs.push(cost(1.0, "", "`dry_run` exports everything, whatever the policies say"));
    }
    let part = part_of(&tail.at(now_s).policies, rate);
    costs.push(cost(part, if tail.dry_run { " without the dry run" } else { "" }, ON_TOP));
    let last_end_s = tail.policies.iter().filter_map(|policy| policy.until).max().filter(|end_s| *end_s > now_s);
    if let Some(end_s) = last_end_s {
        let later = part_of(&tail.at(end_s).policies, rate);
        let when = format!(" from {}, when policies with `until` have ended", display_unix_seconds(end_s));
        costs.extend((later != part).then(|| cost(later, &when, ON_TOP)));
    }
    costs
}

/// Returns the part of the spans that is exported at `now_s` whatever is in them: all of them in a dry run, or else the
/// largest ratio of the policies that count.
pub(super) fn kept_part(tail: &TailSampling, spans_per_second: f64, now_s: u64) -> f64 {
    if tail.dry_run { 1.0 } else { part_of(&tail.at(now_s).policies, spans_per_second) }
}

/// Returns the largest ratio of the policies.
fn part_of(policies: &[Policy], spans_per_second: f64) -> f64 {
    policies.iter().map(|policy| ratio(&policy.rule, spans_per_second)).fold(0.0, f64::max).min(1.0)
}

fn ratio(rule: &Rule, spans_per_second: f64) -> f64 {
    match rule {
        Rule::AlwaysSample => 1.0,
        Rule::Probabilistic { sampling_percentage } => sampling_percentage / 100.0,
        Rule::Adaptive(adaptive) => match adaptive.goal {
            Goal::Percentage(percentage) => percentage / 100.0,
            Goal::SpansPerSecond(goal) => goal / spans_per_second,
        },
        Rule::RateLimiting(bucket) => bucket.per_second as f64 / spans_per_second,
        Rule::Composite(composite) => composite.max_total_spans_per_second as f64 / spans_per_second,
        Rule::Budget(budget) => budget.spans_per_month / SECONDS_PER_MONTH / spans_per_second,
        _ => 0.0,
    }
}

/// Returns the costs as text, one line each.
pub(super) fn text(costs: &[Cost]) -> String {
    let mut text = String::new();
    for cost in costs {
        let (spans, dollars) = (grouped(cost.spans_per_month.round() as u64), cents(cost.dollars()));
        let _ = writeln!(text, "Cost of {}: {spans} spans a month, ${dollars} a month.", cost.what);
        let _ = writeln!(text, "  This is {PRICE}; {}.", cost.assumption);
    }
    text
}

/// Returns the costs as JSON.
pub(super) fn json(costs: &[Cost]) -> Value {
    let cost = |cost: &Cost| {
        json!({
            "of": cost.what,
            "spans_per_month": cost.spans_per_month.round(),
            "dollars_per_month": (cost.dollars() * 100.0).round() / 100.0,
            "assumption": format!("{PRICE}; {}", cost.assumption),
        })
    };
    costs.iter().map(cost).collect()
}

/// Returns an amount with two digits for cents, and commas.
pub(in crate::cli) fn cents(dollars: f64) -> String {
    let cents = (dollars * 100.0).round() as u64;
    format!("{}.{:02}", grouped(cents / 100), cents % 100)
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
