//! Warnings about policies that are valid but probably do not do what the operator meant.

use super::nested::PolicyPosition;
use super::possible::{Leaf, can_match, statement};
use super::{Policy, Rule};
use crate::condition::logic::{Effort, Statement};
use crate::condition::{Check, Condition, Field, Number, Range, RangeBound};
use crate::settings::diagnostic::{Diagnostic, Position, SettingError, Severity, quote};
use crate::settings::reader::Section;

/// Steps for one question about one policy. A policy that needs more is not judged.
const POLICY_STEPS: usize = 20_000;
/// Steps for the comparison of the policies with each other, so that 256 of them are compared in well under a second.
const LIST_STEPS: usize = 2_000_000;

/// The words of warnings that say that a policy, or a part of it, matches nothing.
pub(super) const NOTHING: [&str; 3] = ["matches nothing", "nothing matches", "no trace can match"];

/// A policy and the place of its name.
pub(super) type Placed<'a> = (Position, &'a Policy);

/// Warns of a policy that matches no trace, unless one of its parts is already reported.
pub(super) fn impossible(section: &mut Section<'_>, place: PolicyPosition, rule: &Rule, reported: usize) {
    let is_said = |problem: &Diagnostic| {
        problem.severity == Severity::Error || NOTHING.iter().any(|words| problem.message.contains(words))
    };
    let is_composite = matches!(rule, Rule::Composite(_));
    if is_composite || section.problems_since(reported).iter().any(is_said) {
        return;
    }
    if can_match(&[&statement(rule)], &mut Effort::of(POLICY_STEPS)) {
        return;
    }
    let (why, help) = match rule {
        Rule::And(_) | Rule::Drop(_) => (
            "its policies contradict each other",
            "each of them must match the same trace: take one out, or write a policy for each",
        ),
        Rule::Not(_) => ("the policy within it matches every trace", "take it out, or put another policy into it"),
        _ => ("its conditions contradict each other", "one and the same span must fulfil them: change or remove one"),
    };
    let fault = SettingError::new(format!("no trace can match the policy{}: {why}", place.consequence()));
    section.warn(name_of(section), fault.help(help));
}

/// Warns of a policy that wants more spans than a trace has when it is decided.
pub(super) fn beyond_spans_max(section: &mut Section<'_>, rule: &Rule, spans_max: usize) {
    let Some(min_spans) = min_spans(rule).filter(|min| *min as usize > spans_max) else { return };
    let fault = SettingError::new(format!(
        "`min_spans: {min_spans}` is more than `spans_max`: a trace is decided when it has {spans_max} spans"
    ));
    section.warn(name_of(section), fault.help(format!("write `spans_max: {min_spans}` or more, or a smaller number")));
}

/// Returns the largest number of spans that a part of the rule asks for.
fn min_spans(rule: &Rule) -> Option<u32> {
    match rule {
        Rule::SpanCount { min_spans: min, .. } => Some(*min),
        Rule::And(policies) | Rule::Drop(policies) => {
            policies.iter().filter_map(|policy| min_spans(&policy.rule)).max()
        }
        Rule::Not(policy) => min_spans(&policy.rule),
        Rule::Composite(composite) => composite.policies.iter().filter_map(|(policy, _)| min_spans(&policy.rule)).max(),
        _ => None,
    }
}

/// Returns the place of the policy's name, or of its type if it has none.
pub(super) fn name_of(section: &Section<'_>) -> Position {
    let entry = section.entry("name").or_else(|| section.entry("type"));
    entry.map_or(section.at(), |(_, node)| node.at)
}

/// Warns of policies at the top level that other policies make useless, and of those of type `drop` that drop errors.
pub(super) fn compare(section: &mut Section<'_>, policies: &[Placed<'_>]) {
    let mut effort = Effort::of(LIST_STEPS);
    let is_drop = |(_, policy): &&Placed<'_>| matches!(policy.rule, Rule::Drop(_));
    let drops: Vec<Placed<'_>> = policies.iter().filter(is_drop).copied().collect();
    let keeps: Vec<Placed<'_>> = policies.iter().filter(|placed| !is_drop(placed)).copied().collect();
    for drop in &drops {
        drops_everything(section, *drop, &mut effort);
        drops_errors(section, *drop, &keeps, &mut effort);
    }
    let kept: Vec<Placed<'_>> =
        keeps.iter().filter(|keep| !is_dropped(section, **keep, &drops, &mut effort)).copied().collect();
    overshadowed(section, &kept, "keeps", &mut effort);
}

/// Warns of policies of a `composite` that are never asked.
pub(super) fn compare_in_composite(section: &mut Section<'_>, policies: &[Placed<'_>]) {
    overshadowed(section, policies, "takes", &mut Effort::of(LIST_STEPS));
}

fn drops_everything(section: &mut Section<'_>, (at, policy): Placed<'_>, effort: &mut Effort) {
    if !can_match(&[&statement(&policy.rule).negated()], effort) {
        let fault = SettingError::new("the policy drops every trace, so that nothing is kept");
        section.warn(at, fault.help("add a policy to `drop_sub_policy` that matches only the traces to drop"));
    }
}

