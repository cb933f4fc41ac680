//! Policies that tell traces apart by a key: `adaptive`, `rare`, `budget` and `identical_errors`.

use std::time::Duration;

use super::condition::failed;
use super::policy::warn_of_fraction;
use crate::condition::Condition;
use crate::config::limits::{
    ADJUSTMENT_INTERVAL, DOLLARS_PER_MILLION_SPANS, DOLLARS_PER_MONTH, GOAL_SPANS_PER_SECOND, IDENTICAL_ERRORS_FIRST,
    IDENTICAL_ERRORS_WINDOW, KEY_COUNT, KEY_FIELD_COUNT, LOOKBACK, Limit, SPANS_PER_MONTH, TRACES_PER_MINUTE, WEIGHT,
};
use crate::config::settings::{
    Adaptive, Budget, Goal, IdenticalErrors, KeyField, KeySpan, Rare, Rule, TraceKey, TrafficMemory,
};
use crate::config::values::{self, Read};
use crate::settings::fault::Fault;
use crate::settings::node::Node;
use crate::settings::reader::Section;

const DEFAULT_KEYS: usize = 1_000;
/// Half of what is remembered is the last interval.
const DEFAULT_WEIGHT: f64 = 0.5;
const DEFAULT_ADJUSTMENT_INTERVAL: Duration = Duration::from_secs(15);
const DEFAULT_ERRORS_FIRST: u32 = 10;
const DEFAULT_ERRORS_WINDOW: Duration = Duration::from_secs(60);
const DEFAULT_ERRORS_PERCENTAGE: f64 = 10.0;

/// A ratio of none would make a goal of nothing.
const GOAL_PERCENTAGES: std::ops::RangeInclusive<f64> = 0.0001..=100.0;

/// Cloud Trace's price and what is free in a month (cloud.google.com/stackdriver/pricing, "Cloud Trace").
const CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS: f64 = 0.20;
const CLOUD_TRACE_FREE_SPANS_PER_MONTH: f64 = 2_500_000.0;

pub(super) fn adaptive(mut section: Section<'_>) -> Option<Rule> {
    let goal = exactly_one(&mut section, ["goal_percentage", "goal_spans_per_second"], |section, key| match key {
        "goal_percentage" => {
            let percentage = section.read(key, |node| values::percentage_within(node, &GOAL_PERCENTAGES))?;
            warn_of_fraction(section, key, percentage);
            Some(Goal::Percentage(percentage))
        }
        _ => section.read(key, |node| values::decimal(node, &GOAL_SPANS_PER_SECOND)).map(Goal::SpansPerSecond),
    });
    let memory = traffic_memory(&mut section);
    let mut adjustment_interval = DEFAULT_ADJUSTMENT_INTERVAL;
    section.set("adjustment_interval", &mut adjustment_interval, |node| values::duration(node, &ADJUSTMENT_INTERVAL));
    let key = trace_key(&mut section, &[KeyField::Service, KeyField::Route], KeySpan::Entry);
    let max_keys = max_keys(&mut section, &KEY_COUNT, DEFAULT_KEYS);
    Some(Rule::Adaptive(Adaptive { key, goal: goal?, memory, adjustment_interval, max_keys }))
}

/// `weight` or `lookback`, but not both.
fn traffic_memory(section: &mut Section<'_>) -> TrafficMemory {
    if let (true, Some((at, _))) = (section.has("weight"), section.entry("lookback")) {
        let fault = Fault::new("`lookback` beside `weight`");
        section.error(at, fault.help("keep one: `weight` for a moving average, `lookback` for a plain one"));
    }
    match section.read("lookback", |node| values::duration(node, &LOOKBACK)) {
        Some(lookback) => TrafficMemory::Windowed(lookback),
        None => {
            let weight = section.read("weight", |node| values::decimal(node, &WEIGHT));
            TrafficMemory::Ema(weight.unwrap_or(DEFAULT_WEIGHT))
        }
    }
}

pub(super) fn rare(section: &mut Section<'_>) -> Option<Rule> {
    let key = vec![KeyField::Service, KeyField::Route, KeyField::Status];
    let mut rare =
        Rare { key: TraceKey { fields: key, of: KeySpan::Entry }, traces_per_minute: 1, max_keys: DEFAULT_KEYS };
    if let Some(mut section) = section.section("rare") {
        section.set("traces_per_minute", &mut rare.traces_per_minute, |node| count32(node, &TRACES_PER_MINUTE));
        rare.key = trace_key(&mut section, &rare.key.fields, KeySpan::Entry);
        rare.max_keys = max_keys(&mut section, &KEY_COUNT, rare.max_keys);
    }
    Some(Rule::Rare(rare))
}

