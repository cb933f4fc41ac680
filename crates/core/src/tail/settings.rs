//! The sections `tail_sampling` and `memory` of the configuration.
//!
//! `tail_sampling` has the Collector's keys with its meanings, and ours. A block of the Collector can be pasted: a key
//! without a meaning here is accepted with a warning that names its replacement, or refused where accepting it would break
//! a promise.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::budget::ladder::LIMIT_PERCENT_DEFAULT;
use crate::otlp::SPAN_BYTES;
use crate::sampling::PolicySet;
use crate::sampling::settings::{Policy, default_policies, policies, read_policies, shadow_policies};
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{Amount, Bool, ByHand, ByteCount, Choice, DurationKind, ScalarKind, Sub, WholeNumber};
use crate::settings::reader::Section;
use crate::settings::setting::Shape;
use crate::settings::{KIB, Limit, MIB, Size, TIB, keys, section, values};

section! {
    /// Which traces are kept.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TailSampling {
        /// The time from the first span of a trace to its decision.
        pub decision_wait: Duration = Duration::from_secs(10), DurationKind(DECISION_WAIT);
        /// The time from a trace's root span to its decision, if that is earlier; `0s`: off.
        pub decision_wait_after_root_received: Duration = Duration::ZERO, DurationKind(DECISION_WAIT_AFTER_ROOT);
        /// The number of decided traces that are remembered, so that late spans follow the verdict.
        pub decision_cache: DecisionCache = DecisionCache::default(), Sub;
        /// Dropped traces stay in memory for a while: an error or slow span that comes late brings the whole trace back.
        pub rescue: Rescue = Rescue::default(), Sub;
        /// A trace with this many spans is decided at once, by the same policies. Spans that come later follow the verdict.
        /// No request makes a trace of this size: it is a batch job or a stream, whose end may be hours away.
        pub spans_max: usize = 100_000, WholeNumber::within(TRACE_SPANS);
        /// A trace with this many bytes of spans, as they were sent, is decided at once. A percentage is of the memory limit:
        /// so ten such traces, not one, fill the memory.
        pub bytes_max: Size = Size::Percent(10.0), Amount { bytes: TRACE_BYTES, percents: TRACE_PERCENTS };
        /// True if kept spans carry `spansieve.policy` and `spansieve.adjusted_count`, the number of traces that theirs
        /// stands for, `spansieve.trigger` if late spans brought theirs back, and `spansieve.missing_parent` if it is
        /// [incomplete](operating.md#incomplete-traces).
        pub annotate: bool = true, Bool;
        /// True: everything is decided and counted as usual, but nothing is dropped. Spans that would be sampled out are
        /// exported when they would be let go of, and every span carries `spansieve.verdict`, `kept` or `dropped`. Use it to see
        /// what policies do before they count; the sink is paid for all spans.
        pub dry_run: bool = false, Bool;
        /// True: the first policy that keeps a trace is the one that is named, and policies with state after it are not
        /// asked. False: the least strict one is named.
        pub sample_on_first_match: bool = false, Bool;
        /// A trace is kept if any policy keeps it and none drops it.
        pub policies: Vec<Policy> = default_policies(), policies();
        /// Policies that are tried out: they are evaluated and counted but never decide.
        pub shadow: Shadow = Shadow::default(), Sub;
    }
    also: collector_keys;
    check: TailSampling::check;
}

section! {
    /// Policies that are evaluated and counted but never decide.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Shadow {
        /// Policies, with the keys of [`tail_sampling.policies`](#tail_samplingpolicies). `shadow: true` on a policy there means
        /// the same.
        pub policies: Vec<Policy> = Vec::new(), shadow_policies();
    }
}

