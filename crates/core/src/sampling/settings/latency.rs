//! `latency`: of the whole trace, of single spans, and compared with its like.

use std::time::Duration;

use super::keyed;
use super::{KeyField, KeySpan, Percentile, Rule};
use crate::condition::settings::searched;
use crate::condition::{Check, Condition, Field, Number, Range, RangeBound};
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{ByHand, Choice, NestedKeys, Percent, WholeNumber};
use crate::settings::reader::Section;
use crate::settings::setting::{Preset, Shape};
use crate::settings::values;
use crate::settings::{Limit, keys};

/// Milliseconds in the Collector's range: signed, and never negative.
const LATENCY_MS: Limit<u64> = Limit { min: 0, max: i64::MAX as u64, why: "it is a number of milliseconds" };
const LATENCY_THRESHOLD_COUNT: Limit<usize> =
    Limit { min: 1, max: 64, why: "each span that is slow enough for one of them is compared with all" };
/// The number of sketches. A sketch of durations is larger than a count.
const SKETCH_COUNT: Limit<u64> =
    Limit { min: 1, max: 10_000, why: "the durations of each key are sketched in a few kilobytes" };

keys! {
    pub(super) fn latency_keys;
    /// Traces that took longer than this are kept. There is a warning if it is not below `decision_wait`, because the
    /// decision may then come before the trace is that slow. Optional with `percentile`.
    threshold_ms: milliseconds().or(Preset::Words("required, but see `percentile`"));
    /// Traces that took longer than this are not kept; 0: no bound.
    upper_threshold_ms: milliseconds().default(0);
    /// The duration that counts: of the `trace`, of a `root`, of `any_span`, or of `synchronous` spans.
    of: ByHand::like(&Choice::of("duration", &OF)).default("trace");
    /// Other thresholds for some services and routes. The first one that fits a span counts, and `threshold_ms` if none
    /// does. Not for `of: trace`.
    thresholds: NestedKeys(ByHand::list(Shape::Section, &LATENCY_THRESHOLD_COUNT).default("[]"), threshold_keys);
    /// In place of a fixed threshold: traces are kept whose entry span took longer than this share of those with the same
    /// key.
    percentile: ByHand::like(&Percent(PERCENTILES));
    /// With `percentile`: the fields by which traces are compared; see [keys](#keys).
    key: keyed::key_form().default("[service, route]");
    /// With `percentile`: the number of keys that are told apart; all others share one sketch.
    max_keys: ByHand::like(&WholeNumber::<u64>::within(SKETCH_COUNT)).default(DEFAULT_SKETCHES);
}

keys! {
    fn threshold_keys;
    /// The `service.name` of the span's resource.
    service: ByHand::of(Shape::Text("string"));
    /// The span's `http.route`, `rpc.method` or name. At least one of the two is required.
    route: ByHand::of(Shape::Text("string"));
    /// Spans that took longer than this are slow.
    threshold_ms: milliseconds().required();
}

fn milliseconds() -> ByHand {
    ByHand::like(&WholeNumber::<u64>::within(LATENCY_MS))
}

/// The duration that counts.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Trace,
    Root,
    AnySpan,
    Synchronous,
}

const OF: [(&str, Of); 4] =
    [("trace", Of::Trace), ("root", Of::Root), ("any_span", Of::AnySpan), ("synchronous", Of::Synchronous)];

/// A lower percentile would keep traces that are not slow; a higher one cannot be computed from a few traces.
const PERCENTILES: std::ops::RangeInclusive<f64> = 50.0..=99.99;

const DEFAULT_SKETCHES: usize = 500;

const NANOSECONDS_PER_MS: i64 = 1_000_000;

/// `Span.kind` in `trace.proto`.
const SERVER: i64 = 2;
const PRODUCER: i64 = 4;
const CONSUMER: i64 = 5;

