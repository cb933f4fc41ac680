//! Policies that tell traces apart by a key: `adaptive`, `rare`, `budget` and `identical_errors`.

use std::time::Duration;

use super::condition::failed;
use super::policy::warn_of_fraction;
use super::{Adaptive, BudgetPolicy, Goal, IdenticalErrors, KeyField, KeySpan, Rare, Rule, TraceKey, TrafficMemory};
use crate::condition::Condition;
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{Bool, ByHand, Decimal, DurationKind, Percent, WholeNumber};
use crate::settings::node::Node;
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::units::display_duration;
use crate::settings::values::{self, Read};
use crate::settings::{Limit, keys};

const KEY_FIELD_COUNT: Limit<usize> = Limit { min: 1, max: 8, why: "each field is looked up in every trace" };
const KEY_COUNT: Limit<u64> =
    Limit { min: 1, max: 100_000, why: "the state of each key is held in memory, some hundred bytes" };
const ADJUSTMENT_INTERVAL: Limit<Duration> = Limit {
    min: Duration::from_secs(1),
    max: Duration::from_secs(3600),
    why: "ratios follow the traffic, and a shorter time sees too little of it",
};
const WEIGHT: Limit<f64> =
    Limit { min: 0.01, max: 1.0, why: "it is the part of the last interval in what is remembered" };
const LOOKBACK: Limit<Duration> = Limit {
    min: Duration::from_secs(1),
    max: Duration::from_secs(3600),
    why: "counts of this much time are held for each key",
};
const GOAL_SPANS_PER_SECOND: Limit<f64> =
    Limit { min: 0.001, max: 1e9, why: "some spans must be left, and no process exports more" };
const TRACES_PER_MINUTE: Limit<u64> =
    Limit { min: 1, max: 60_000, why: "more traces of a key are not a sample of rare ones" };
const SPANS_PER_MONTH: Limit<f64> =
    Limit { min: 1.0, max: 1e15, why: "some spans must be left, and no process exports more" };
const DOLLARS_PER_MONTH: Limit<f64> = Limit { min: 0.0, max: 1e9, why: "it is an amount of money" };
const DOLLARS_PER_MILLION_SPANS: Limit<f64> =
    Limit { min: 0.001, max: 1000.0, why: "it is a price; where spans are free, no budget is needed" };
const IDENTICAL_ERRORS_FIRST: Limit<u64> =
    Limit { min: 1, max: 1_000_000, why: "at least one error of a kind must be seen" };
const IDENTICAL_ERRORS_WINDOW: Limit<Duration> = Limit {
    min: Duration::from_secs(1),
    max: Duration::from_secs(86_400),
    why: "an error that comes back on another day is news",
};

/// Returns the form of `key`.
pub(super) fn key_form() -> ByHand {
    ByHand::list(Shape::Text("string"), &KEY_FIELD_COUNT)
}

fn max_keys_form() -> ByHand {
    ByHand::like(&WholeNumber::<u64>::within(KEY_COUNT)).default(DEFAULT_KEYS)
}

keys! {
    pub(super) fn adaptive_keys;
    /// The part of all traces that is kept.
    goal_percentage: ByHand::like(&Percent(GOAL_PERCENTAGES));
    /// In place of it: the spans that are kept in a second, on each instance. Exactly one of the two is required.
    goal_spans_per_second: ByHand::like(&Decimal(GOAL_SPANS_PER_SECOND));
    /// The fields that tell traces apart; see [keys](#keys).
    key: key_form().default("[service, route]");
    /// Traffic is remembered as a moving average, in which the last interval has this weight.
    weight: ByHand::like(&Decimal(WEIGHT)).default(DEFAULT_WEIGHT);
    /// In place of `weight`: traffic is remembered as the plain average of this much time.
    lookback: ByHand::like(&DurationKind(LOOKBACK));
    /// The time after which the ratios are made anew.
    adjustment_interval: ByHand::like(&DurationKind(ADJUSTMENT_INTERVAL)).default(display_duration(DEFAULT_ADJUSTMENT_INTERVAL));
    /// The number of keys that are told apart; all others share one ratio.
    max_keys: max_keys_form();
}

keys! {
    pub(super) fn rare_keys;
    /// Traces of each key in each minute.
    traces_per_minute: ByHand::like(&WholeNumber::<u64>::within(TRACES_PER_MINUTE)).default(DEFAULT_TRACES_PER_MINUTE);
    /// The fields that tell traces apart; see [keys](#keys).
    key: key_form().default("[service, route, status]");
    /// The number of keys that are told apart; traces with other keys are not kept by this policy.
    max_keys: max_keys_form();
}