/// Warns of a `drop` that also drops traces with an error, although another policy keeps these.
fn drops_errors(section: &mut Section<'_>, (at, policy): Placed<'_>, keeps: &[Placed<'_>], effort: &mut Effort) {
    let dropped = statement(&policy.rule);
    if !can_match(&[&dropped.clone().negated()], effort) {
        return;
    }
    let status = |key: &str| {
        let bound = |at| Some(RangeBound { at: Number::Int(at), inclusive: true });
        let range = Range { min: bound(500), max: bound(599) };
        Condition::test(Field::SpanAttribute(key.to_owned()), Check::Number(range))
    };
    let marks = [Condition::failed(true, false, false), Condition::failed(false, true, false)];
    // A policy such as `numeric_attribute` may keep those with one of the two keys only.
    let by_status = ["http.response.status_code", "http.status_code"].map(status);
    for failed in marks.into_iter().chain(by_status) {
        let has_error = Statement::Leaf(Leaf::AnySpan(&failed));
        let Some(keeper) = keeps.iter().find(|(_, keep)| is_kept_by(&has_error, keep, effort)) else { continue };
        if can_match(&[&dropped, &has_error], effort) {
            let keeper = quote(&keeper.1.name);
            let fault = SettingError::new(format!("the policy also drops traces with an error, which {keeper} keeps"));
            let help = "to keep them, add `{type: not, not: {not_sub_policy: {type: error}}}` to `drop_sub_policy`";
            section.warn(at, fault.help(help));
            return;
        }
    }
}

/// Returns true if `keep` is for the traces with the error, and not for all traces.
fn is_kept_by(has_error: &Statement<Leaf<'_>>, keep: &Policy, effort: &mut Effort) -> bool {
    let other = match &keep.rule {
        Rule::IdenticalErrors(errors) => Statement::Leaf(Leaf::AnySpan(&errors.condition)).negated(),
        rule => statement(rule).negated(),
    };
    can_match(&[&other], effort) && !can_match(&[has_error, &other], effort)
}

/// Warns if policies of type `drop` drop all that `keep` matches. Returns true if they do.
fn is_dropped(section: &mut Section<'_>, (at, keep): Placed<'_>, drops: &[Placed<'_>], effort: &mut Effort) -> bool {
    let kept = statement(&keep.rule);
    if drops.is_empty() || !can_match(&[&kept], effort) {
        return false;
    }
    let survives: Vec<_> = drops.iter().map(|(_, drop)| statement(&drop.rule).negated()).collect();
    let all: Vec<_> = survives.iter().chain([&kept]).collect();
    if can_match(&all, effort) {
        return false;
    }
    let one = drops.iter().zip(&survives).find(|(_, survives)| !can_match(&[survives, &kept], effort));
    let by = one.map_or_else(|| "policies of type `drop`".to_owned(), |((_, drop), _)| quote(&drop.name));
    // A policy that drops everything is reported itself.
    if one.is_none_or(|(_, survives)| can_match(&[survives], effort)) {
        let fault = SettingError::new(format!("the policy keeps no trace: {by} drops every trace that it matches"));
        section.warn(at, fault.help("take one of the two out, or change what they match"));
    }
    true
}

/// Returns true if there is a problem at this place already, for example a name that is given twice.
fn is_reported(section: &Section<'_>, at: Position) -> bool {
    section.problems_since(0).iter().any(|problem| (problem.line, problem.column) == (at.line, at.column))
}

/// Warns of each policy that matches only traces that an earlier one matches, too. `verb` says what a policy does.
fn overshadowed(section: &mut Section<'_>, policies: &[Placed<'_>], verb: &str, effort: &mut Effort) {
    let statements: Vec<_> = policies.iter().map(|(_, policy)| statement(&policy.rule)).collect();
    let others: Vec<_> = statements.iter().map(|statement| statement.clone().negated()).collect();
    for (index, (at, _)) in policies.iter().enumerate() {
        let own = &statements[index];
        if is_reported(section, *at) || !can_match(&[own], effort) {
            continue;
        }
        let Some(earlier) = (0..index).find(|earlier| !can_match(&[own, &others[*earlier]], effort)) else { continue };
        let (place, policy) = policies[earlier];
        let (name, line) = (quote(&policy.name), place.line);
        let help = format!("take it out, or put it before {name}");
        if can_match(&[&others[earlier]], effort) {
            let why = format!("{name} on line {line} {verb} every trace that it matches");
            section.warn(*at, SettingError::new(format!("the policy has no effect: {why}")).help(help));
            continue;
        }
        // All the others stand behind that policy as well, and one warning is enough.
        let behind = match policies.len() - index - 1 {
            0 => "has",
            1 => "and the one behind it have",
            _ => "and all behind it have",
        };
        let why = format!("{name} on line {line} {verb} every trace");
        section.warn(*at, SettingError::new(format!("the policy {behind} no effect: {why}")).help(help));
        return;
    }
}
