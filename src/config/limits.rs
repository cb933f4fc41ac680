//! The smallest and largest of every setting, with the reason.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use crate::settings::Limit;
use crate::settings::{KIB, MIB, TIB};

pub(super) const DECISION_WAIT: Limit<Duration> = Limit {
    min: Duration::from_millis(1),
    max: Duration::from_secs(600),
    why: "a trace is held in memory until its decision",
};
pub(super) const DECISION_WAIT_AFTER_ROOT: Limit<Duration> = Limit { min: Duration::ZERO, ..DECISION_WAIT };
pub(super) const CACHE_SIZE: Limit<u64> =
    Limit { min: 0, max: 100_000_000, why: "a verdict takes some 20 bytes of memory" };
/// Taken in place of less: 0 is the Collector's "off", but late spans must find the verdict of their trace.
pub(super) const CACHE_SIZE_MIN: usize = 1_000;
pub(super) const RESCUE_WINDOW: Limit<Duration> =
    Limit { min: Duration::ZERO, max: Duration::from_secs(3600), why: "dropped traces stay in memory this long" };
pub(super) const RESCUE_BYTES: Limit<u64> = Limit { min: 0, max: TIB, why: "it is a part of the memory limit" };
pub(super) const TRACE_SPANS: Limit<u64> =
    Limit { min: 1, max: u32::MAX as u64, why: "a trace has at least one span, and they are counted in 32 bits" };
pub(super) const TRACE_BYTES: Limit<u64> =
    Limit { min: KIB, max: TIB, why: "a trace of one span must fit, and all of them in the memory limit" };
pub(super) const TRACE_PERCENTS: RangeInclusive<f64> = 0.1..=100.0;

pub(super) const POLICY_COUNT: Limit<usize> =
    Limit { min: 1, max: 256, why: "each policy is a value of a metric label" };
/// Of a policy name, in bytes: it is a metric label and a span attribute.
pub(super) const POLICY_NAME_BYTES_MAX: usize = 128;
pub(super) const STATUS_CODE_COUNT: Limit<usize> = Limit { min: 1, max: 16, why: "there are three codes" };
/// Milliseconds as the Collector takes them: signed, and never negative.
pub(super) const LATENCY_MS: Limit<u64> = Limit { min: 0, max: i64::MAX as u64, why: "it is a number of milliseconds" };
pub(super) const LATENCY_THRESHOLD_COUNT: Limit<usize> =
    Limit { min: 1, max: 64, why: "each span that is slow enough for one of them is compared with all" };
pub(super) const SUB_POLICY_COUNT: Limit<usize> =
    Limit { min: 1, max: 64, why: "all of them are asked about every trace" };
/// Of `policy_order` and `rate_allocation`, which the Collector takes empty.
pub(super) const SUB_POLICY_NAME_COUNT: Limit<usize> = Limit { min: 0, ..SUB_POLICY_COUNT };
/// Of values that spans are searched for. None is what the Collector takes, too.
pub(super) const VALUE_COUNT: Limit<usize> =
    Limit { min: 0, max: 10_000, why: "each value is compared with those of spans" };
/// The Collector's cache of regular expressions' answers.
pub(super) const REGEX_CACHE_SIZE: Limit<u64> =
    Limit { min: 0, max: i64::MAX as u64, why: "it is a number of entries" };
pub(super) const SPAN_COUNT: Limit<u64> = Limit { min: 0, max: i32::MAX as u64, why: "spans are counted in 31 bits" };
pub(super) const OTTL_CONDITION_COUNT: Limit<usize> =
    Limit { min: 1, max: 64, why: "each condition is asked of every span" };
pub(super) const TOKENS_PER_SECOND: Limit<u64> =
    Limit { min: 1, max: 1_000_000_000_000, why: "nothing would pass with 0, and more than a terabyte is no limit" };
/// 0 is the Collector's "default".
pub(super) const BURST_CAPACITY: Limit<u64> = Limit { min: 0, ..TOKENS_PER_SECOND };
pub(super) const ALLOCATION_PERCENT: Limit<u64> =
    Limit { min: 0, max: 100, why: "it is a part of `max_total_spans_per_second`" };

pub(super) const KEY_FIELD_COUNT: Limit<usize> =
    Limit { min: 1, max: 8, why: "each field is looked up in every trace" };
