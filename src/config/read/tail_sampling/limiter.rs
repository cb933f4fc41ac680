//! `rate_limiting` and `bytes_limiting`.

use crate::config::limits::{BURST_CAPACITY, TOKENS_PER_SECOND};
use crate::config::settings::TokenBucket;
use crate::config::values;
use crate::settings::reader::Section;

/// A bucket that holds twice what comes in a second, as the Collector's, if nothing else is written.
const DEFAULT_BURST_SECONDS: u64 = 2;

/// A bucket whose rate stands under `rate_key`.
pub(super) fn bucket(mut section: Section<'_>, rate_key: &str) -> Option<TokenBucket> {
    let per_second = section.require(rate_key, |node| values::integer(node, &TOKENS_PER_SECOND));
    let burst = section.read("burst_capacity", |node| values::integer(node, &BURST_CAPACITY));
    let per_second = per_second?;
    let burst = burst.filter(|burst| *burst != 0).unwrap_or(per_second.saturating_mul(DEFAULT_BURST_SECONDS));
    Some(TokenBucket { per_second, burst })
}
