//! `rate_limiting` and `bytes_limiting`.

use super::TokenBucket;
use crate::otlp::SPAN_BYTES;
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{ByHand, WholeNumber};
use crate::settings::reader::Section;
use crate::settings::setting::Preset;
use crate::settings::units::grouped;
use crate::settings::values;
use crate::settings::{Limit, keys};

pub(super) const TOKENS_PER_SECOND: Limit<u64> = Limit {
    min: 1,
    max: 1_000_000_000_000,
    why: "nothing passes with 0, and no process receives more than the largest rate",
};
/// 0 stands for the default, as in the Collector.
const BURST_CAPACITY: Limit<u64> = Limit { min: 0, ..TOKENS_PER_SECOND };

keys! {
    pub(super) fn rate_limiting_keys;
    /// Tokens that come in each second.
    spans_per_second: ByHand::like(&WholeNumber::<u64>::within(TOKENS_PER_SECOND)).required();
    /// Tokens that the bucket holds. A trace with more spans passes when the bucket is full, and leaves it in debt. 0: twice
    /// the rate.
    burst_capacity: ByHand::like(&WholeNumber::<u64>::within(BURST_CAPACITY)).or(Preset::Words("twice the rate"));
}

keys! {
    pub(super) fn bytes_limiting_keys;
    /// Tokens that come in each second.
    bytes_per_second: ByHand::like(&WholeNumber::<u64>::within(TOKENS_PER_SECOND)).required();
    /// Tokens that the bucket holds. A trace with more bytes passes when the bucket is full, and leaves it in debt. 0: twice
    /// the rate.
    burst_capacity: ByHand::like(&WholeNumber::<u64>::within(BURST_CAPACITY)).or(Preset::Words("twice the rate"));
}

/// The default size of a bucket in seconds of its rate, as in the Collector.
const DEFAULT_BURST_SECONDS: u64 = 2;

/// The spans of a usual trace. It stands for traces of which nothing is known.
pub const TRACE_SPANS: u64 = 10;

/// Reads the bucket of `rate_limiting`.
pub(super) fn spans(mut section: Section<'_>) -> Option<TokenBucket> {
    let bucket = bucket(&mut section, "spans_per_second")?;
    warn_of_less_than_a_trace(&mut section, "spans_per_second", "spans", bucket, TRACE_SPANS);
    Some(bucket)
}

/// Reads the bucket of `bytes_limiting`.
pub(super) fn bytes(mut section: Section<'_>) -> Option<TokenBucket> {
    let bucket = bucket(&mut section, "bytes_per_second")?;
    let warnings = section.problem_count();
    warn_of_less_than_a_span(&mut section, "bytes_per_second", bucket.per_second);
    warn_of_less_than_a_span(&mut section, "burst_capacity", bucket.burst);
    if section.problems_since(warnings).is_empty() {
        warn_of_less_than_a_trace(&mut section, "bytes_per_second", "bytes", bucket, TRACE_SPANS * SPAN_BYTES);
    }
    Some(bucket)
}

/// Warns of a bucket that holds less than a usual trace.
fn warn_of_less_than_a_trace(section: &mut Section<'_>, rate: &str, unit: &str, bucket: TokenBucket, trace: u64) {
    let place = section.entry("burst_capacity").or_else(|| section.entry(rate));
    let Some((_, node)) = place.filter(|_| bucket.burst < trace) else { return };
    let held = grouped(bucket.burst);
    let fault = SettingError::new(format!(
        "the bucket holds {held} {unit}, less than one trace, which has about {}",
        grouped(trace)
    ));
    let help = "a trace then passes only when the bucket is full, and leaves it in debt";
    section.warn(node.at, fault.help(format!("{help}: write the {unit} of several traces as `burst_capacity`")));
}

fn warn_of_less_than_a_span(section: &mut Section<'_>, key: &str, bytes: u64) {
    if let Some((_, node)) = section.entry(key).filter(|_| bytes < SPAN_BYTES) {
        let fault = SettingError::new(format!("{bytes} bytes are less than one span, which has about {SPAN_BYTES}"));
        section.warn(node.at, fault.help("write the bytes of whole traces, such as `1000000`"));
    }
}

/// Reads a bucket with its rate under `rate_key`.
fn bucket(section: &mut Section<'_>, rate_key: &str) -> Option<TokenBucket> {
    let per_second = section.require(rate_key, |node| values::integer(node, &TOKENS_PER_SECOND));
    let burst = section.read("burst_capacity", |node| values::integer(node, &BURST_CAPACITY));
    let per_second = per_second?;
    let burst = burst.filter(|burst| *burst != 0).unwrap_or(per_second.saturating_mul(DEFAULT_BURST_SECONDS));
    Some(TokenBucket { per_second, burst })
}