pub(super) fn latency(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    if section.has("percentile") {
        return percentile(section, decision_wait);
    }
    let of = section.read("of", |node| values::choice(node, "duration", &OF)).unwrap_or(Of::Trace);
    let upper_threshold_ms = section.read("upper_threshold_ms", |node| values::integer(node, &LATENCY_MS)).unwrap_or(0);
    let thresholds = thresholds(&mut section, of, upper_threshold_ms, decision_wait);
    for key in ["key", "max_keys"] {
        refuse(&mut section, key, "belongs to `percentile`", "remove it, or write `percentile: 99`");
    }
    let threshold_ms = section.require("threshold_ms", |node| values::integer(node, &LATENCY_MS));
    let threshold_ms = threshold_ms?;
    check_bounds(&mut section, threshold_ms, upper_threshold_ms, decision_wait);
    if of == Of::Trace {
        return Some(Rule::Latency { threshold_ms, upper_threshold_ms });
    }
    let default = slower(threshold_ms, upper_threshold_ms);
    let slow = thresholds.into_iter().rev().fold(default, |others, threshold| {
        let own = slower(threshold.threshold_ms, upper_threshold_ms);
        let not_meant = Condition::Not(Box::new(threshold.meant.clone()));
        Condition::Any(vec![Condition::All(vec![own, threshold.meant]), Condition::All(vec![others, not_meant])])
    });
    Some(Rule::AnySpan(Condition::All(vec![slow, is_asked(of)])))
}

/// Reports bounds that cannot be met.
fn check_bounds(section: &mut Section<'_>, threshold_ms: u64, upper_threshold_ms: u64, decision_wait: Duration) {
    if let Some((_, node)) = section.entry("upper_threshold_ms")
        && (1..=threshold_ms).contains(&upper_threshold_ms)
    {
        let fault = SettingError::new("the policy keeps nothing: `upper_threshold_ms` is not above `threshold_ms`");
        section.error(node.at, fault.help("raise it, or write 0 for no upper bound"));
    }
    warn_of_short_wait(section, threshold_ms, decision_wait);
}

/// Warns of a threshold that a trace may not have reached when it is decided.
fn warn_of_short_wait(section: &mut Section<'_>, threshold_ms: u64, decision_wait: Duration) {
    if let Some((_, node)) = section.entry("threshold_ms")
        && Duration::from_millis(threshold_ms) >= decision_wait
    {
        let fault =
            SettingError::new("`decision_wait` runs from the first span: it can be over before a trace is this slow");
        let help = "make it longer than the threshold; till then, a slow trace is kept only if `rescue` still holds it";
        section.warn(node.at, fault.help(help));
    }
}

/// Returns the condition for the spans whose duration counts.
fn is_asked(of: Of) -> Condition {
    let root = || Condition::Not(Box::new(Condition::test(Field::ParentSpanId, Check::Present)));
    let kind = |min, max| {
        let bound = |kind| Some(RangeBound { at: Number::Int(kind), inclusive: true });
        Condition::test(Field::Kind, Check::Number(Range { min: bound(min), max: bound(max) }))
    };
    match of {
        Of::Trace | Of::AnySpan => Condition::Constant(true),
        Of::Root => root(),
        // A caller waits for the answer of a server. No caller waits until a message is consumed. A caller that waits for
        // an inner or a client span is a server or a root itself, or works after its own answer.
        Of::Synchronous => Condition::Any(vec![
            kind(SERVER, SERVER),
            Condition::All(vec![root(), Condition::Not(Box::new(kind(PRODUCER, CONSUMER)))]),
        ]),
    }
}

/// Returns the condition for durations above the threshold and up to the upper one (0: none), in whole milliseconds as
/// [`Rule::Latency`] counts.
fn slower(threshold_ms: u64, upper_threshold_ms: u64) -> Condition {
    let nanoseconds = |ms: u64| {
        let next_ms = i64::try_from(ms).unwrap_or(i64::MAX).saturating_add(1);
        Number::Int(next_ms.saturating_mul(NANOSECONDS_PER_MS))
    };
    let min = Some(RangeBound { at: nanoseconds(threshold_ms), inclusive: true });
    let max = (upper_threshold_ms != 0).then(|| RangeBound { at: nanoseconds(upper_threshold_ms), inclusive: false });
    Condition::test(Field::Duration, Check::Number(Range { min, max }))
}