section! {
    /// The numbers of decided traces that are remembered.
    #[derive(Clone, Debug, PartialEq)]
    pub struct DecisionCache {
        /// Kept traces that are remembered. Less than 1000 (0 is the Collector's "off") is taken as 1000, with a warning.
        pub sampled_cache_size: usize = 1_000_000, WholeNumber::within(CACHE_SIZE);
        /// Dropped traces that are remembered. Less than 1000 is taken as 1000, with a warning.
        pub non_sampled_cache_size: usize = 1_000_000, WholeNumber::within(CACHE_SIZE);
    }
    check: DecisionCache::check;
}

section! {
    /// The time and the memory in which dropped traces can be rescued.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Rescue {
        /// The time after its decision in which a dropped trace can be rescued; `0s`: off.
        pub window: Duration = Duration::from_secs(60), DurationKind(RESCUE_WINDOW);
        /// The most bytes that rescuable traces hold. A percentage is of the memory limit. They are the first to go when
        /// memory is short.
        pub max_bytes: Size = Size::Percent(25.0), Amount { bytes: RESCUE_BYTES, percents: 0.0..=100.0 };
    }
    check: warn_of_rescue_below_a_span;
}

const DECISION_WAIT: Limit<Duration> = Limit {
    min: Duration::from_millis(1),
    max: Duration::from_secs(600),
    why: "a trace is held in memory until its decision",
};
const DECISION_WAIT_AFTER_ROOT: Limit<Duration> = Limit { min: Duration::ZERO, ..DECISION_WAIT };
const CACHE_SIZE: Limit<u64> = Limit { min: 0, max: 100_000_000, why: "a verdict takes some 20 bytes of memory" };
/// Taken in place of less: 0 is the Collector's "off", but late spans must find the verdict of their trace.
const CACHE_SIZE_MIN: usize = 1_000;
const RESCUE_WINDOW: Limit<Duration> =
    Limit { min: Duration::ZERO, max: Duration::from_secs(3600), why: "dropped traces stay in memory this long" };
const RESCUE_BYTES: Limit<u64> = Limit { min: 0, max: TIB, why: "it is a part of the memory limit" };
const TRACE_SPANS: Limit<u64> =
    Limit { min: 1, max: u32::MAX as u64, why: "a trace has at least one span, and they are counted in 32 bits" };
const TRACE_BYTES: Limit<u64> =
    Limit { min: KIB, max: TIB, why: "a trace of one span must fit, and all of them in the memory limit" };
const TRACE_PERCENTS: RangeInclusive<f64> = 0.1..=100.0;

section! {
    /// The memory budget.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Memory {
        /// The budget for requests, their index and spans on their way out. A percentage is of the container's (cgroup's)
        /// memory, and leaves at least 80 MiB of it free (three quarters of less than 107 MiB). Not less than
        /// `otlp.max_request_bytes`.
        pub limit: Size = Size::Percent(LIMIT_PERCENT_DEFAULT), Amount { bytes: LIMIT_BYTES, percents: 1.0..=100.0 };
        /// `lz4`: requests are compressed when they have been held for a second, so that the same memory holds about
        /// four times as many spans, for 0.2 - 0.5 us of CPU time a span (`benches/RESULTS.md`). This pays off where the
        /// decision wait, not the traffic, fills the memory. Requests with a resource or scope of more than 16 KiB stay
        /// as they are. Limits that count bytes of spans (`bytes_max`, `rescue.max_bytes`) count them as they were sent.
        pub compress: Compress = Compress::Off, Choice::of("compression", &COMPRESSIONS);
    }
}

/// The least and the largest memory budget in bytes.
pub const LIMIT_BYTES: Limit<u64> = Limit { min: MIB, max: TIB, why: "requests, their index and kept spans must fit" };

const COMPRESSIONS: [(&str, Compress); 2] = [("off", Compress::Off), ("lz4", Compress::Lz4)];

/// The form in which the bodies of requests are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// The bytes that were received.
    Off,
    /// LZ4 blocks.
    Lz4,
}

