//! Policies as plain sentences, from the configuration as it is written.
//!
//! A policy becomes a phrase that follows "a trace", for example "in which a span has status ERROR" or "that took longer
//! than 1,000 ms". Sentences are made of such phrases. The nodes must be those of a configuration that was read without
//! an error: what is missing here has its default.

mod keyed;
mod span;

use super::policy::{TYPES, Type};
use crate::settings::node::{Node, NodeValue, ScalarNode};
use crate::settings::units::grouped;

/// A policy in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWords {
    /// The name of the policy.
    pub name: String,
    /// Its type, as in the configuration.
    pub kind: String,
    /// Sentences. Those about the policies of a `composite` begin with two spaces.
    pub sentences: Vec<String>,
}

/// Returns the policies in `nodes` in words.
#[must_use]
pub fn explain(nodes: &[&Node]) -> Vec<PolicyWords> {
    nodes
        .iter()
        .map(|node| PolicyWords { name: own(node, "name"), kind: own(node, "type"), sentences: sentences(node) })
        .collect()
}

fn sentences(policy: &Node) -> Vec<String> {
    match type_of(policy) {
        Some(Type::AlwaysSample) => vec!["Keeps every trace.".to_owned()],
        Some(Type::Drop) => {
            let phrase = all_of(policy, "drop", "drop_sub_policy");
            vec![format!("Drops a trace {phrase}, whatever other policies say.")]
        }
        Some(Type::Composite) => composite(policy),
        _ => vec![format!("Keeps a trace {}.", phrase(policy))],
    }
}

/// Returns the phrase for a policy, to follow "a trace".
fn phrase(policy: &Node) -> String {
    let Some(kind) = type_of(policy) else { return String::new() };
    let section = |key| policy.find(&[key]);
    match kind {
        Type::AlwaysSample => "of any kind".to_owned(),
        Type::Error => span::error(section("error")),
        Type::StatusCode => span::status_code(section("status_code")),
        Type::StringAttribute => span::string_attribute(section("string_attribute")),
        Type::NumericAttribute => span::numeric_attribute(section("numeric_attribute")),
        Type::BooleanAttribute => span::boolean_attribute(section("boolean_attribute")),
        Type::TraceState => span::trace_state(section("trace_state")),
        Type::TraceFlags => "in which a span has the W3C flag \"sampled\"".to_owned(),
        Type::OttlCondition => span::ottl_condition(section("ottl_condition")),
        Type::Latency => span::latency(section("latency")),
        Type::SpanCount => span_count(section("span_count")),
        Type::Probabilistic => ratio(&text_or(section("probabilistic"), "sampling_percentage", "0")),
        Type::RateLimiting => bucket(section("rate_limiting"), "spans_per_second", "spans"),
        Type::BytesLimiting => bucket(section("bytes_limiting"), "bytes_per_second", "bytes"),
        Type::And => all_of(policy, "and", "and_sub_policy"),
        Type::Not => not(section("not")),
        Type::Adaptive => keyed::adaptive(section("adaptive")),
        Type::Rare => keyed::rare(section("rare")),
        Type::Budget => keyed::budget(section("budget")),
        Type::IdenticalErrors => keyed::identical_errors(section("identical_errors")),
        // They stand only at the top level.
        Type::Drop | Type::Composite => String::new(),
    }
}

/// Returns the phrase for all policies in the list `key` of the section `kind`.
fn all_of(policy: &Node, kind: &str, key: &str) -> String {
    let policies = policy.find(&[kind, key]).into_iter().flat_map(Node::items).map(phrase);
    let phrases = policies.collect::<Vec<_>>().join(", and ");
    match is_true(policy.find(&[kind]), "same_span", false) {
        true => format!("{phrases}, all on one and the same span"),
        false => phrases,
    }
}

fn not(section: Option<&Node>) -> String {
    let Some(policy) = section.and_then(|section| section.find(&["not_sub_policy"])) else { return String::new() };
    match (type_of(policy), percentage(policy)) {
        (Some(Type::Probabilistic), Some(percentage)) => ratio(&rounded(100.0 - percentage)),
        _ => format!("that is not one {}", phrase(policy)),
    }
}

/// Returns the ratio of a `probabilistic` policy.
fn percentage(policy: &Node) -> Option<f64> {
    let text = policy.find(&["probabilistic", "sampling_percentage"]).map(text)?;
    text.trim_end_matches(['%', ' ']).parse().ok()
}

