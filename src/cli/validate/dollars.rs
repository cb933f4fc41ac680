//! The price of what a configuration keeps, in dollars a month.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::sampling::settings::{Goal, Policy, Rule, cloud_trace_dollars};
use crate::settings::units::grouped;

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

/// Returns the price of each budget and, with a rate, that of the kept part.
pub(super) fn costs(policies: &[Policy], spans_per_second: Option<f64>) -> Vec<Cost> {
    let budgets = policies.iter().filter_map(|policy| match &policy.rule {
        Rule::Budget(budget) => Some(Cost {
            what: format!("the budget `{}`", policy.name),
            spans_per_month: budget.spans_per_month,
            assumption: "if traffic uses it up",
        }),
        _ => None,
    });
    let of_rate = spans_per_second.map(|rate| {
        let part = kept_part(policies, rate);
        Cost {
            what: format!("{} % of {} spans a second", rounded(part * 100.0), grouped(rate as u64)),
            spans_per_month: rate * part * SECONDS_PER_MONTH,
            assumption: "errors, slow traces and others that are kept for what is in them come on top",
        }
    });
    budgets.chain(of_rate).collect()
}

/// Returns the part of the spans that is kept whatever is in them: the largest ratio of the policies.
pub(super) fn kept_part(policies: &[Policy], spans_per_second: f64) -> f64 {
    let part = |rule: &Rule| match rule {
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
    };
    policies.iter().map(|policy| part(&policy.rule)).fold(0.0, f64::max).min(1.0)
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
