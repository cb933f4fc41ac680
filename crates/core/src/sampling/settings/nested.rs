//! Policies that combine others: `and`, `not`, `drop` and `composite`.

use std::collections::HashMap;
use std::time::Duration;

use super::limiter::TOKENS_PER_SECOND;
use super::lints;
use super::policy::{self, Type, policy_name};
use super::{Composite, Policy, Rule};
use crate::condition::Condition;
use crate::settings::diagnostic::{Position, SettingError, quote};
use crate::settings::kinds::{Bool, ByHand, NestedKeys, WholeNumber};
use crate::settings::node::Node;
use crate::settings::reader::Section;
use crate::settings::setting::{Preset, Shape};
use crate::settings::suggest::did_you_mean;
use crate::settings::values;
use crate::settings::{Limit, keys};

const SUB_POLICY_COUNT: Limit<usize> = Limit { min: 1, max: 64, why: "all of them are asked about every trace" };
/// The number of items in `policy_order` and `rate_allocation`. The Collector accepts them empty.
const SUB_POLICY_NAME_COUNT: Limit<usize> = Limit { min: 0, ..SUB_POLICY_COUNT };
const ALLOCATION_PERCENT: Limit<u64> = Limit { min: 0, max: 100, why: "it is a part of `max_total_spans_per_second`" };

keys! {
    pub(super) fn and_keys;
    /// Policies, with the keys of this page; no `and`, `drop` or `composite`.
    and_sub_policy: ByHand::list(Shape::Like(policy::PATH), &SUB_POLICY_COUNT).required();
    /// True: all of the policies must hold for one and the same span, with its resource, and all of them must be policies on
    /// spans. False: each must hold for any span of the trace.
    same_span: ByHand::like(&Bool).default(false);
}

keys! {
    pub(super) fn not_keys;
    /// One policy; no `and`, `not`, `drop` or `composite`.
    not_sub_policy: ByHand::of(Shape::Like(policy::PATH)).required();
}

keys! {
    pub(super) fn drop_keys;
    /// Policies, with the keys of this page; no `and`, `drop` or `composite`.
    drop_sub_policy: ByHand::list(Shape::Like(policy::PATH), &SUB_POLICY_COUNT).required();
    /// As for `and`.
    same_span: ByHand::like(&Bool).default(false);
}

keys! {
    pub(super) fn composite_keys;
    /// Spans in each second, of all its policies together.
    max_total_spans_per_second: ByHand::like(&WholeNumber::<u64>::within(TOKENS_PER_SECOND)).required();
    /// Policies with names; no `not`, `drop` or `composite`. They are named `composite/policy` in metrics and annotations.
    composite_sub_policy: ByHand::list(Shape::Like(policy::PATH), &SUB_POLICY_COUNT).required();
    /// The names of its policies, in the order in which they are asked. A name that none of them has is passed over, with a
    /// warning.
    policy_order: ByHand::list(Shape::Text("string"), &SUB_POLICY_NAME_COUNT).or(Preset::Words("as they are listed"));
    /// The allowance of each policy, as a part of the total. Policies that are not listed have the total divided by the
    /// number of policies.
    rate_allocation: NestedKeys(ByHand::list(Shape::Section, &SUB_POLICY_NAME_COUNT).default("[]"), allocation_keys);
}

keys! {
    fn allocation_keys;
    /// The name of the policy.
    policy: ByHand::of(Shape::Text("string")).required();
    /// The part in percent; 0: as if the policy were not listed.
    percent: ByHand::like(&WholeNumber::<u64>::within(ALLOCATION_PERCENT)).required();
}

/// The place of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PolicyPosition {
    Top,
    And,
    Not,
    Drop,
    Composite,
}

impl PolicyPosition {
    /// Returns true if names are labels or are referred to here.
    pub(super) fn needs_names(self) -> bool {
        matches!(self, PolicyPosition::Top | PolicyPosition::Composite)
    }

    /// Returns true if a policy of this type can stand here. The rules are those of the Collector.
    pub(super) fn takes(self, kind: Type) -> bool {
        match kind {
            Type::And => matches!(self, PolicyPosition::Top | PolicyPosition::Composite),
            Type::Not => matches!(self, PolicyPosition::Top | PolicyPosition::And | PolicyPosition::Drop),
            Type::Drop | Type::Composite => self == PolicyPosition::Top,
            _ => true,
        }
    }

