//! `tail_sampling.policies`: flat entries of a name, a type and the section of that type.

use std::collections::HashMap;
use std::time::Duration;

use crate::condition::Condition;
use crate::config::document::Node;
use crate::config::limits::{LATENCY_MS, STATUS_CODE_COUNT};
use crate::config::problem::{Fault, quote};
use crate::config::section::Section;
use crate::config::settings::{Policy, Rule};
use crate::config::values;

#[derive(Clone, Copy, PartialEq)]
enum Type {
    AlwaysSample,
    Error,
    Latency,
    Probabilistic,
    StatusCode,
}

const TYPES: [(&str, Type); 5] = [
    ("always_sample", Type::AlwaysSample),
    ("error", Type::Error),
    ("latency", Type::Latency),
    ("probabilistic", Type::Probabilistic),
    ("status_code", Type::StatusCode),
];

/// What else the Collector has (opentelemetry-collector-contrib `processor/tailsamplingprocessor/config.go`).
const UNSUPPORTED_TYPES: [&str; 13] = [
    "and",
    "boolean_attribute",
    "bytes_limiting",
    "composite",
    "drop",
    "not",
    "numeric_attribute",
    "ottl_condition",
    "rate_limiting",
    "span_count",
    "string_attribute",
    "trace_flags",
    "trace_state",
];

/// With their numbers in `trace.proto`.
const STATUS_CODES: [(&str, i64); 3] = [("OK", 1), ("ERROR", 2), ("UNSET", 0)];

pub(super) fn policies(section: &mut Section<'_>, nodes: &[&Node], decision_wait: Duration) -> Vec<Policy> {
    let mut policies = Vec::with_capacity(nodes.len());
    let mut lines = HashMap::new();
    for node in nodes {
        let Some(mut section) = section.item("policies", node) else { continue };
        let name = section.require("name", values::policy_name);
        if let Some(((_, node), name)) = section.entry("name").zip(name.clone())
            && let Some(line) = lines.insert(name.clone(), node.at.line)
        {
            let fault = Fault::new(format!("the policy name {} is given twice", quote(&name)));
            section.error(node.at, fault.help(format!("it stands on line {line} as well: names are metric labels")));
        }
        let rule = rule(&mut section, decision_wait);
        policies.extend(name.zip(rule).map(|(name, rule)| Policy { name, rule }));
    }
    policies
}

fn rule(section: &mut Section<'_>, decision_wait: Duration) -> Option<Rule> {
    section.refuse_unknown(&[UNSUPPORTED_TYPES.as_slice(), &["always_sample"]].concat());
    let kind =
        section.require("type", |node| values::supported_choice(node, "policy type", &TYPES, &UNSUPPORTED_TYPES))?;
    refuse_other_sections(section, kind);
    match kind {
        Type::AlwaysSample => Some(Rule::AlwaysSample),
        Type::Error => error(section),
        Type::Latency => latency(require_section(section, "latency", "{threshold_ms: 1000}")?, decision_wait),
        Type::Probabilistic => probabilistic(require_section(section, "probabilistic", "{sampling_percentage: 5}")?),
        Type::StatusCode => status_code(require_section(section, "status_code", "{status_codes: [ERROR]}")?),
    }
}

/// A section of another type says that something else was meant. `always_sample` has none.
fn refuse_other_sections(section: &mut Section<'_>, kind: Type) {
    let others = TYPES.iter().filter(|(_, other)| *other != kind || *other == Type::AlwaysSample);
    let others = others.map(|(name, _)| *name).chain(UNSUPPORTED_TYPES);
    for name in others {
        if let Some((at, _)) = section.entry(name) {
            let own = TYPES.iter().find(|(_, own)| *own == kind).map_or("", |(name, _)| name);
            let fault = Fault::new(format!("a policy of type `{own}` has no section `{name}`"));
            section.error(at, fault.help("remove it, or change the type"));
        }
    }
}

fn require_section<'b>(section: &'b mut Section<'_>, key: &str, example: &str) -> Option<Section<'b>> {
    let is_empty = section.entry(key).is_some_and(|(_, node)| node.is_null());
    if is_empty || !section.has(key) {
        let fault = Fault::new(format!("a policy of type `{key}` needs the section `{key}`"));
        section.error(section.at(), fault.help(format!("write `{key}: {example}`")));
    }
    section.section(key)
}

fn error(section: &mut Section<'_>) -> Option<Rule> {
    let at = section.at();
    let (mut status, mut http, mut rpc) = (true, true, true);
    if let Some(mut section) = section.section("error") {
        section.set("status", &mut status, values::boolean);
        section.set("http", &mut http, values::boolean);
        section.set("rpc", &mut rpc, values::boolean);
    }
    if !(status || http || rpc) {
        section.error(at, Fault::new("the policy keeps nothing: all its parts are off").help("switch one on"));
    }
    Some(Rule::AnySpan(Condition::failed(status, http, rpc)))
}

fn latency(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    let threshold_ms = section.require("threshold_ms", |node| values::integer(node, &LATENCY_MS));
    let mut upper_threshold_ms = 0;
    section.set("upper_threshold_ms", &mut upper_threshold_ms, |node| values::integer(node, &LATENCY_MS));
    let threshold_ms = threshold_ms?;
    if let Some((_, node)) = section.entry("upper_threshold_ms")
        && (1..=threshold_ms).contains(&upper_threshold_ms)
    {
        let fault = Fault::new("the policy keeps nothing: `upper_threshold_ms` is not above `threshold_ms`");
        section.error(node.at, fault.help("raise it, or write 0 for no upper bound"));
    }
    if let Some((_, node)) = section.entry("threshold_ms")
        && Duration::from_millis(threshold_ms) >= decision_wait
    {
        let fault = Fault::new("`decision_wait` runs from the first span: it can be over before a trace is this slow");
        let help = "make it longer than the threshold; till then, a slow trace is kept only if `rescue` still holds it";
        section.warn(node.at, fault.help(help));
    }
    Some(Rule::Latency { threshold_ms, upper_threshold_ms })
}

fn probabilistic(mut section: Section<'_>) -> Option<Rule> {
    if let Some((at, _)) = section.entry("hash_salt") {
        let fault = Fault::new("`hash_salt` has no effect");
        section.warn(at, fault.help("the ratio depends on the trace id alone, the same on every instance: remove it"));
    }
    let sampling_percentage = section.require("sampling_percentage", values::percentage)?;
    Some(Rule::Probabilistic { sampling_percentage })
}

fn status_code(mut section: Section<'_>) -> Option<Rule> {
    if !section.has("status_codes") {
        section
            .error(section.at(), Fault::new("the key `status_codes` is missing").help("write `status_codes: [ERROR]`"));
    }
    let mut status_codes = Vec::new();
    section.set_list("status_codes", &STATUS_CODE_COUNT, &mut status_codes, |node| {
        values::choice(node, "status code", &STATUS_CODES)
    });
    Some(Rule::AnySpan(Condition::Any(status_codes.into_iter().map(Condition::status).collect())))
}
