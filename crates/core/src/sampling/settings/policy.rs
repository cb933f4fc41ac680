//! `tail_sampling.policies`: flat entries of a name, a type and the section of that type.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::nested::PolicyPosition;
use super::{Policy, PolicyLists, Rule, condition, keyed, latency, limiter, lints, nested, until};
use crate::settings::diagnostic::{Position, SettingError, quote};
use crate::settings::kinds::{Bool, ByHand, NestedKeys, ParsedText, Percent, WholeNumber};
use crate::settings::node::Node;
use crate::settings::reader::Section;
use crate::settings::setting::{Preset, Shape};
use crate::settings::units::grouped;
use crate::settings::values::{self, Read};
use crate::settings::{Limit, keys};

pub(super) const POLICY_COUNT: Limit<usize> =
    Limit { min: 1, max: 256, why: "each policy is a value of a metric label" };
pub(super) const SHADOW_COUNT: Limit<usize> = Limit { min: 0, ..POLICY_COUNT };
/// Of a policy name, in bytes: it is a metric label and a span attribute.
const POLICY_NAME_BYTES_MAX: usize = 128;
const SPAN_COUNT: Limit<u64> = Limit { min: 0, max: i32::MAX as u64, why: "spans are counted in 31 bits" };

keys! {
    pub(super) fn policy_keys;
    /// A unique name of at most 128 bytes: the metric label and the annotation. Optional within `and`, `not` and `drop`.
    name: ByHand::like(&ParsedText { word: "string", read: policy_name }).or(Preset::Words("required"));
    /// A time such as `2026-12-01T00:00:00Z`. From then on the policy does not count, as if it were not there; the log says so
    /// a day and an hour before. Only for policies of the top level.
    until: ByHand::of(Shape::Text("time"));
    /// True: the policy is evaluated and counted but never decides; see [changing policies safely](operating.md#changing-policies-safely).
    /// Only for policies of the top level.
    shadow: ByHand::like(&Bool).default(false);
    /// One of the types below.
    kind as "type": ByHand::of(Shape::Choice(TYPES.iter().map(|(name, _)| *name).collect())).required();
    /// For `error`, a type of ours: any span that failed. It does not depend on the status alone, because some instrumentation forgets to set it.
    error: NestedKeys(ByHand::of(Shape::Section), condition::error_keys);
    /// For `status_code`: any span with one of these codes.
    status_code: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), condition::status_code_keys);
    /// For `string_attribute`: any span or resource whose attribute is a string that matches. An empty string never does.
    string_attribute: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), condition::string_attribute_keys);
    /// For `numeric_attribute`: any span or resource whose attribute is a number, whole or not, within the range. A string of digits is not a number.
    numeric_attribute: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), condition::numeric_attribute_keys);
    /// For `boolean_attribute`: any span or resource whose attribute is this boolean.
    boolean_attribute: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), condition::boolean_attribute_keys);
    /// For `trace_state`: any span whose W3C tracestate has an entry with one of these values.
    trace_state: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), condition::trace_state_keys);
    /// For `ottl_condition`: any span or event for which one of the conditions holds. At least one of the two lists is required.
    ottl_condition: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), condition::ottl_keys);
    /// For `latency`: the trace or one of its spans took long, in whole milliseconds.
    latency: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), latency::latency_keys);
    /// For `probabilistic`: a ratio of the traces, the same ones on every instance.
    probabilistic: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), probabilistic_keys);
    /// For `span_count`: the number of spans. At least one of the two keys is required.
    span_count: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), span_count_keys);
    /// For `rate_limiting`: traces as long as a bucket of tokens lasts, one token for each span.
    rate_limiting: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), limiter::rate_limiting_keys);
    /// For `bytes_limiting`: traces as long as a bucket of tokens lasts, one token for each byte of its spans in OTLP.
    bytes_limiting: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), limiter::bytes_limiting_keys);
    /// For `and`: every one of its policies keeps the trace.
    and: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), nested::and_keys);
    /// For `not`: its policy does not keep the trace.
    not: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), nested::not_keys);
    /// For `drop`: if every one of its policies would keep the trace, it is dropped, whatever other policies say.
    drop: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), nested::drop_keys);
    /// For `composite`: its policies are asked in order, and the first that keeps a trace decides, within its allowance of spans.
    composite: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), nested::composite_keys);
    /// For `adaptive`: a ratio for each key that follows its traffic, so that busy keys do not crowd out the others.
    adaptive: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), keyed::adaptive_keys);
    /// For `rare`: the first traces of each key in each minute, so that every endpoint is seen.
    rare: NestedKeys(ByHand::of(Shape::Section), keyed::rare_keys);
    /// For `budget`: an adaptive ratio whose goal is the rest of a month's budget, after all spans that other policies keep are paid.
    budget: NestedKeys(ByHand::of(Shape::Section).or(Preset::RequiredByType), keyed::budget_keys);
    /// For `identical_errors`: keeps errors as `error` does, but thins those that are alike. Use it in place of `error`, not beside it.
    identical_errors: NestedKeys(ByHand::of(Shape::Section), keyed::identical_errors_keys);
}