pub(super) const KEY_COUNT: Limit<u64> =
    Limit { min: 1, max: 100_000, why: "the state of each key is held in memory, some hundred bytes" };
/// A sketch of durations is larger than a count.
pub(super) const SKETCH_COUNT: Limit<u64> =
    Limit { min: 1, max: 10_000, why: "the durations of each key are sketched in a few kilobytes" };
pub(super) const ADJUSTMENT_INTERVAL: Limit<Duration> = Limit {
    min: Duration::from_secs(1),
    max: Duration::from_secs(3600),
    why: "ratios follow the traffic, and a shorter time sees too little of it",
};
pub(super) const WEIGHT: Limit<f64> =
    Limit { min: 0.01, max: 1.0, why: "it is the part of the last interval in what is remembered" };
pub(super) const LOOKBACK: Limit<Duration> = Limit {
    min: Duration::from_secs(1),
    max: Duration::from_secs(3600),
    why: "counts of this much time are held for each key",
};
pub(super) const GOAL_SPANS_PER_SECOND: Limit<f64> =
    Limit { min: 0.001, max: 1e9, why: "some spans must be left, and no process exports more" };
pub(super) const TRACES_PER_MINUTE: Limit<u64> =
    Limit { min: 1, max: 60_000, why: "more of each key is no sample of what is rare" };
pub(super) const SPANS_PER_MONTH: Limit<f64> =
    Limit { min: 1.0, max: 1e15, why: "some spans must be left, and no process exports more" };
pub(super) const DOLLARS_PER_MONTH: Limit<f64> = Limit { min: 0.0, max: 1e9, why: "it is an amount of money" };
pub(super) const DOLLARS_PER_MILLION_SPANS: Limit<f64> =
    Limit { min: 0.001, max: 1000.0, why: "it is a price; where spans are free, no budget is needed" };
pub(super) const IDENTICAL_ERRORS_FIRST: Limit<u64> =
    Limit { min: 1, max: 1_000_000, why: "at least one error of a kind must be seen" };
pub(super) const IDENTICAL_ERRORS_WINDOW: Limit<Duration> = Limit {
    min: Duration::from_secs(1),
    max: Duration::from_secs(86_400),
    why: "an error that comes back on another day is news",
};

/// Of a project id or number, in bytes: 30 for the id, more for one of a domain.
pub(super) const PROJECT_BYTES_MAX: usize = 100;
pub(super) const MAPPING_COUNT: Limit<usize> =
    Limit { min: 0, max: 1024, why: "Cloud Trace keeps 1024 attributes of a span" };
pub(super) const ALLOWED_PROJECTS: Limit<usize> =
    Limit { min: 0, max: 1000, why: "the spans of each project go in calls of their own" };
pub(super) const HEADER_COUNT: usize = 32;
/// Of a header's value, in bytes. Servers take some 8 KiB of headers in all.
pub(super) const HEADER_BYTES_MAX: usize = 4096;
pub(super) const EMBEDDED_BYTES: Limit<u64> =
    Limit { min: 64 * KIB, max: TIB, why: "the embedded Cloud Trace keeps its spans in memory" };
pub(super) const ALLOWED_HOSTS: Limit<usize> =
    Limit { min: 0, max: 100, why: "the host of each request is compared with all of them" };
pub(super) const BATCH_SPANS: Limit<u64> =
    Limit { min: 1, max: 25_000, why: "version 1 of the API took 25000 spans a call, and version 2 names no limit" };
pub(super) const BATCH_BYTES: Limit<u64> =
    Limit { min: 64 * KIB, max: 32 * MIB, why: "one attribute may be 64KiB, and a call is held until it is answered" };
pub(super) const BATCH_DELAY: Limit<Duration> = Limit {
    min: Duration::from_millis(1),
    max: Duration::from_secs(60),
    why: "kept spans wait in memory for their batch",
};
pub(super) const SPOOL_BYTES: Limit<u64> =
    Limit { min: 64 * MIB, max: 1024 * TIB, why: "its files are of 16MiB, or as large as a batch" };
/// Zero: off.
pub(super) const GIVE_UP_AFTER: Limit<Duration> = Limit {
    min: Duration::ZERO,
    max: Duration::from_secs(14 * 24 * 3600),
    why: "Cloud Trace takes no spans that are older than 14 days",
};
