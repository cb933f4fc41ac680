//! `tail_sampling.policies`: how policies are declared, read and checked.

mod condition;
mod explain;
mod keyed;
mod latency;
mod limiter;
mod lints;
mod nested;
mod policy;
mod possible;
mod until;

use std::time::Duration;

use crate::condition::Condition;
use crate::settings::kinds::{ByHand, NestedKeys};
use crate::settings::reader::Section;
use crate::settings::setting::{Preset, Shape};
pub use keyed::CLOUD_TRACE_DOLLARS_PER_MILLION_SPANS;
pub use limiter::TRACE_SPANS;
pub use until::{display_unix_seconds, unix_seconds};

pub use explain::{PolicyWords, explain};
pub use keyed::cloud_trace_dollars;

/// Returns the declaration of the list of policies.
pub(crate) fn policies() -> NestedKeys {
    let form = ByHand::list(Shape::Section, &policy::POLICY_COUNT);
    NestedKeys(form.or(Preset::Words("errors, slow (1000 ms), baseline (5 %)")), policy::policy_keys)
}

/// Returns the declaration of the list of shadow policies.
pub(crate) fn shadow_policies() -> ByHand {
    ByHand::list(Shape::Like(policy::PATH), &policy::SHADOW_COUNT).default("[]")
}

/// The policies of a configuration.
#[derive(Debug)]
pub(crate) struct PolicyLists {
    /// The policies that decide; `None` if they are not written or wrong.
    pub(crate) policies: Option<Vec<Policy>>,
    /// The shadow policies.
    pub(crate) shadow: Vec<Policy>,
}

/// Reads `policies` and `shadow.policies`. Policies with `shadow: true` are shadow policies, too.
/// A trace is decided at the latest after `decision_wait`, or when it has `spans_max` spans.
pub(crate) fn read_policies(section: &mut Section<'_>, decision_wait: Duration, spans_max: usize) -> PolicyLists {
    let nodes = section.items("policies", &policy::POLICY_COUNT);
    policy::policies(section, nodes.as_deref(), decision_wait, spans_max)
}

/// Returns the policies of an empty configuration.
pub(crate) fn default_policies() -> Vec<Policy> {
    let policy = Policy::new;
    vec![
        policy("errors", Rule::AnySpan(Condition::failed(true, true, true))),
        policy("slow", Rule::Latency { threshold_ms: 1000, upper_threshold_ms: 0 }),
        policy("baseline", Rule::Probabilistic { sampling_percentage: 5.0 }),
    ]
}

/// One of `tail_sampling.policies`, or a policy within another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Unique name; the metric label and the annotation. Within `and`, `not` and `drop` it may be empty.
    pub name: String,
    /// The rule for the traces that it keeps.
    pub rule: Rule,
    /// The time from which it no longer counts, in seconds since 1970; `None`: it always counts.
    pub until: Option<u64>,
}

impl Policy {
    /// Creates a policy that always counts.
    #[must_use]
    pub fn new(name: &str, rule: Rule) -> Self {
        Policy { name: name.to_owned(), rule, until: None }
    }

    /// Returns true if it counts at this time, in seconds since 1970.
    #[must_use]
    pub fn counts_at(&self, unix_s: u64) -> bool {
        self.until.is_none_or(|until| unix_s < until)
    }

    /// Returns the names of the policies of a `composite` in metric labels and annotations: both names, with a slash between
    /// them.
    pub(crate) fn sub_labels(&self) -> impl Iterator<Item = String> {
        let policies = match &self.rule {
            Rule::Composite(composite) => composite.policies.as_slice(),
            _ => &[],
        };
        policies.iter().map(|(policy, _)| format!("{}/{}", self.name, policy.name))
    }
}

/// The `type` of a policy with the section of that type.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// `always_sample`.
    AlwaysSample,
    /// Traces with a span for which the condition holds: `error`, `status_code`, the attribute policies, `trace_state`,
    /// `trace_flags`, `ottl_condition`, `latency` of single spans, and an `and` with `same_span`.
    AnySpan(Condition),
    /// `latency` of the whole trace: from its earliest start to its latest end, in whole milliseconds.
    Latency {
        /// Exclusive lower bound.
        threshold_ms: u64,
        /// Inclusive upper bound; 0: none.
        upper_threshold_ms: u64,
    },
    /// `latency` with a percentile: traces slower than this share of those with the same key.
    Percentile(Percentile),
    /// `span_count`.
    SpanCount {
        /// Inclusive lower bound.
        min_spans: u32,
        /// Inclusive upper bound; `None`: no bound.
        max_spans: Option<u32>,
    },
    /// `probabilistic`: a ratio of the traces, the same ones on every instance.
    Probabilistic {
        /// The part of the traces in percent, 0 to 100.
        sampling_percentage: f64,
    },
    /// `rate_limiting`: a token bucket of spans.
    RateLimiting(TokenBucket),
    /// `bytes_limiting`: a token bucket of OTLP bytes.
    BytesLimiting(TokenBucket),
    /// `and`: every one of these keeps it.
    And(Vec<Policy>),
    /// `not`: this one does not keep it.
    Not(Box<Policy>),
    /// `drop`: if every one of these would keep it, it is dropped whatever the others say.
    Drop(Vec<Policy>),
    /// `composite`.
    Composite(Composite),
    /// `adaptive`.
    Adaptive(Adaptive),
    /// `rare`.
    Rare(Rare),
    /// `budget`.
    Budget(BudgetPolicy),
    /// `identical_errors`.
    IdenticalErrors(IdenticalErrors),
}