    /// Returns the effect of a policy in this place that matches no trace, as the end of a clause.
    pub(super) fn consequence(self) -> &'static str {
        match self {
            PolicyPosition::Top | PolicyPosition::Composite => "",
            PolicyPosition::And => ", so the `and` around it keeps nothing",
            PolicyPosition::Not => ", so the `not` around it matches every trace",
            PolicyPosition::Drop => ", so the `drop` around it drops nothing",
        }
    }

    /// Returns the error of a type that cannot stand here.
    pub(super) fn refusal(self, kind: Type, name: &str) -> SettingError {
        let place = match self {
            PolicyPosition::Top => "policies",
            PolicyPosition::And => "and",
            PolicyPosition::Not => "not",
            PolicyPosition::Drop => "drop",
            PolicyPosition::Composite => "composite",
        };
        let help = match (kind, self) {
            (Type::And, PolicyPosition::Not) => "write a policy of type `not` for each of its sub-policies",
            (Type::And, _) => "list its sub-policies here: all of them must hold anyway",
            (Type::Not, PolicyPosition::Not) => "leave out both",
            (Type::Not, _) => "put it into an `and`",
            _ => "it speaks of whole traces: make it a policy of its own",
        };
        SettingError::new(format!("a policy of type `{name}` cannot stand in `{place}`")).help(help)
    }
}

pub(super) fn and(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    let mut policies = sub_policies(&mut section, "and_sub_policy", PolicyPosition::And, decision_wait)?;
    match policies.len() {
        1 => policies.pop().map(|policy| policy.rule),
        _ => Some(Rule::And(policies)),
    }
}

pub(super) fn drop(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    sub_policies(&mut section, "drop_sub_policy", PolicyPosition::Drop, decision_wait).map(Rule::Drop)
}

pub(super) fn not(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    if !section.has("not_sub_policy") {
        let fault = SettingError::new("the key `not_sub_policy` is missing");
        section.error(section.at(), fault.help("write `not_sub_policy: {type: error}`"));
    }
    let (_, node) = section.entry("not_sub_policy")?;
    let mut section = section.like(policy::PATH, node)?;
    let policy = policy::policy(&mut section, PolicyPosition::Not, &mut HashMap::new(), decision_wait)?;
    Some(Rule::Not(Box::new(policy)))
}

/// Reads the policies under `key`; with `same_span` one policy in their place. `None` if there are none.
fn sub_policies(
    section: &mut Section<'_>,
    key: &str,
    place: PolicyPosition,
    decision_wait: Duration,
) -> Option<Vec<Policy>> {
    let mut same_span = false;
    section.set("same_span", &mut same_span, values::boolean);
    let mut policies = Vec::new();
    let mut conditions = Vec::new();
    for node in sub_policy_nodes(section, key) {
        let Some(mut section) = section.like(policy::PATH, node) else { continue };
        let Some(policy) = policy::policy(&mut section, place, &mut HashMap::new(), decision_wait) else { continue };
        match single_span(&policy.rule) {
            Some(condition) => conditions.push(condition),
            None if same_span => section.error(section.at(), not_of_a_span()),
            None => {}
        }
        policies.push(policy);
    }
    if same_span {
        policies = vec![Policy::new("", Rule::AnySpan(Condition::All(conditions)))];
    }
    (!policies.is_empty()).then_some(policies)
}

fn sub_policy_nodes<'a>(section: &mut Section<'a>, key: &str) -> Vec<&'a Node> {
    if !section.has(key) {
        let fault = SettingError::new(format!("the key `{key}` is missing"));
        section.error(section.at(), fault.help(format!("write `{key}: [{{type: error}}]`")));
    }
    section.items(key, &SUB_POLICY_COUNT).unwrap_or_default()
}

/// Returns the condition of the rule on a single span; `None` if the rule is about the whole trace.
fn single_span(rule: &Rule) -> Option<Condition> {
    match rule {
        Rule::AnySpan(condition) => Some(condition.clone()),
        Rule::Not(policy) => single_span(&policy.rule).map(|condition| Condition::Not(Box::new(condition))),
        _ => None,
    }
}

fn not_of_a_span() -> SettingError {
    let fault = SettingError::new("`same_span`: this policy asks about the whole trace");
    fault.help("give `latency` an `of: any_span`, or take the policy or `same_span` out")
}