/// One of `thresholds`.
struct LatencyThreshold {
    meant: Condition,
    threshold_ms: u64,
}

fn thresholds(
    section: &mut Section<'_>,
    of: Of,
    upper_threshold_ms: u64,
    decision_wait: Duration,
) -> Vec<LatencyThreshold> {
    let mut thresholds = Vec::new();
    for node in section.items("thresholds", &LATENCY_THRESHOLD_COUNT).unwrap_or_default() {
        let Some(mut section) = section.item("thresholds", node) else { continue };
        section.refuse_unknown(&[]);
        let Some(threshold) = threshold(&mut section) else { continue };
        warn_of_short_wait(&mut section, threshold.threshold_ms, decision_wait);
        warn_of_empty_range(&mut section, threshold.threshold_ms, upper_threshold_ms);
        thresholds.push(threshold);
    }
    if of == Of::Trace {
        let why = "needs the duration of a span: a trace has many services and routes";
        refuse(section, "thresholds", why, "write `of: root`, `of: any_span` or `of: synchronous`");
    }
    thresholds
}

/// Warns of a threshold of some spans that is not below the upper bound of all spans.
fn warn_of_empty_range(section: &mut Section<'_>, threshold_ms: u64, upper_threshold_ms: u64) {
    if let Some((_, node)) = section.entry("threshold_ms")
        && (1..=threshold_ms).contains(&upper_threshold_ms)
    {
        let fault = SettingError::new("nothing matches here: the threshold is not below `upper_threshold_ms`");
        section.warn(node.at, fault.help(format!("write less than {upper_threshold_ms}, or raise the upper bound")));
    }
}

fn threshold(section: &mut Section<'_>) -> Option<LatencyThreshold> {
    let service = section.read("service", searched);
    let route = section.read("route", searched);
    if !(section.has("service") || section.has("route")) {
        let fault = SettingError::new("the threshold has neither `service` nor `route`");
        section.error(section.at(), fault.help("write one of them or both"));
    }
    let threshold_ms = section.require("threshold_ms", |node| values::integer(node, &LATENCY_MS))?;
    let is = |field, text: &String| Condition::test(field, Check::OneOf(vec![text.clone()]));
    let mut meant = Vec::new();
    meant.extend(service.iter().map(|service| is(Field::ResourceAttribute("service.name".into()), service)));
    meant.extend(route.iter().map(|route| {
        let attributes = ["http.route", "rpc.method"].map(|key| is(Field::SpanAttribute(key.into()), route));
        Condition::Any(attributes.into_iter().chain([is(Field::Name, route)]).collect())
    }));
    Some(LatencyThreshold { meant: Condition::All(meant), threshold_ms })
}

fn percentile(mut section: Section<'_>, decision_wait: Duration) -> Option<Rule> {
    for key in ["of", "thresholds", "upper_threshold_ms"] {
        refuse(
            &mut section,
            key,
            "has no place beside `percentile`",
            "remove it: the durations of entry spans are compared",
        );
    }
    let percentile = section.read("percentile", |node| values::percentage_within(node, &PERCENTILES));
    let threshold_ms = section.read("threshold_ms", |node| values::integer(node, &LATENCY_MS)).unwrap_or(0);
    warn_of_short_wait(&mut section, threshold_ms, decision_wait);
    let key = keyed::trace_key(&mut section, &[KeyField::Service, KeyField::Route], KeySpan::Entry);
    let max_keys = keyed::max_keys(&mut section, &SKETCH_COUNT, DEFAULT_SKETCHES);
    Some(Rule::Percentile(Percentile { percentile: percentile?, key, threshold_ms, max_keys }))
}

fn refuse(section: &mut Section<'_>, key: &str, why: &str, help: &str) {
    if let Some((at, _)) = section.entry(key) {
        section.error(at, SettingError::new(format!("`{key}` {why}")).help(help));
    }
}
