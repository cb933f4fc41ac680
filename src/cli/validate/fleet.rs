//! What a fleet changes for a configuration, and what it cannot do with it.

use super::{names, place_in_line};
use crate::config::{Diagnostic, Loaded, Origin, Settings, Severity};
use crate::sampling::settings::{Goal, Rule};

/// Returns lines about what a fleet changes for the policies. None without a fleet.
pub(super) fn changes(settings: &Settings) -> Vec<String> {
    let policies = &settings.tail_sampling.policies;
    if !settings.fleet.has_engine() {
        return Vec::new();
    }
    let named = |is_it: fn(&Rule) -> bool| names(policies.iter().filter(|policy| any_rule(&policy.rule, is_it)));
    let shared = named(|rule| match rule {
        Rule::RateLimiting(_) | Rule::BytesLimiting(_) | Rule::Composite(_) | Rule::Budget(_) => true,
        Rule::Adaptive(adaptive) => matches!(adaptive.goal, Goal::SpansPerSecond(_)),
        _ => false,
    });
    let apart = named(|rule| matches!(rule, Rule::Rare(_) | Rule::IdenticalErrors(_)));
    let learned = named(|rule| match rule {
        Rule::Percentile(_) => true,
        Rule::Adaptive(adaptive) => matches!(adaptive.goal, Goal::Percentage(_)),
        _ => false,
    });
    let whole = names(policies.iter().filter(|policy| needs_whole_trace(&policy.rule)));
    let mut lines = vec!["a fleet: its members decide as one, and spans of a trace may come to any of them".to_owned()];
    for (about, policies) in [
        ("limits that its members share", shared),
        ("each member remembers its own part of the traces, so N of them keep more", apart),
        ("each member learns from its own part of the traces", learned),
        ("while the engine is away, each member sees only its own spans of a trace", whole),
    ] {
        if !policies.is_empty() {
            lines.push(format!("  {about}: {policies}"));
        }
    }
    lines
}

/// Returns true if the rule looks at more than one span of a trace.
fn needs_whole_trace(rule: &Rule) -> bool {
    let is_whole = match rule {
        Rule::Latency { .. } | Rule::SpanCount { .. } | Rule::Percentile(_) => true,
        // One condition on a span and ratios or limits give the same verdict on any part that has the span.
        Rule::And(_) | Rule::Drop(_) => {
            within(rule).into_iter().filter(|rule| matches!(rule, Rule::AnySpan(_))).count() > 1
        }
        // The span that it must not have may be elsewhere.
        Rule::Not(_) => true,
        _ => false,
    };
    is_whole || within(rule).into_iter().any(needs_whole_trace)
}

/// Returns true if `is_it` returns true for the rule, or for one within it.
fn any_rule(rule: &Rule, is_it: fn(&Rule) -> bool) -> bool {
    is_it(rule) || within(rule).into_iter().any(|rule| any_rule(rule, is_it))
}

/// Returns the rules of which a rule is made.
fn within(rule: &Rule) -> Vec<&Rule> {
    match rule {
        Rule::And(policies) | Rule::Drop(policies) => policies.iter().map(|policy| &policy.rule).collect(),
        Rule::Not(policy) => vec![&policy.rule],
        Rule::Composite(composite) => composite.policies.iter().map(|(policy, _)| &policy.rule).collect(),
        _ => Vec::new(),
    }
}

/// Returns warnings about what a fleet promises and this configuration rules out.
pub(super) fn warnings(loaded: &Loaded, text: &str) -> Vec<Diagnostic> {
    let Settings { fleet, tail_sampling, .. } = &loaded.settings;
    if !fleet.has_engine() || !tail_sampling.rescue.window.is_zero() {
        return Vec::new();
    }
    let window = loaded.shown.iter().find(|setting| setting.key == "tail_sampling.rescue.window");
    let Some(Origin::File(line) | Origin::Environment(line)) = window.map(|found| found.origin) else {
        return Vec::new();
    };
    let (column, length) = place_in_line(text, line, "window");
    vec![Diagnostic {
        severity: Severity::Warning,
        line,
        column,
        length,
        message:
            "without a rescue, a fleet cannot keep each trace with evidence whole: if the evidence comes to one member \
                  when another one has dropped its spans, those are gone"
                .to_owned(),
        help: Some("write some seconds, or leave it out".to_owned()),
    }]
}

#[cfg(test)]
mod tests;
