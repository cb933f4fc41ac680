//! The section `span_metrics` of the configuration.

use std::time::Duration;

use super::label::label_name;
use crate::condition::ottl;
use crate::condition::settings::condition;
use crate::condition::{Check, Condition, Field, Number, Range, RangeBound, Test};
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{ATTRIBUTE_KEY, Bool, ByHand, Choice, DurationKind, Items, List, ParsedText, WholeNumber};
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::values;
use crate::settings::{Limit, keys, section};

/// The labels that every series has.
pub(super) const LABELS: [&str; 4] = ["service_name", "span_name", "span_kind", "status_code"];

/// Other labels that the exposition needs.
const RESERVED: [&str; 2] = ["le", "otel_metric_overflow"];

/// The buckets of the Collector's connector, in milliseconds.
const BUCKETS_MS: [u64; 16] = [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1_000, 1_400, 2_000, 5_000, 10_000, 15_000];

const BUCKET_COUNT: Limit<usize> =
    Limit { min: 1, max: 64, why: "each one is a series for each combination of labels" };
const DIMENSION_COUNT: Limit<usize> = Limit { min: 0, max: 8, why: "each one multiplies the series" };
const CONDITION_COUNT: Limit<usize> = Limit { min: 1, max: 64, why: "each condition is asked of every span" };
const SERIES: Limit<u64> =
    Limit { min: 1, max: 20_000, why: "each one takes about 250 bytes, and a scrape writes some 20 lines for it" };
const EXPIRE_AFTER: Limit<Duration> = Limit {
    min: Duration::from_secs(60),
    max: Duration::from_secs(86_400 * 365),
    why: "a series must not go between two scrapes",
};

section! {
    /// Metrics of all spans, counted before any trace is dropped.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SpanMetricsSettings {
        /// The spans that are counted. `entry`: those that enter a service (SERVER, CONSUMER, and spans without a parent).
        /// `all`: every span.
        pub spans: CountedSpans = CountedSpans::Entry, Choice::of("choice", &SPANS);
        /// Further labels: attributes of the span, or else of its resource.
        pub dimensions: Vec<Dimension> = Vec::new(),
            Items { count: DIMENSION_COUNT, read: dimension, keys: dimension_keys };
        /// The upper bounds of the buckets of `traces_span_metrics_duration_seconds`, from the smallest to the largest. The
        /// default has those of the Collector.
        pub buckets: Vec<Duration> = BUCKETS_MS.map(Duration::from_millis).to_vec(),
            List { of: DurationKind(BUCKET), count: BUCKET_COUNT };
        /// The most combinations of labels that have series of their own. Spans beyond them are counted in one series with
        /// the label `otel_metric_overflow="true"`. A service gets another combination while it has fewer than are free: a
        /// single one can have half of them.
        pub max_series: usize = 2_000, WholeNumber::within(SERIES);
        /// The series of a combination of labels that no span had for this time are removed.
        pub expire_after: Duration = Duration::from_secs(3_600), DurationKind(EXPIRE_AFTER);
        /// The label `span_name`. `normalized`: the method and `http.route` of a span that has the route, or else its name
        /// with `*` in place of numbers, UUIDs and other ids. `as_sent`: the name as it was sent. `dry_run`: as it was sent,
        /// and `spansieve_span_metrics_normalized_series` says how many series there would be with `normalized`.
        pub span_names: SpanNames = SpanNames::Normalized, Choice::of("choice", &NAMES);
        /// True if `/metrics` has `traces_service_graph_*`, which are estimates from a sample of all traces
        /// ([span-metrics.md](span-metrics.md#the-service-graph)).
        pub service_graph: bool = true, Bool;
        /// Only spans for which one of these conditions holds are counted ([ottl.md](ottl.md)). Without it, all are.
        pub include: Option<Condition> = None, ByHand::list(Shape::Text("string"), &CONDITION_COUNT);
        /// Spans for which one of these conditions holds are not counted ([ottl.md](ottl.md)).
        pub exclude: Option<Condition> = None, ByHand::list(Shape::Text("string"), &CONDITION_COUNT);
    }
    check: SpanMetricsSettings::check;
}

const SPANS: [(&str, CountedSpans); 2] = [("entry", CountedSpans::Entry), ("all", CountedSpans::All)];

const NAMES: [(&str, SpanNames); 3] =
    [("normalized", SpanNames::Normalized), ("dry_run", SpanNames::DryRun), ("as_sent", SpanNames::AsSent)];

