//! Policies that keep a trace for one of its spans: their sections become a [`Condition`].

use super::{Policy, Rule};
use crate::condition::logic::Effort;
use crate::condition::ottl::{self, OttlError};
use crate::condition::settings::{self, searched};
use crate::condition::{Check, Condition, Field, Number, Pattern, Range, RangeBound};
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{ATTRIBUTE_KEY, Bool, ByHand, WholeNumber};
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::values;
use crate::settings::{Limit, keys};

const STATUS_CODE_COUNT: Limit<usize> = Limit { min: 1, max: 16, why: "there are three codes" };
/// The number of values that spans are searched for. The Collector accepts an empty list as well.
const VALUE_COUNT: Limit<usize> = Limit { min: 0, max: 10_000, why: "each value is compared with those of spans" };
/// The size of the Collector's cache for results of regular expressions.
const REGEX_CACHE_SIZE: Limit<u64> = Limit { min: 0, max: i64::MAX as u64, why: "it is a number of entries" };
/// Steps of the search for a span that fulfils an OTTL condition. One that needs more is not judged.
const CONDITION_STEPS: usize = 20_000;
const OTTL_CONDITION_COUNT: Limit<usize> = Limit { min: 1, max: 64, why: "each condition is asked of every span" };

keys! {
    pub(super) fn error_keys;
    /// Spans with status ERROR.
    status: ByHand::like(&Bool).default(true);
    /// Spans with an `http.response.status_code` or `http.status_code` of 500 or more.
    http: ByHand::like(&Bool).default(true);
    /// Spans with an `rpc.grpc.status_code` or `rpc.response.status_code` that stands for a fault of the server.
    rpc: ByHand::like(&Bool).default(true);
}

keys! {
    pub(super) fn status_code_keys;
    /// `OK`, `ERROR`, `UNSET`.
    status_codes: ByHand::list(Shape::Choice(STATUS_CODES.iter().map(|(name, _)| *name).collect()), &STATUS_CODE_COUNT).required();
}

keys! {
    pub(super) fn string_attribute_keys;
    /// The attribute.
    key: ByHand::like(&ATTRIBUTE_KEY).required();
    /// Values or regular expressions, one of which must match. An empty string matches nothing, and an attribute that is
    /// empty is not matched.
    values: ByHand::list(Shape::Text("string"), &VALUE_COUNT).required();
    /// True if the values are regular expressions, as Go and the Collector read them (RE2's syntax). They are not anchored:
    /// `/live` is found in `/api/livestock`, so write `^/live$`.
    enabled_regex_matching: ByHand::like(&Bool).default(false);
    /// No effect, with a warning: matching needs no cache.
    cache_max_size: ByHand::like(&WholeNumber::<u64>::within(REGEX_CACHE_SIZE));
    /// Keeps a trace if no span and no resource of it matches, also if none has the attribute.
    invert_match: ByHand::like(&Bool).default(false);
}

keys! {
    pub(super) fn numeric_attribute_keys;
    /// The attribute.
    key: ByHand::like(&ATTRIBUTE_KEY).required();
    /// The least value that matches; 0 is a bound, too.
    min_value: ByHand::of(Shape::Number(f64::MIN, f64::MAX));
    /// The greatest value that matches; 0 is a bound, too. At least one of the two bounds is required.
    max_value: ByHand::of(Shape::Number(f64::MIN, f64::MAX));
    /// Keeps a trace if no span and no resource of it matches, also if none has the attribute.
    invert_match: ByHand::like(&Bool).default(false);
}

keys! {
    pub(super) fn boolean_attribute_keys;
    /// The attribute.
    key: ByHand::like(&ATTRIBUTE_KEY).required();
    /// The value that matches.
    value: ByHand::like(&Bool).default(false);
    /// Keeps a trace if no span and no resource of it matches, also if none has the attribute.
    invert_match: ByHand::like(&Bool).default(false);
}

keys! {
    pub(super) fn trace_state_keys;
    /// The entry's key.
    key: ByHand::like(&ATTRIBUTE_KEY).required();
    /// Values, one of which the entry must have.
    values: ByHand::list(Shape::Text("string"), &VALUE_COUNT).required();
}

keys! {
    pub(super) fn ottl_keys;
    /// Conditions on a span ([ottl.md](ottl.md)).
    span: ByHand::list(Shape::Text("string"), &OTTL_CONDITION_COUNT);
    /// Conditions on an event of a span.
    spanevent: ByHand::list(Shape::Text("string"), &OTTL_CONDITION_COUNT);
    /// `ignore`, `silent` or `propagate`. All three mean the same, because a condition that could be read cannot fail: where
    /// a value has another type, it does not hold.
    error_mode: ByHand::of(Shape::AnyCase(ERROR_MODES.iter().map(|(name, ())| *name).collect()));
}