keys! {
    fn probabilistic_keys;
    /// The part of the traces that is kept. `5` and `5%` are the same.
    sampling_percentage: ByHand::like(&Percent(0.0..=100.0)).required();
    /// No effect, with a warning: the ratio depends on the trace id alone.
    hash_salt: ByHand::of(Shape::Any);
}

keys! {
    fn span_count_keys;
    /// The least number of spans.
    min_spans: ByHand::like(&WholeNumber::<u64>::within(SPAN_COUNT)).default(0);
    /// The greatest number of spans; 0: no bound.
    max_spans: ByHand::like(&WholeNumber::<u64>::within(SPAN_COUNT)).default(0);
}

/// Reads the name of a policy.
pub(super) fn policy_name(node: &Node) -> Read<String> {
    values::name(node, "a policy name", POLICY_NAME_BYTES_MAX)
}

/// The path of the keys of a policy, at every depth.
pub(super) const PATH: &str = "tail_sampling.policies[]";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Type {
    Adaptive,
    AlwaysSample,
    And,
    BooleanAttribute,
    Budget,
    BytesLimiting,
    Composite,
    Drop,
    Error,
    IdenticalErrors,
    Latency,
    Not,
    NumericAttribute,
    OttlCondition,
    Probabilistic,
    Rare,
    RateLimiting,
    SpanCount,
    StatusCode,
    StringAttribute,
    TraceFlags,
    TraceState,
}

/// The Collector's (opentelemetry-collector-contrib `processor/tailsamplingprocessor/config.go`), and ours.
pub(super) const TYPES: [(&str, Type); 22] = [
    ("adaptive", Type::Adaptive),
    ("always_sample", Type::AlwaysSample),
    ("and", Type::And),
    ("boolean_attribute", Type::BooleanAttribute),
    ("budget", Type::Budget),
    ("bytes_limiting", Type::BytesLimiting),
    ("composite", Type::Composite),
    ("drop", Type::Drop),
    ("error", Type::Error),
    ("identical_errors", Type::IdenticalErrors),
    ("latency", Type::Latency),
    ("not", Type::Not),
    ("numeric_attribute", Type::NumericAttribute),
    ("ottl_condition", Type::OttlCondition),
    ("probabilistic", Type::Probabilistic),
    ("rare", Type::Rare),
    ("rate_limiting", Type::RateLimiting),
    ("span_count", Type::SpanCount),
    ("status_code", Type::StatusCode),
    ("string_attribute", Type::StringAttribute),
    ("trace_flags", Type::TraceFlags),
    ("trace_state", Type::TraceState),
];

/// Types without a section of their own.
const BARE_TYPES: [&str; 2] = ["always_sample", "trace_flags"];