keys! {
    fn collector_keys;
    /// No effect: `memory.limit` bounds the traces in memory, in bytes.
    num_traces: ByHand::of(Shape::Any);
    /// No effect: tables grow with the traffic.
    expected_new_traces_per_sec: ByHand::of(Shape::Any);
    /// No effect: when memory is full, the oldest traces are decided early, and then requests are refused, retryably.
    block_on_overflow: ByHand::of(Shape::Any);
    /// No effect: the trace table is sharded by itself.
    num_shards: ByHand::of(Shape::Any);
    /// Taken as `bytes_max` (but not if it is 0, or if `bytes_max` is written), with a warning: a larger trace is decided,
    /// not dropped. Less than 1KiB is taken as 1KiB.
    maximum_trace_size_bytes: ByHand::of(MAXIMUM_TRACE_SIZE.shape());
    /// `trace-complete` is what always happens; `span-ingest` is an error.
    sampling_strategy: ByHand::of(Shape::Choice(vec!["trace-complete"]));
    /// `false` is what always happens; `true` is an error: all pending traces are decided on shutdown.
    drop_pending_traces_on_shutdown: ByHand::of(Shape::Boolean);
    /// An error: pending spans are held in memory.
    tail_storage: ByHand::of(Shape::Any);
}

const MAXIMUM_TRACE_SIZE: ByteCount<u64> = ByteCount::within(Limit { min: 0, ..TRACE_BYTES });

/// Keys of the Collector without effect here, and what takes their place.
const REPLACED: [(&str, &str); 4] = [
    ("num_traces", "`memory.limit` bounds the traces in memory, in bytes"),
    ("expected_new_traces_per_sec", "tables grow with the traffic"),
    (
        "block_on_overflow",
        "when memory is full, the oldest traces are decided early and then requests are refused, retryably",
    ),
    ("num_shards", "the trace table is sharded by itself"),
];

impl TailSampling {
    /// Returns the policies.
    #[must_use]
    pub fn policy_set(&self) -> PolicySet<'_> {
        PolicySet {
            policies: &self.policies,
            shadow: &self.shadow.policies,
            sample_on_first_match: self.sample_on_first_match,
            counted: None,
        }
    }

    /// Returns the settings without the policies that no longer count at this time, in seconds since 1970.
    #[must_use]
    pub fn at(&self, unix_s: u64) -> TailSampling {
        let mut settings = self.clone();
        for policies in [&mut settings.policies, &mut settings.shadow.policies] {
            policies.retain(|policy| policy.counts_at(unix_s));
        }
        settings
    }

    fn check(&mut self, section: &mut Section<'_>) {
        warn_of_late_root_wait(section, self);
        warn_of_single_spans(section, self.spans_max);
        maximum_trace_size_bytes(section, &mut self.bytes_max);
        let lists = read_policies(section, self.decision_wait, self.spans_max);
        self.shadow.policies = lists.shadow;
        if let Some(policies) = lists.policies {
            self.policies = policies;
        }
        warn_of_collector_keys(section);
    }
}

impl DecisionCache {
    fn check(&mut self, section: &mut Section<'_>) {
        for (key, size) in [
            ("sampled_cache_size", &mut self.sampled_cache_size),
            ("non_sampled_cache_size", &mut self.non_sampled_cache_size),
        ] {
            if let Some((_, node)) = section.entry(key)
                && *size < CACHE_SIZE_MIN
            {
                *size = CACHE_SIZE_MIN;
                let fault = SettingError::new(format!("`{key}` is taken as {CACHE_SIZE_MIN}, the smallest"));
                let help = "late spans follow the verdict of their trace only if it is remembered";
                section.warn(node.at, fault.help(help));
            }
        }
    }
}

fn warn_of_late_root_wait(section: &mut Section<'_>, settings: &TailSampling) {
    if let Some((_, node)) = section.entry("decision_wait_after_root_received")
        && settings.decision_wait_after_root_received >= settings.decision_wait
    {
        let fault =
            SettingError::new("`decision_wait_after_root_received` has no effect: `decision_wait` is over first");
        section.warn(node.at, fault.help("make it shorter than `decision_wait`, or leave it out"));
    }
}

