//! The smallest and largest of every setting, with the reason.

use std::time::Duration;

pub(super) use crate::settings::Limit;
use crate::settings::{KIB, MIB, TIB};

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