/// The policies at the top level; `nodes` are those of `policies`. The names of all are unique.
pub(super) fn policies(
    section: &mut Section<'_>,
    nodes: Option<&[&Node]>,
    decision_wait: Duration,
    spans_max: usize,
) -> PolicyLists {
    let mut lists = PolicyLists { policies: nodes.map(|nodes| Vec::with_capacity(nodes.len())), shadow: Vec::new() };
    let mut lines = HashMap::new();
    let mut places: Vec<Option<Position>> = Vec::new();
    for node in nodes.unwrap_or_default() {
        let Some(mut section) = section.like(PATH, node) else { continue };
        let Some((policy, is_shadow)) = top_policy(&mut section, &mut lines, decision_wait) else { continue };
        lints::beyond_spans_max(&mut section, &policy.rule, spans_max);
        if is_shadow {
            lists.shadow.push(policy);
        } else if let Some(policies) = &mut lists.policies {
            places.push((!section.is_incomplete()).then(|| lints::name_of(&section)));
            policies.push(policy);
        }
    }
    if let Some(policies) = &lists.policies {
        // A policy that ends does not make others useless, and one that could not be read as a whole is not judged.
        let placed = places.into_iter().zip(policies).filter_map(|(place, policy)| Some((place?, policy)));
        lints::compare(section, &placed.filter(|(_, policy)| policy.until.is_none()).collect::<Vec<_>>());
        warn_of_no_keep(section, policies, !lists.shadow.is_empty());
    }
    if let Some(mut section) = section.section("shadow") {
        for node in section.items("policies", &SHADOW_COUNT).unwrap_or_default() {
            let Some(mut section) = section.like(PATH, node) else { continue };
            let Some((policy, _)) = top_policy(&mut section, &mut lines, decision_wait) else { continue };
            lints::beyond_spans_max(&mut section, &policy.rule, spans_max);
            lists.shadow.push(policy);
        }
    }
    if lines.len() > POLICY_COUNT.max {
        let fault = SettingError::new(format!("{} policies, with those of composites", lines.len()));
        section.error(section.at(), fault.help(format!("at most {}: {}", POLICY_COUNT.max, POLICY_COUNT.why)));
    }
    lists
}

fn warn_of_no_keep(section: &mut Section<'_>, policies: &[Policy], has_shadow: bool) {
    let at = section.entry("policies").map_or(section.at(), |(at, _)| at);
    let keep = "add a policy that keeps, such as `{name: rest, type: always_sample}`";
    if policies.is_empty() && has_shadow {
        section.warn(at, SettingError::new("no trace is kept: every policy is a shadow policy").help(keep));
    } else if !policies.is_empty() && policies.iter().all(|policy| matches!(policy.rule, Rule::Drop(_))) {
        section.warn(at, SettingError::new("no trace is kept: every policy is of type `drop`").help(keep));
    }
}

/// A policy of the top level, and true if it is a shadow policy.
fn top_policy(
    section: &mut Section<'_>,
    lines: &mut HashMap<String, usize>,
    decision_wait: Duration,
) -> Option<(Policy, bool)> {
    let until = section.read("until", until::unix_seconds);
    let mut is_shadow = false;
    section.set("shadow", &mut is_shadow, values::boolean);
    let policy = policy(section, PolicyPosition::Top, lines, decision_wait)?;
    for label in policy.sub_labels().collect::<BTreeSet<_>>() {
        refuse_second(section, label, lines);
    }
    Some((Policy { until, ..policy }, is_shadow))
}

/// Refuses the keys that only a policy of the top level has.
fn refuse_top_keys(section: &mut Section<'_>) {
    for key in ["shadow", "until"] {
        if let Some((at, _)) = section.entry(key) {
            let fault = SettingError::new(format!("a policy within another one has no `{key}`"));
            section.error(at, fault.help("write it in the outer policy"));
        }
    }
}

/// One policy, which stands in `place` beside those with names on `lines`.
pub(super) fn policy(
    section: &mut Section<'_>,
    place: PolicyPosition,
    lines: &mut HashMap<String, usize>,
    decision_wait: Duration,
) -> Option<Policy> {
    section.refuse_unknown(&BARE_TYPES);
    if place != PolicyPosition::Top {
        refuse_top_keys(section);
    }
    let reported = section.problem_count();
    let name = if place.needs_names() {
        let name = section.require("name", policy_name);
        name.iter().for_each(|name| refuse_second(section, name.clone(), lines));
        name
    } else {
        Some(section.read("name", policy_name).unwrap_or_default())
    };
    let rule = rule(section, place, decision_wait);
    // What is left of a policy that could not be read as a whole says nothing about it.
    if !section.is_incomplete() {
        rule.iter().for_each(|rule| lints::impossible(section, place, rule, reported));
    }
    Some(Policy { name: name?, rule: rule?, until: None })
}