const ERROR_MODES: [(&str, ()); 3] = [("ignore", ()), ("silent", ()), ("propagate", ())];

/// Status codes, with their numbers in `trace.proto`.
const STATUS_CODES: [(&str, i64); 3] = [("OK", 1), ("ERROR", 2), ("UNSET", 0)];

/// The sampled flag (W3C trace context, "trace-flags").
const SAMPLED_FLAG: u32 = 1;

/// Reads the condition for failed spans: `status`, `http` and `rpc`, each unless it is switched off.
pub(super) fn failed(section: &mut Section<'_>) -> Condition {
    let (mut status, mut http, mut rpc) = (true, true, true);
    section.set("status", &mut status, values::boolean);
    section.set("http", &mut http, values::boolean);
    section.set("rpc", &mut rpc, values::boolean);
    if !(status || http || rpc) {
        let fault = SettingError::new("the policy keeps nothing: all its parts are off");
        section.error(section.at(), fault.help("switch one on"));
    }
    Condition::failed(status, http, rpc)
}

pub(super) fn error(section: &mut Section<'_>) -> Option<Rule> {
    let condition =
        section.section("error").map_or_else(|| Condition::failed(true, true, true), |mut s| failed(&mut s));
    Some(Rule::AnySpan(condition))
}

pub(super) fn trace_flags() -> Rule {
    Rule::AnySpan(Condition::test(Field::Flags, Check::HasBits(SAMPLED_FLAG)))
}

pub(super) fn status_code(mut section: Section<'_>) -> Option<Rule> {
    let codes = section.require_list("status_codes", "[ERROR]", &STATUS_CODE_COUNT, |node| {
        values::choice(node, "status code", &STATUS_CODES)
    });
    Some(Rule::AnySpan(Condition::Any(codes.into_iter().map(Condition::status).collect())))
}

pub(super) fn boolean_attribute(mut section: Section<'_>) -> Option<Rule> {
    let key = section.require("key", values::attribute_key);
    let value = section.read("value", values::boolean).unwrap_or(false);
    let is_inverted = is_inverted(&mut section);
    Some(any_span(Condition::test(Field::Attribute(key?), Check::Bool(value)), is_inverted))
}

/// Reads a policy for integers and doubles within a range. A bound that is written counts, also 0.
pub(super) fn numeric_attribute(mut section: Section<'_>) -> Option<Rule> {
    let key = section.require("key", values::attribute_key);
    let min = section.read("min_value", settings::number);
    let max = section.read("max_value", settings::number);
    if !(section.has("min_value") || section.has("max_value")) {
        let fault = SettingError::new("`numeric_attribute` has neither `min_value` nor `max_value`");
        section.error(section.at(), fault.help("write at least one of them"));
    }
    if let Some((_, node)) = section.entry("max_value")
        && let (Some(min), Some(max)) = (min, max)
        && approximate(max) < approximate(min)
    {
        let fault = SettingError::new("the policy matches nothing: `max_value` is below `min_value`");
        section.error(node.at, fault.help("raise it, or leave one of them out"));
    }
    let bound = |at| RangeBound { at, inclusive: true };
    let range = Range { min: min.map(bound), max: max.map(bound) };
    let is_inverted = is_inverted(&mut section);
    Some(any_span(Condition::test(Field::Attribute(key?), Check::Number(range)), is_inverted))
}

fn approximate(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    }
}

pub(super) fn string_attribute(mut section: Section<'_>) -> Option<Rule> {
    let key = section.require("key", values::attribute_key);
    let mut is_regex = false;
    section.set("enabled_regex_matching", &mut is_regex, values::boolean);
    let checks = if is_regex {
        let patterns = section.require_list("values", "['^/api/.*']", &VALUE_COUNT, settings::pattern);
        patterns.into_iter().map(found_in_text).collect()
    } else {
        let mut texts = section.require_list("values", "[/checkout]", &VALUE_COUNT, searched);
        // An empty string matches nothing, as in the Collector.
        texts.retain(|text| !text.is_empty());
        texts.sort_unstable();
        vec![Check::OneOf(texts)]
    };
    if is_regex {
        warn_of_pattern_for_all(&mut section);
    }
    warn_of_no_values(&mut section);
    section.read("cache_max_size", |node| values::integer(node, &REGEX_CACHE_SIZE));
    if let Some((at, _)) = section.entry("cache_max_size") {
        let fault = SettingError::new("`cache_max_size` has no effect");
        section.warn(at, fault.help("matching takes time linear in the value and needs no cache: remove it"));
    }
    let is_inverted = is_inverted(&mut section);
    let field = Field::Attribute(key?);
    let tests = checks.into_iter().map(|check| Condition::test(field.clone(), check));
    Some(any_span(Condition::Any(tests.collect()), is_inverted))
}