keys! {
    fn dimension_keys;
    /// The attribute. Its label has `_` in place of all characters but letters and digits, and before a digit at the start.
    name: ByHand::like(&ATTRIBUTE_KEY).required();
    /// The value for spans without the attribute. Without it, they have no such label.
    default: ByHand::like(&DEFAULT_VALUE);
}

const DEFAULT_VALUE: ParsedText<String> =
    ParsedText { word: "string", read: |node| values::text("a string", node).map(str::to_owned) };

/// The spans that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedSpans {
    /// Spans that enter a service.
    Entry,
    /// All spans.
    All,
}

/// The form of the names of spans in labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanNames {
    /// The route, or the name without ids.
    Normalized,
    /// The name as it was sent; the series of normalized names are only numbered.
    DryRun,
    /// The name as it was sent.
    AsSent,
}

/// An attribute that is a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// The key of the attribute.
    pub key: String,
    /// The value for spans without it; empty if they have no such label.
    pub default: String,
}

fn dimension(mut section: Section<'_>) -> Option<Dimension> {
    section.refuse_unknown(&[]);
    let default = section.read("default", DEFAULT_VALUE.read).unwrap_or_default();
    let (at, _) = section.entry("name").unzip();
    let key = section.require("name", values::attribute_key)?;
    let label = label_name(&key);
    if LABELS.contains(&label.as_str()) || RESERVED.contains(&label.as_str()) {
        let fault = SettingError::new(format!("the label `{label}` exists already"));
        section.error(at.unwrap_or(section.at()), fault.help("leave this dimension out"));
        return None;
    }
    Some(Dimension { key, default })
}

impl SpanMetricsSettings {
    /// Returns the condition on the spans that are counted.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let mut parts = Vec::new();
        if self.spans == CountedSpans::Entry {
            let has_parent = Test { field: Field::ParentSpanId, check: Check::Present };
            let is_root = Condition::Not(Box::new(Condition::Test(has_parent)));
            parts.push(Condition::Any(vec![kind(2), kind(5), is_root]));
        }
        parts.extend(self.include.clone());
        parts.extend(self.exclude.clone().map(|condition| Condition::Not(Box::new(condition))));
        match parts.len() {
            0 => Condition::Constant(true),
            _ => Condition::All(parts),
        }
    }

    /// Returns the upper bounds of the buckets, in nanoseconds.
    pub(super) fn bounds_nanos(&self) -> Vec<u64> {
        self.buckets.iter().map(|bound| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)).collect()
    }

    /// Returns the number of samples that a scrape has for each combination of labels.
    #[must_use]
    pub fn samples_per_series(&self) -> usize {
        // The calls, each bucket and the infinite one, the sum and the count.
        self.buckets.len() + 4
    }

    fn check(&mut self, section: &mut Section<'_>) {
        if self.buckets.windows(2).any(|pair| pair[0] >= pair[1]) {
            let at = section.entry("buckets").map_or(section.at(), |(at, _)| at);
            let fault = SettingError::new("`buckets` do not rise");
            section.error(at, fault.help("write them from the smallest to the largest"));
        }
        self.include = conditions(section, "include");
        self.exclude = conditions(section, "exclude");
        let mut labels: Vec<String> = self.dimensions.iter().map(|dimension| label_name(&dimension.key)).collect();
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
            let at = section.entry("dimensions").map_or(section.at(), |(at, _)| at);
            section.error(at, SettingError::new(format!("two dimensions have the label `{}`", pair[0])));
        }
    }
}

const BUCKET: Limit<Duration> = Limit {
    min: Duration::from_millis(1),
    max: Duration::from_secs(86_400),
    why: "few requests are shorter or longer",
};

fn conditions(section: &mut Section<'_>, key: &str) -> Option<Condition> {
    let nodes = section.items(key, &CONDITION_COUNT)?;
    let conditions = nodes.into_iter().filter_map(|node| condition(section, node, ottl::span_condition)).collect();
    Some(Condition::Any(conditions))
}

/// Returns the condition that a span has this kind.
fn kind(kind: i64) -> Condition {
    let bound = RangeBound { at: Number::Int(kind), inclusive: true };
    Condition::Test(Test { field: Field::Kind, check: Check::Number(Range { min: Some(bound), max: Some(bound) }) })
}

/// Returns a bound of a bucket in seconds, as the label `le` has it.
pub(super) fn bound_text(nanos: u64) -> String {
    // The shortest text that is the same number.
    format!("{}", nanos as f64 / 1e9)
}