fn rounded(number: f64) -> String {
    ((number * 1e9).round() / 1e9).to_string()
}

fn ratio(percentage: &str) -> String {
    format!("that is among {} % of all traces, chosen by the trace id", percentage.trim_end_matches(['%', ' ']))
}

fn span_count(section: Option<&Node>) -> String {
    let [min, max] = ["min_spans", "max_spans"].map(|key| text_or(section, key, "0"));
    match (min.as_str(), max.as_str()) {
        (_, "0") => format!("with at least {}", spans(&min)),
        ("0", _) => format!("with at most {}", spans(&max)),
        _ => format!("with {} to {}", number(&min), spans(&max)),
    }
}

fn spans(count: &str) -> String {
    if count == "1" { "1 span".to_owned() } else { format!("{} spans", number(count)) }
}

fn bucket(section: Option<&Node>, rate_key: &str, unit: &str) -> String {
    let rate = text_or(section, rate_key, "0");
    let burst = text_or(section, "burst_capacity", "0");
    let burst = if burst == "0" { "twice as many".to_owned() } else { number(&burst) };
    format!("that fits into {} {unit} a second, or {burst} at once", number(&rate))
}

fn composite(policy: &Node) -> Vec<String> {
    let Some(section) = policy.find(&["composite"]) else { return Vec::new() };
    let policies: Vec<&Node> = section.find(&["composite_sub_policy"]).into_iter().flat_map(Node::items).collect();
    let order: Vec<&str> = section.find(&["policy_order"]).into_iter().flat_map(Node::items).map(text).collect();
    let mut ordered = policies.clone();
    ordered.sort_by_key(|policy| order.iter().position(|name| *name == own(policy, "name")).unwrap_or(order.len()));
    let total = text_or(Some(section), "max_total_spans_per_second", "0");
    let mut sentences = vec![format!(
        "Keeps at most {} spans a second. The first of these policies that matches a trace decides, within its share:",
        number(&total)
    )];
    sentences.extend(ordered.into_iter().map(|policy| {
        let (name, share) = (own(policy, "name"), share(section, &own(policy, "name"), policies.len()));
        format!("  `{name}` ({share}) keeps a trace {}.", phrase(policy))
    }));
    sentences
}

/// Returns the share of the policy `name` of a composite, in words.
fn share(composite: &Node, name: &str, count: usize) -> String {
    let mut allocations = composite.find(&["rate_allocation"]).into_iter().flat_map(Node::items);
    let percent =
        allocations.find(|allocation| own(allocation, "policy") == name).map(|own_one| own(own_one, "percent"));
    match percent.filter(|percent| percent != "0") {
        Some(percent) => format!("{percent} % of them"),
        None if count == 1 => "all of them".to_owned(),
        None => format!("1/{count} of them"),
    }
}

fn type_of(policy: &Node) -> Option<Type> {
    let name = own(policy, "type");
    TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// Returns the text under `key` of a section.
fn own(node: &Node, key: &str) -> String {
    node.find(&[key]).map(text).unwrap_or_default().to_owned()
}

fn text_or(section: Option<&Node>, key: &str, default: &str) -> String {
    section.and_then(|section| section.find(&[key])).map_or(default, text).to_owned()
}

fn text(node: &Node) -> &str {
    match &node.value {
        NodeValue::Scalar(ScalarNode { text, .. }) => text,
        _ => "",
    }
}

fn is_true(section: Option<&Node>, key: &str, default: bool) -> bool {
    match text_or(section, key, "").to_lowercase().as_str() {
        "" => default,
        text => text == "true",
    }
}

/// Returns a whole number with commas; another text unchanged.
fn number(text: &str) -> String {
    text.replace('_', "").parse().map_or_else(|_| text.to_owned(), grouped)
}

/// Returns the texts as `a`, `a or b`, or `a, b or c`.
fn or(texts: &[String]) -> String {
    series(texts, "or")
}

fn series(texts: &[String], word: &str) -> String {
    match texts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

/// Returns the items of the list `key`, each quoted.
fn quoted(section: Option<&Node>, key: &str) -> Vec<String> {
    let items = section.and_then(|section| section.find(&[key])).into_iter().flat_map(Node::items);
    let mut quoted: Vec<String> = items.map(|item| format!("`{}`", text(item))).collect();
    let more = quoted.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        quoted.truncate(LISTED_MAX);
        quoted.push(format!("{more} more"));
    }
    quoted
}

/// Items of a list that a sentence names. The others are counted.
const LISTED_MAX: usize = 20;
