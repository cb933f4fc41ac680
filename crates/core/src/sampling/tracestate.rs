//! The sampling threshold in a tracestate: the sub-key `th` of the entry `ot`.
//!
//! It tells other programs how many spans a kept one stands for. Sources: opentelemetry-specification
//! `specification/trace/tracestate-handling.md` and `tracestate-probability-sampling.md`; for the tracestate itself,
//! <https://www.w3.org/TR/trace-context/#tracestate-header>.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Threshold;
use super::threshold::randomness;
use crate::otlp::{TraceId, trace_state};

/// Maximum length of the value of `ot`, in characters (tracestate-handling.md, "Key").
const OT_LEN_MAX: usize = 256;
/// Maximum number of entries in a tracestate (W3C trace context, 3.3.1.1).
const ENTRIES_MAX: usize = 32;
/// Length of a tracestate that every system must pass on, in characters (W3C trace context, 3.3.1.5).
const LEN_MAX: usize = 512;
/// If a tracestate is too long, entries longer than this many characters are removed first (W3C trace context,
/// 3.3.1.5).
const LONG_ENTRY_LEN: usize = 128;

/// Returns the tracestate of a span that was kept by `threshold`. `randomness` is that of its trace.
///
/// The threshold in the tracestate is only raised; a stricter one stays. If the randomness contradicts the received
/// threshold, that threshold is wrong and the probability is unknown. Then `th` is removed and not replaced. Only the
/// entry `ot` changes, and it moves to the front. Its other sub-keys and all other entries stay if there is room for
/// them.
#[must_use]
pub fn with_threshold(trace_state: &str, threshold: Threshold, randomness: u64) -> Cow<'_, str> {
    let entries = || trace_state.split(',').map(str::trim_ascii).filter(|entry| !entry.is_empty());
    let ot = entries().find_map(|entry| entry.strip_prefix("ot=")).unwrap_or_default();
    let set = match th(ot).map(|digits| Threshold::from_th(digits.as_bytes())) {
        Some(Some(sent)) if !sent.keeps(randomness) => None,
        Some(Some(sent)) if sent >= threshold => return Cow::Borrowed(trace_state),
        None if !threshold.keeps(randomness) => return Cow::Borrowed(trace_state),
        _ => Some(threshold).filter(|threshold| threshold.keeps(randomness)),
    };
    if let (true, Some(threshold)) = (trace_state.is_empty(), set) {
        return Cow::Owned(format!("ot=th:{}", threshold.to_th()));
    }
    let others = entries().filter(|entry| !entry.starts_with("ot=")).collect();
    Cow::Owned(joined(&ot_with(ot, set), others))
}

/// Returns what [`with_threshold`] makes of an empty tracestate: a tracestate with `th` alone, or an empty one if the
/// threshold does not keep the randomness. It needs no memory of the heap.
#[must_use]
pub fn new_with_threshold(threshold: Threshold, randomness: u64) -> SmallVec<[u8; 24]> {
    let mut trace_state = SmallVec::new();
    if threshold.keeps(randomness) {
        let (digits, count) = threshold.th_digits();
        trace_state.extend_from_slice(b"ot=th:");
        trace_state.extend_from_slice(&digits[..count]);
    }
    trace_state
}

/// Returns the strictest threshold that a span kept by `threshold` has passed: `threshold`, or a stricter one in its
/// tracestate. A threshold in the tracestate that the randomness contradicts does not count.
#[must_use]
pub fn passed(trace_state: &[u8], threshold: Threshold, trace_id: TraceId) -> Threshold {
    let Some(ot) = trace_state::entry(trace_state, b"ot") else { return threshold };
    let digits = ot.split(|&byte| byte == b';').find_map(|field| field.strip_prefix(b"th:"));
    let randomness = trace_state::randomness(trace_state).unwrap_or_else(|| randomness(trace_id));
    let sent = digits.and_then(Threshold::from_th).filter(|sent| sent.keeps(randomness));
    sent.map_or(threshold, |sent| sent.max(threshold))
}

/// Returns the value of the sub-key `th`.
fn th(ot: &str) -> Option<&str> {
    ot.split(';').find_map(|field| field.strip_prefix("th:"))
}

/// Returns the value of `ot` with `threshold` as `th`. Leaves `th` out if `threshold` is `None` or if there is no room.
fn ot_with(ot: &str, threshold: Option<Threshold>) -> String {
    let fields = ot.split(';').filter(|field| !field.is_empty() && !field.starts_with("th:"));
    let mut fields = fields.collect::<Vec<_>>();
    let th = threshold.map(|threshold| format!("th:{}", threshold.to_th()));
    let len = fields.iter().map(|field| field.len() + 1).sum::<usize>();
    fields.extend(th.as_deref().filter(|th| len + th.len() <= OT_LEN_MAX));
    fields.join(";")
}

/// Returns a tracestate with `ot` first. If it has too many entries, those at the end are removed. If it is too long,
/// entries are removed as W3C says: long ones first, then from the end.
fn joined(ot: &str, mut others: Vec<&str>) -> String {
    let entry = format!("ot={ot}");
    let first = Some(&*entry).filter(|_| !ot.is_empty());
    others.truncate(ENTRIES_MAX - 1);
    let mut len = others.iter().map(|entry| 1 + entry.len()).sum::<usize>() + first.map_or(0, str::len);
    while len > LEN_MAX && !others.is_empty() {
        let long = others.iter().rposition(|entry| entry.len() > LONG_ENTRY_LEN);
        len -= 1 + others.remove(long.unwrap_or(others.len() - 1)).len();
    }
    first.into_iter().chain(others).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