pub(super) fn composite(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    let total =
        section.require("max_total_spans_per_second", |node| values::integer(node, &TOKENS_PER_SECOND)).unwrap_or(1);
    let mut lines = HashMap::new();
    let mut placed: Vec<(Position, Policy)> = Vec::new();
    for node in sub_policy_nodes(&mut section, "composite_sub_policy") {
        let Some(mut section) = section.like(policy::PATH, node) else { continue };
        let policy = policy::policy(&mut section, PolicyPosition::Composite, &mut lines, decision_wait);
        placed.extend(policy.map(|policy| (lints::name_of(&section), policy)));
    }
    let order = policy_order(&mut section, &lines);
    // Policies that are not listed come last, in the order in which they are written.
    placed.sort_by_key(|(_, policy)| order.iter().position(|name| *name == policy.name).unwrap_or(order.len()));
    lints::compare_in_composite(&mut section, &placed.iter().map(|(at, policy)| (*at, policy)).collect::<Vec<_>>());
    let policies: Vec<Policy> = placed.into_iter().map(|(_, policy)| policy).collect();
    let allocations = rate_allocations(&mut section, &lines, total, policies.len() as u64);
    warn_of_small_total(&mut section, total, policies.len() as u64);
    let count = policies.len() as u64;
    let share = |name: &str| match allocations.iter().find(|(policy, _)| policy == name) {
        Some((_, percent)) if *percent > 0 => total.saturating_mul(*percent) / 100,
        _ => total / count,
    };
    // An allowance of nothing would be a policy that keeps nothing.
    let policies = policies.into_iter().map(|policy| (share(&policy.name).max(1), policy));
    let policies = policies.map(|(share, policy)| (policy, share)).collect();
    Some(Rule::Composite(Composite { max_total_spans_per_second: total, policies }))
}

/// The names of `policy_order`; warnings say so if it leaves some out, or has others.
fn policy_order(section: &mut Section<'_>, lines: &HashMap<String, usize>) -> Vec<String> {
    let mut order = section.list("policy_order", &SUB_POLICY_NAME_COUNT, policy_name);
    if let Some((at, node)) = section.entry("policy_order") {
        for name in node.items().filter_map(|item| Some((item, policy_name(item).ok()?))) {
            warn_of_stranger(section, name.0, &name.1, lines);
        }
        order.retain(|name| lines.contains_key(name));
        if order.len() < lines.len() {
            let fault = SettingError::new("`policy_order` leaves out some of the sub-policies");
            section.warn(at, fault.help("they come last, in their order: list all of them"));
        }
    }
    order
}

/// The name and percentage of each policy that is listed.
fn rate_allocations(
    section: &mut Section<'_>,
    lines: &HashMap<String, usize>,
    total: u64,
    count: u64,
) -> Vec<(String, u64)> {
    let mut allocations = Vec::new();
    for node in section.items("rate_allocation", &SUB_POLICY_NAME_COUNT).unwrap_or_default() {
        let Some(mut section) = section.item("rate_allocation", node) else { continue };
        section.refuse_unknown(&[]);
        let name = section.require("policy", policy_name);
        if let (Some((_, node)), Some(name)) = (section.entry("policy"), &name) {
            warn_of_stranger(&mut section, node, name, lines);
        }
        let percent = section.require("percent", |node| values::integer(node, &ALLOCATION_PERCENT));
        percent.iter().for_each(|percent| warn_of_small_share(&mut section, *percent, total, count));
        allocations.extend(name.zip(percent));
    }
    allocations
}

/// Warns of a share of 0 %, which has another meaning, and of one that is less than a span in a second.
fn warn_of_small_share(section: &mut Section<'_>, percent: u64, total: u64, count: u64) {
    let Some((_, node)) = section.entry("percent") else { return };
    let fault = if percent == 0 {
        let spans = (total / count.max(1)).max(1);
        SettingError::new(format!(
            "0 % is not nothing: the policy gets the total divided by all, {spans} spans a second"
        ))
        .help("write its share in percent, or take the policy out")
    } else if total.saturating_mul(percent) < 100 {
        SettingError::new(format!("{percent} % of {total} is less than a span in a second, and is taken as one"))
            .help("raise the share, or `max_total_spans_per_second`")
    } else {
        return;
    };
    section.warn(node.at, fault);
}

/// Warns of a total that is less than a span in a second for each policy.
fn warn_of_small_total(section: &mut Section<'_>, total: u64, count: u64) {
    if let Some((_, node)) = section.entry("max_total_spans_per_second").filter(|_| total < count) {
        let fault = SettingError::new(format!("{total} spans a second are less than one for each of {count} policies"));
        section.warn(node.at, fault.help("raise it: most traces have several spans"));
    }
}

/// The Collector passes over names that no sub-policy has; they are mistakes nevertheless.
fn warn_of_stranger(section: &mut Section<'_>, node: &Node, name: &str, lines: &HashMap<String, usize>) {
    if lines.contains_key(name) {
        return;
    }
    let fault = SettingError::new(format!("{} has no effect: it is not the name of a sub-policy", quote(name)));
    let fault = match did_you_mean(name, lines.keys().map(String::as_str)) {
        Some(help) => fault.help(help),
        None => fault.help("write the name of one of `composite_sub_policy`"),
    };
    section.warn(node.at, fault);
}