/// Returns the check that the pattern is found in a string that is not empty. As in the Collector, an empty string matches
/// nothing.
fn found_in_text(pattern: Pattern) -> Check {
    if !pattern.is_match(b"") {
        return Check::Matches(pattern);
    }
    let one = Range { min: Some(RangeBound { at: Number::Int(1), inclusive: true }), max: None };
    Check::All(vec![Check::Length(one), Check::Matches(pattern)])
}

/// Warns of a regular expression that is found in every value, such as `.*`.
fn warn_of_pattern_for_all(section: &mut Section<'_>) {
    let Some((_, values)) = section.entry("values") else { return };
    let key = section.entry("key").and_then(|(_, node)| values::text("", node).ok()).unwrap_or("key");
    for node in values.items() {
        if values::text("", node).is_ok_and(Pattern::finds_everything) {
            let fault = SettingError::new("the regular expression is found in every value");
            let help = format!(
                "write the part that counts, such as `^/api/`; for any value use `ottl_condition` with `attributes[\"{key}\"] != nil`"
            );
            section.warn(node.at, fault.help(help));
        }
    }
}

/// Warns of an empty list, which the Collector accepts and which matches nothing.
fn warn_of_no_values(section: &mut Section<'_>) {
    if let Some((at, node)) = section.entry("values")
        && node.items().next().is_none()
    {
        let fault = SettingError::new("`values` is empty: nothing matches");
        section.warn(at, fault.help("write values, or take the policy out"));
    }
}

pub(super) fn trace_state(mut section: Section<'_>) -> Option<Rule> {
    let key = section.require("key", values::attribute_key);
    let mut texts = section.require_list("values", "[x]", &VALUE_COUNT, searched);
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    warn_of_no_values(&mut section);
    Some(Rule::AnySpan(Condition::test(Field::TraceStateEntry(key?), Check::OneOf(texts))))
}

/// Reads a policy with conditions on spans and on their events, one of which must hold.
pub(super) fn ottl(mut section: Section<'_>) -> Option<Rule> {
    if !(section.has("span") || section.has("spanevent")) {
        let fault = SettingError::new("`ottl_condition` has neither `span` nor `spanevent`");
        section.error(section.at(), fault.help("write `span: ['name == \"checkout\"']`"));
    }
    let mut conditions = ottl_conditions(&mut section, "span", ottl::span_condition);
    conditions.extend(ottl_conditions(&mut section, "spanevent", ottl::event_condition));
    section.read("error_mode", |node| values::choice_in_any_case(node, "error mode", &ERROR_MODES));
    Some(Rule::AnySpan(Condition::Any(conditions)))
}

fn ottl_conditions(
    section: &mut Section<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<Condition, OttlError>,
) -> Vec<Condition> {
    let nodes = section.items(key, &OTTL_CONDITION_COUNT).unwrap_or_default();
    let mut conditions = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(condition) = settings::condition(section, node, &parse) else { continue };
        if condition.finds_everything() {
            let fault = SettingError::new("OTTL: the regular expression is found in every value");
            section
                .warn(node.at, fault.help("write the part that counts, such as `^/api/`; for any value use `!= nil`"));
        }
        if !condition.can_hold(&mut Effort::of(CONDITION_STEPS)) {
            let fault = SettingError::new("OTTL: the condition contradicts itself: no trace can match it");
            section.warn(
                node.at,
                fault.help("one and the same span must fulfil all of it: write `or`, or several conditions"),
            );
        }
        conditions.push(condition);
    }
    conditions
}

/// Returns the rule that keeps a trace with a span for which `condition` holds, or if inverted, a trace without one.
fn any_span(condition: Condition, is_inverted: bool) -> Rule {
    let rule = Rule::AnySpan(condition);
    if is_inverted { Rule::Not(Box::new(Policy::new("", rule))) } else { rule }
}

fn is_inverted(section: &mut Section<'_>) -> bool {
    section.read("invert_match", values::boolean).unwrap_or(false)
}