fn refuse_second(section: &mut Section<'_>, name: String, lines: &mut HashMap<String, usize>) {
    let Some((_, node)) = section.entry("name") else { return };
    let message = format!("the policy name {} is given twice", quote(&name));
    if let Some(line) = lines.insert(name, node.at.line) {
        let help = format!("it stands on line {line} as well: names are metric labels");
        section.error(node.at, SettingError::new(message).help(help));
    }
}

fn rule(section: &mut Section<'_>, place: PolicyPosition, decision_wait: Duration) -> Option<Rule> {
    let kind = section.require("type", |node| values::choice(node, "policy type", &TYPES))?;
    refuse_other_sections(section, kind);
    if !place.takes(kind) {
        let (_, node) = section.entry("type")?;
        section.error(node.at, place.refusal(kind, type_name(kind)));
        return None;
    }
    match kind {
        Type::AlwaysSample => Some(Rule::AlwaysSample),
        Type::TraceFlags => Some(condition::trace_flags()),
        Type::Error => condition::error(section),
        Type::Rare => keyed::rare(section),
        Type::IdenticalErrors => keyed::identical_errors(section),
        _ => sectioned(require_section(section, kind)?, kind, decision_wait),
    }
}

/// The types that say nothing without their section.
fn sectioned(section: Section<'_>, kind: Type, decision_wait: Duration) -> Option<Rule> {
    match kind {
        Type::Adaptive => keyed::adaptive(section),
        Type::And => nested::and(section, decision_wait),
        Type::BooleanAttribute => condition::boolean_attribute(section),
        Type::Budget => keyed::budget(section),
        Type::BytesLimiting => limiter::bytes(section).map(Rule::BytesLimiting),
        Type::Composite => nested::composite(section, decision_wait),
        Type::Drop => nested::drop(section, decision_wait),
        Type::Latency => latency::latency(section, decision_wait),
        Type::Not => nested::not(section, decision_wait),
        Type::NumericAttribute => condition::numeric_attribute(section),
        Type::OttlCondition => condition::ottl(section),
        Type::Probabilistic => probabilistic(section),
        Type::RateLimiting => limiter::spans(section).map(Rule::RateLimiting),
        Type::SpanCount => span_count(section),
        Type::StatusCode => condition::status_code(section),
        Type::StringAttribute => condition::string_attribute(section),
        Type::TraceState => condition::trace_state(section),
        Type::AlwaysSample | Type::TraceFlags | Type::Error | Type::Rare | Type::IdenticalErrors => None,
    }
}

/// The section of a type as it may look.
fn example(kind: Type) -> &'static str {
    match kind {
        Type::Adaptive => "{goal_percentage: 5}",
        Type::And => "{and_sub_policy: [...]}",
        Type::BooleanAttribute => "{key: app.keep, value: true}",
        Type::Budget => "{spans_per_month: 100000000}",
        Type::BytesLimiting => "{bytes_per_second: 1000000}",
        Type::Composite => "{max_total_spans_per_second: 1000, composite_sub_policy: [...]}",
        Type::Drop => "{drop_sub_policy: [...]}",
        Type::Latency => "{threshold_ms: 1000}",
        Type::Not => "{not_sub_policy: {type: error}}",
        Type::NumericAttribute => "{key: queue.length, min_value: 100}",
        Type::OttlCondition => "{span: ['name == \"checkout\"']}",
        Type::Probabilistic => "{sampling_percentage: 5}",
        Type::RateLimiting => "{spans_per_second: 100}",
        Type::SpanCount => "{min_spans: 100}",
        Type::StatusCode => "{status_codes: [ERROR]}",
        Type::StringAttribute => "{key: http.route, values: [/checkout]}",
        Type::TraceState => "{key: vendor, values: [x]}",
        Type::AlwaysSample | Type::TraceFlags | Type::Error | Type::Rare | Type::IdenticalErrors => "",
    }
}

fn type_name(kind: Type) -> &'static str {
    TYPES.iter().find(|(_, own)| *own == kind).map_or("", |(name, _)| name)
}

