//! The sampling threshold in a tracestate: `th` of the entry `ot`, by which others know how many spans a kept one
//! stands for (opentelemetry-specification `specification/trace/tracestate-handling.md` and
//! `tracestate-probability-sampling.md`; the list itself: <https://www.w3.org/TR/trace-context/#tracestate-header>).

use std::borrow::Cow;

use super::Threshold;
use super::threshold::randomness;
use crate::otlp::{TraceId, trace_state};

/// Characters of the value of `ot` (tracestate-handling.md, "Key").
const OT_LEN_MAX: usize = 256;
/// Entries of a tracestate (W3C trace context, 3.3.1.1).
const ENTRIES_MAX: usize = 32;
/// Characters of a tracestate that everybody hands on (W3C trace context, 3.3.1.5).
const LEN_MAX: usize = 512;
/// Where room is needed, entries longer than this go first (the same).
const LONG_ENTRY_LEN: usize = 128;

/// The tracestate of a span that was kept by `threshold`, `randomness` being its trace's.
///
/// A threshold is only ever raised: one that is stricter already stays. A threshold that the randomness contradicts is
/// a lie, and nothing is known of the probability then, so it goes and none takes its place. What changes is the entry
/// `ot` alone, which moves to the front; its other sub-keys and all other entries stay, as far as there is room for them.
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

/// The threshold that a span of the trace has passed in all, if it was kept by `threshold`: that one, or a stricter one
/// that its tracestate says it passed before. One that the randomness contradicts does not count.
#[must_use]
pub fn passed(trace_state: &[u8], threshold: Threshold, trace_id: TraceId) -> Threshold {
    let Some(ot) = trace_state::entry(trace_state, b"ot") else { return threshold };
    let digits = ot.split(|&byte| byte == b';').find_map(|field| field.strip_prefix(b"th:"));
    let randomness = trace_state::randomness(trace_state).unwrap_or_else(|| randomness(trace_id));
    let sent = digits.and_then(Threshold::from_th).filter(|sent| sent.keeps(randomness));
    sent.map_or(threshold, |sent| sent.max(threshold))
}

/// The value of the sub-key `th`.
fn th(ot: &str) -> Option<&str> {
    ot.split(';').find_map(|field| field.strip_prefix("th:"))
}

/// The value of `ot` with another `th`, or with none if there is no room for it.
fn ot_with(ot: &str, threshold: Option<Threshold>) -> String {
    let fields = ot.split(';').filter(|field| !field.is_empty() && !field.starts_with("th:"));
    let mut fields = fields.collect::<Vec<_>>();
    let th = threshold.map(|threshold| format!("th:{}", threshold.to_th()));
    let len = fields.iter().map(|field| field.len() + 1).sum::<usize>();
    fields.extend(th.as_deref().filter(|th| len + th.len() <= OT_LEN_MAX));
    fields.join(";")
}

/// A tracestate with `ot` first. Entries that are too many or too long go as W3C says: long ones first, then from the end.
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
