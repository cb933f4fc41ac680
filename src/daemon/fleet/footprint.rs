//! The memory of a member, as far as it is known before it runs.

use std::time::Duration;

use super::TIMES;
use crate::config::Settings;
use crate::fleet::link;
use crate::tail::settings::TailSampling;

/// The part of the memory budget that the summaries of owned traces may take: one of so many.
const TRACES_PART: usize = 16;
/// The bytes of an owned trace with the summaries of three holders.
pub(super) const TRACE_BYTES: usize = 640;
/// The bytes of the id of a decided trace.
const ID_BYTES: usize = 21;

/// Returns the most traces whose summaries a member remembers.
pub(super) fn traces_max(limit_bytes: usize) -> usize {
    (limit_bytes / TRACES_PART / TRACE_BYTES).max(1_000)
}

/// The memory of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemberFootprint {
    /// The bytes that it takes.
    pub bytes: f64,
    /// True if it may remember all undecided traces that it owns. If not, it decides some before their time.
    pub fits: bool,
}

impl MemberFootprint {
    /// Returns the memory of a member that owns as many traces as it holds parts of, in a memory limit; `None` without a
    /// fleet.
    #[must_use]
    pub fn of(settings: &Settings, traces_per_second: f64, limit_bytes: usize) -> Option<Self> {
        let TailSampling { decision_wait, rescue, decision_cache, .. } = &settings.tail_sampling;
        let undecided_s =
            (*decision_wait + settings.fleet.grace + Duration::from_millis(TIMES.repeat_ms)).as_secs_f64();
        let undecided = traces_per_second * undecided_s;
        let traces_max = traces_max(limit_bytes) as f64;
        let traces = (undecided + traces_per_second * rescue.window.as_secs_f64()).min(traces_max);
        let ids = decision_cache.sampled_cache_size / 2 + decision_cache.non_sampled_cache_size / 4;
        let bytes = traces * TRACE_BYTES as f64 + (ids * ID_BYTES + link::BYTES_MAX) as f64;
        settings.fleet.has_engine().then_some(MemberFootprint { bytes, fits: undecided <= traces_max })
    }
}