/// A token bucket; a trace takes all its tokens or is not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenBucket {
    /// Tokens that come in each second.
    pub per_second: u64,
    /// The most tokens that it holds.
    pub burst: u64,
}

/// `composite`: policies asked in order, each with an allowance of spans a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// Spans in each second, of all policies together.
    pub max_total_spans_per_second: u64,
    /// The policies in `policy_order`, each with its allowance of spans in each second.
    pub policies: Vec<(Policy, u64)>,
}

/// The fields whose values tell traces apart, and the span that has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceKey {
    /// The fields, at least one.
    pub fields: Vec<KeyField>,
    /// The span that has the fields.
    pub of: KeySpan,
}

/// One part of a [`TraceKey`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyField {
    /// `service`: the resource's `service.name`.
    Service,
    /// `route`: `http.route`, or else `rpc.method` (or `rpc.service`), or else the span's name.
    Route,
    /// `status`: the HTTP status code, or else the gRPC status, or else the span's status code.
    Status,
    /// `name`: the span's name.
    Name,
    /// `exception`: `exception.type` of the span's first event that has one, or else its `error.type`.
    Exception,
    /// An attribute of the span, or else of its resource.
    Attribute(String),
}

/// The span of a trace that a [`TraceKey`] is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySpan {
    /// A root, or else the span that started first.
    Entry,
    /// The span with status ERROR that started first; a trace without one has no such key.
    Error,
}

/// `latency` with `percentile`: traces that are slow for their key.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentile {
    /// The share in percent of the traces with the same key that a slow trace exceeds: above 0, below 100.
    pub percentile: f64,
    /// The key of the traces that a trace is compared with.
    pub key: TraceKey,
    /// Milliseconds up to which a trace is never slow.
    pub threshold_ms: u64,
    /// Keys that are told apart; the others share one sketch.
    pub max_keys: usize,
}

/// `adaptive`: a ratio for each key, so that busy keys do not crowd out the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    /// The key, each value of which has a ratio of its own.
    pub key: TraceKey,
    /// The goal of all keys together.
    pub goal: Goal,
    /// The memory of past traffic.
    pub memory: TrafficMemory,
    /// The time after which ratios are made anew.
    pub adjustment_interval: Duration,
    /// Keys that are told apart; the others share one ratio.
    pub max_keys: usize,
}

/// The goal of [`Adaptive`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Percent (above 0, up to 100) of the traces.
    Percentage(f64),
    /// Spans a second.
    SpansPerSecond(f64),
}

/// The memory of a key's traffic in [`Adaptive`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrafficMemory {
    /// Exponential moving average: the weight of the last interval, above 0, up to 1.
    Ema(f64),
    /// The plain average of this much time.
    Windowed(Duration),
}

/// `rare`: the first traces of each key in each minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Rare {
    /// The key, each value of which is to be seen.
    pub key: TraceKey,
    /// Traces of each key in a minute.
    pub traces_per_minute: u32,
    /// Keys that are told apart; traces of the others are not kept by this policy.
    pub max_keys: usize,
}

/// `budget`: an [`Adaptive`] whose goal is the rest of a month's budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetPolicy {
    /// Spans a month (30 days) that may be exported, those of all policies together.
    pub spans_per_month: f64,
    /// The key, each value of which has a ratio of its own.
    pub key: TraceKey,
    /// Keys that are told apart; the others share one ratio.
    pub max_keys: usize,
}

/// `identical_errors`: keeps errors as `error` does, but thins those that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct IdenticalErrors {
    /// The condition for errors.
    pub condition: Condition,
    /// The key in which errors of a kind are alike.
    pub key: TraceKey,
    /// Errors of a kind that are kept in each window.
    pub first: u32,
    /// The length of the window.
    pub window: Duration,
    /// The ratio in percent of the errors after the first ones, 0 to 100.
    pub sampling_percentage: f64,
    /// Kinds that are told apart; errors of the others are all kept.
    pub max_keys: usize,
}