/// A section of another type says that something else was meant.
fn refuse_other_sections(section: &mut Section<'_>, kind: Type) {
    let own = type_name(kind);
    for (name, _) in TYPES.iter().filter(|(name, _)| *name != own || BARE_TYPES.contains(name)) {
        if let Some((at, _)) = section.entry(name) {
            let fault = SettingError::new(format!("a policy of type `{own}` has no section `{name}`"));
            section.error(at, fault.help("remove it, or change the type"));
        }
    }
}

fn require_section<'b>(section: &'b mut Section<'_>, kind: Type) -> Option<Section<'b>> {
    let key = type_name(kind);
    let is_empty = section.entry(key).is_some_and(|(_, node)| node.is_null());
    if is_empty || !section.has(key) {
        let fault = SettingError::new(format!("a policy of type `{key}` needs the section `{key}`"));
        section.error(section.at(), fault.help(format!("write `{key}: {}`", example(kind))));
    }
    section.section(key)
}

fn probabilistic(mut section: Section<'_>) -> Option<Rule> {
    if let Some((at, _)) = section.entry("hash_salt") {
        let fault = SettingError::new("`hash_salt` has no effect");
        section.warn(at, fault.help("the ratio depends on the trace id alone, the same on every instance: remove it"));
    }
    let sampling_percentage = section.require("sampling_percentage", values::percentage)?;
    warn_of_fraction(&mut section, "sampling_percentage", sampling_percentage);
    warn_of_ratio_zero(&mut section, sampling_percentage);
    Some(Rule::Probabilistic { sampling_percentage })
}

fn warn_of_ratio_zero(section: &mut Section<'_>, percentage: f64) {
    let Some((_, node)) = section.entry("sampling_percentage").filter(|_| percentage == 0.0) else { return };
    let fault = SettingError::new("0 % of the traces: no trace can match the policy");
    section.warn(node.at, fault.help("write the percentage to keep, such as `5`, or take the policy out"));
}

/// A number below 1 without a percent sign may be a fraction: `0.05` is 1 of 2,000 traces, not 1 of 20.
pub(super) fn warn_of_fraction(section: &mut Section<'_>, key: &str, percentage: f64) {
    let Some((_, node)) = section.entry(key) else { return };
    if percentage > 0.0 && percentage < 1.0 && !node.ends_with('%') {
        let (as_percents, as_fraction) = (one_of(percentage), one_of(percentage * 100.0));
        let fault = SettingError::new(format!("`{key}: {percentage}` is {percentage} %: {as_percents} traces"));
        let percents = decimals(percentage * 100.0);
        let help =
            format!("for {as_fraction} traces write `{percents}`; if {percentage} % is meant, write `{percentage}%`");
        section.warn(node.at, fault.help(help));
    }
}

/// Returns the ratio as `1 of 2,000`.
fn one_of(percentage: f64) -> String {
    let traces = 100.0 / percentage;
    let is_whole = (traces - traces.round()).abs() < traces * 1e-9;
    if is_whole || traces >= 100.0 {
        format!("1 of {}", grouped(traces.round() as u64))
    } else {
        format!("{} of 100", decimals(percentage))
    }
}

/// Returns a number without the digits in which binary fractions differ from decimal ones.
fn decimals(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

fn span_count(mut section: Section<'_>) -> Option<Rule> {
    let count = |node: &Node| values::integer(node, &SPAN_COUNT).map(|count| count as u32);
    if !(section.has("min_spans") || section.has("max_spans")) {
        let fault = SettingError::new("the policy keeps everything: it has neither `min_spans` nor `max_spans`");
        section.error(section.at(), fault.help("write one of them, or use `always_sample`"));
    }
    let min_spans = section.read("min_spans", count).unwrap_or(0);
    // 0 is the Collector's "no bound".
    let max_spans = section.read("max_spans", count).filter(|max| *max != 0);
    if let Some((_, node)) = section.entry("max_spans")
        && max_spans.is_some_and(|max| max < min_spans)
    {
        let fault = SettingError::new("the policy keeps nothing: `max_spans` is below `min_spans`");
        section.error(node.at, fault.help("raise it, or write 0 for no upper bound"));
    }
    Some(Rule::SpanCount { min_spans, max_spans })
}