fn warn_of_rescue_below_a_span(rescue: &mut Rescue, section: &mut Section<'_>) {
    let Size::Bytes(bytes) = rescue.max_bytes else { return };
    if let Some((_, node)) = section.entry("max_bytes").filter(|_| (1..SPAN_BYTES).contains(&bytes)) {
        let fault = SettingError::new(format!("{bytes} bytes are less than one span: no trace can be rescued"));
        section
            .warn(node.at, fault.help(format!("write `{bytes}%` or `{bytes}MiB`; `window: 0s` switches rescue off")));
    }
}

fn warn_of_single_spans(section: &mut Section<'_>, spans_max: usize) {
    if let Some((_, node)) = section.entry("spans_max").filter(|_| spans_max == 1) {
        let fault = SettingError::new("each trace is decided at its first span");
        section.warn(node.at, fault.help("write more spans than a usual trace has, or leave it out"));
    }
}

/// The Collector's `bytes_max`, which drops the trace; 0 is its "off".
fn maximum_trace_size_bytes(section: &mut Section<'_>, bytes_max: &mut Size) {
    let key = "maximum_trace_size_bytes";
    let read = section.read(key, |node| MAXIMUM_TRACE_SIZE.read(node));
    let (Some(bytes), Some((at, _))) = (read, section.entry(key)) else { return };
    if bytes > 0 && !section.has("bytes_max") {
        *bytes_max = Size::Bytes(bytes.max(TRACE_BYTES.min));
    }
    let fault = SettingError::new(format!("`{key}` does not drop larger traces here: they are decided at once"));
    section.warn(at, fault.help("write `bytes_max` in its place"));
}

/// Keys that only the Collector has.
fn warn_of_collector_keys(section: &mut Section<'_>) {
    for (key, replacement) in REPLACED {
        warn_without_effect(section, key, replacement);
    }
    let strategies = [("trace-complete", ())];
    let strategy = section
        .read("sampling_strategy", |node| supported_choice(node, "sampling strategy", &strategies, &["span-ingest"]));
    if strategy.is_some() {
        warn_without_effect(section, "sampling_strategy", "traces are always decided as a whole");
    }
    let drop_pending =
        section.read("drop_pending_traces_on_shutdown", |node| match values::boolean(node)? {
            true => Err(SettingError::new("pending traces are never dropped on shutdown: all are decided")
                .help("write `false`")),
            false => Ok(()),
        });
    if drop_pending.is_some() {
        let replacement = "pending traces are always decided on shutdown";
        warn_without_effect(section, "drop_pending_traces_on_shutdown", replacement);
    }
    if let Some((at, _)) = section.entry("tail_storage") {
        let fault = SettingError::new("`tail_storage` is not supported: pending spans are held in memory");
        section.error(at, fault.help("remove it; `memory.limit` bounds what is held"));
    }
}

fn warn_without_effect(section: &mut Section<'_>, key: &str, replacement: &str) {
    if let Some((at, _)) = section.entry(key) {
        section.warn(at, SettingError::new(format!("`{key}` has no effect")).help(format!("{replacement}: remove it")));
    }
}

/// As [`choice`]; what the Collector has and Spansieve has not is told apart from a slip of the pen.
fn supported_choice<T: Copy>(
    node: &crate::settings::node::Node,
    what: &str,
    choices: &[(&str, T)],
    unsupported: &[&str],
) -> values::Read<T> {
    let text = values::text(what, node)?;
    if !unsupported.contains(&text) {
        return values::choice(node, what, choices);
    }
    let fault = SettingError::new(format!("the {what} `{text}` of the Collector is not supported"));
    Err(fault.help(format!("supported: {}", values::list(choices.iter().map(|(name, _)| name)))))
}