keys! {
    pub(super) fn budget_keys;
    /// Spans in 30 days, on each instance.
    spans_per_month: ByHand::like(&Decimal(SPANS_PER_MONTH));
    /// In place of it: dollars, at Cloud Trace's price; 2.5 million spans a month are free. Exactly one of the two is
    /// required.
    dollars_per_month: ByHand::like(&Decimal(DOLLARS_PER_MONTH));
    /// The price, if it is not Cloud Trace's.
    dollars_per_million_spans: ByHand::like(&Decimal(DOLLARS_PER_MILLION_SPANS)).default("0.20");
    /// The fields that tell traces apart; see [keys](#keys).
    key: key_form().default("[service, route]");
    /// The number of keys that are told apart; all others share one ratio.
    max_keys: max_keys_form();
}

keys! {
    pub(super) fn identical_errors_keys;
    /// As for `error`.
    status: ByHand::like(&Bool).default(true);
    /// As for `error`.
    http: ByHand::like(&Bool).default(true);
    /// As for `error`.
    rpc: ByHand::like(&Bool).default(true);
    /// The number of errors of a kind that are kept in each window.
    first: ByHand::like(&WholeNumber::<u64>::within(IDENTICAL_ERRORS_FIRST)).default(DEFAULT_ERRORS_FIRST);
    /// The length of the window.
    window: ByHand::like(&DurationKind(IDENTICAL_ERRORS_WINDOW)).default("60s");
    /// The ratio of the errors after the first ones. Each that is kept counts for the others.
    sampling_percentage: ByHand::like(&Percent(0.0..=100.0)).default(DEFAULT_ERRORS_PERCENTAGE);
    /// The fields in which errors of a kind are alike.
    key: key_form().default("[service, name, exception]");
    /// The number of kinds that are told apart. Errors of other kinds are all kept, and so are errors without a span of
    /// status ERROR.
    max_keys: max_keys_form();
}

const DEFAULT_KEYS: usize = 1_000;
pub(super) const DEFAULT_TRACES_PER_MINUTE: u32 = 1;
/// The last interval has half of the weight.
const DEFAULT_WEIGHT: f64 = 0.5;
const DEFAULT_ADJUSTMENT_INTERVAL: Duration = Duration::from_secs(15);
pub(super) const DEFAULT_ERRORS_FIRST: u32 = 10;
pub(super) const DEFAULT_ERRORS_WINDOW: Duration = Duration::from_secs(60);
pub(super) const DEFAULT_ERRORS_PERCENTAGE: f64 = 10.0;

/// A goal of 0 would keep nothing.
const GOAL_PERCENTAGES: std::ops::RangeInclusive<f64> = 0.0001..=100.0;

/// Cloud Trace's price and the spans that are free in a month (cloud.google.com/stackdriver/pricing, "Cloud Trace").
pub const CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS: f64 = 0.20;
const CLOUD_TRACE_FREE_SPANS_PER_MONTH: f64 = 2_500_000.0;

/// Returns the price of so many spans a month in Cloud Trace, in dollars.
#[must_use]
pub fn cloud_trace_dollars(spans_per_month: f64) -> f64 {
    (spans_per_month - CLOUD_TRACE_FREE_SPANS_PER_MONTH).max(0.0) / 1e6 * CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS
}

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

/// Reads `weight` or `lookback`, but not both.
fn traffic_memory(section: &mut Section<'_>) -> TrafficMemory {
    if let (true, Some((at, _))) = (section.has("weight"), section.entry("lookback")) {
        let fault = SettingError::new("`lookback` beside `weight`");
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
    let mut rare = Rare {
        key: TraceKey { fields: key, of: KeySpan::Entry },
        traces_per_minute: DEFAULT_TRACES_PER_MINUTE,
        max_keys: DEFAULT_KEYS,
    };
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
        let fault = SettingError::new("`dollars_per_million_spans` has no effect beside `spans_per_month`");
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
    Some(Rule::Budget(BudgetPolicy { spans_per_month: spans_per_month?, key, max_keys }))
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

/// Returns the value of the only key of two that is written.
fn exactly_one<T>(
    section: &mut Section<'_>,
    keys: [&str; 2],
    read: impl Fn(&mut Section<'_>, &str) -> Option<T>,
) -> Option<T> {
    let [first, second] = keys;
    match (section.has(first), section.entry(second)) {
        (true, Some((at, _))) => {
            section.error(at, SettingError::new(format!("`{second}` beside `{first}`")).help("keep one of the two"));
        }
        (false, None) if !section.has(second) => {
            let fault = SettingError::new(format!("neither `{first}` nor `{second}` is written"));
            section.error(section.at(), fault.help("write one of them"));
        }
        _ => {}
    }
    keys.iter().filter_map(|key| read(section, key)).last()
}

/// Reads `key`, the fields that tell traces apart.
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

/// Reads `max_keys`, the number of keys that are told apart.
pub(super) fn max_keys(section: &mut Section<'_>, limit: &Limit<u64>, default: usize) -> usize {
    section.read("max_keys", |node| values::count(node, limit)).unwrap_or(default)
}

fn count32(node: &Node, limit: &Limit<u64>) -> Read<u32> {
    values::integer(node, limit).map(|count| count as u32)
}