pub(super) fn budget(mut section: Section<'_>) -> Option<Rule> {
    let mut price = CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS;
    section.set("dollars_per_million_spans", &mut price, |node| values::decimal(node, &DOLLARS_PER_MILLION_SPANS));
    if let (true, Some((at, _))) = (section.has("spans_per_month"), section.entry("dollars_per_million_spans")) {
        let fault = Fault::new("`dollars_per_million_spans` has no effect beside `spans_per_month`");
        section.warn(at, fault.help("remove it"));
    }
    let spans_per_month = exactly_one(&mut section, ["spans_per_month", "dollars_per_month"], |section, key| {
        if key == "spans_per_month" {
            return section.read(key, |node| values::decimal(node, &SPANS_PER_MONTH));
        }
        let dollars = section.read(key, |node| values::decimal(node, &DOLLARS_PER_MONTH))?;
        Some(CLOUD_TRACE_FREE_SPANS_PER_MONTH + dollars / price * 1e6)
    });
    let key = trace_key(&mut section, &[KeyField::Service, KeyField::Route], KeySpan::Entry);
    let max_keys = max_keys(&mut section, &KEY_COUNT, DEFAULT_KEYS);
    Some(Rule::Budget(Budget { spans_per_month: spans_per_month?, key, max_keys }))
}

pub(super) fn identical_errors(section: &mut Section<'_>) -> Option<Rule> {
    let fields = vec![KeyField::Service, KeyField::Name, KeyField::Exception];
    let mut rule = IdenticalErrors {
        condition: Condition::failed(true, true, true),
        key: TraceKey { fields, of: KeySpan::Error },
        first: DEFAULT_ERRORS_FIRST,
        window: DEFAULT_ERRORS_WINDOW,
        sampling_percentage: DEFAULT_ERRORS_PERCENTAGE,
        max_keys: DEFAULT_KEYS,
    };
    if let Some(mut section) = section.section("identical_errors") {
        rule.condition = failed(&mut section);
        section.set("first", &mut rule.first, |node| count32(node, &IDENTICAL_ERRORS_FIRST));
        section.set("window", &mut rule.window, |node| values::duration(node, &IDENTICAL_ERRORS_WINDOW));
        section.set("sampling_percentage", &mut rule.sampling_percentage, values::percentage);
        warn_of_fraction(&mut section, "sampling_percentage", rule.sampling_percentage);
        rule.key = trace_key(&mut section, &rule.key.fields, KeySpan::Error);
        rule.max_keys = max_keys(&mut section, &KEY_COUNT, rule.max_keys);
    }
    Some(Rule::IdenticalErrors(rule))
}

/// The value of the one key of two that is written.
fn exactly_one<T>(
    section: &mut Section<'_>,
    keys: [&str; 2],
    read: impl Fn(&mut Section<'_>, &str) -> Option<T>,
) -> Option<T> {
    let [first, second] = keys;
    match (section.has(first), section.entry(second)) {
        (true, Some((at, _))) => {
            section.error(at, Fault::new(format!("`{second}` beside `{first}`")).help("keep one of the two"));
        }
        (false, None) if !section.has(second) => {
            let fault = Fault::new(format!("neither `{first}` nor `{second}` is written"));
            section.error(section.at(), fault.help("write one of them"));
        }
        _ => {}
    }
    keys.iter().filter_map(|key| read(section, key)).last()
}

/// `key`: what traces are told apart by.
pub(super) fn trace_key(section: &mut Section<'_>, default: &[KeyField], of: KeySpan) -> TraceKey {
    let mut fields = default.to_vec();
    section.set_list("key", &KEY_FIELD_COUNT, &mut fields, key_field);
    TraceKey { fields, of }
}

fn key_field(node: &Node) -> Read<KeyField> {
    let name = values::attribute_key(node)?;
    Ok(match name.as_str() {
        "service" => KeyField::Service,
        "route" => KeyField::Route,
        "status" => KeyField::Status,
        "name" => KeyField::Name,
        "exception" => KeyField::Exception,
        _ => KeyField::Attribute(name),
    })
}

/// `max_keys`: how many are told apart.
pub(super) fn max_keys(section: &mut Section<'_>, limit: &Limit<u64>, default: usize) -> usize {
    section.read("max_keys", |node| values::count(node, limit)).unwrap_or(default)
}

fn count32(node: &Node, limit: &Limit<u64>) -> Read<u32> {
    values::integer(node, limit).map(|count| count as u32)
}
