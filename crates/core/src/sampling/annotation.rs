//! The attributes in a kept span that say why its trace was kept.

use super::names::NAMES_MAX;
use super::{Keep, PolicyNames};
use crate::otlp::view::AnyValue;

/// The key of the name of the policy that kept the trace.
pub const POLICY: &str = "spansieve.policy";
/// The key of the adjusted count: how many traces the kept one stands for.
pub const ADJUSTED_COUNT: &str = "spansieve.adjusted_count";

/// The key with the value `rescue`, in the spans of a trace that was dropped at first and that late spans rescued.
pub const TRIGGER: &str = "spansieve.trigger";
/// The key with the value `local` or `remote`, in the spans of an incomplete trace ([`Keep::missing_parent`]).
pub const MISSING_PARENT: &str = "spansieve.missing_parent";
/// The key with the value `kept` or `dropped`, in all spans of a dry run ([`Keep::dry_run`]).
pub const VERDICT: &str = "spansieve.verdict";
/// All keys of annotations. They belong to Spansieve: attributes with these keys that a sender sent are removed.
pub const KEYS: [&str; 5] = [POLICY, ADJUSTED_COUNT, TRIGGER, MISSING_PARENT, VERDICT];

/// Returns true if `key` is one of [`KEYS`].
#[must_use]
#[inline]
pub fn is_key(key: &[u8]) -> bool {
    KEYS.iter().any(|ours| ours.as_bytes() == key)
}

/// The encoded annotations for the last verdict of each policy. Verdicts of one policy are nearly always equal, so the
/// annotations are rarely encoded again.
#[derive(Debug, Default)]
pub struct Annotations {
    by_policy: Vec<(Option<Keep>, Vec<u8>)>,
}

impl Annotations {
    /// Returns the annotations of a span kept by `keep`, as `write` encodes each key and value. Calls `write` only if
    /// the last verdict of the policy was a different one. `policy_names` has the names, indexed by [`Keep::policy`].
    pub fn get(
        &mut self,
        keep: Keep,
        policy_names: &PolicyNames,
        mut write: impl FnMut(&mut Vec<u8>, &str, AnyValue<'_>),
    ) -> &[u8] {
        // All numbers without a name share a place.
        let place = usize::from(keep.policy).min(NAMES_MAX);
        if self.by_policy.len() <= place {
            self.by_policy.resize_with(place + 1, Default::default);
        }
        let (written_for, written) = &mut self.by_policy[place];
        if *written_for != Some(keep) {
            written.clear();
            let name = policy_names.get(keep.policy).unwrap_or_default();
            if keep.dry_run {
                let verdict: &[u8] = if keep.is_dropped() { b"dropped" } else { b"kept" };
                write(written, VERDICT, AnyValue::String(verdict));
            }
            if !(keep.is_dropped() && name.is_empty()) {
                write(written, POLICY, AnyValue::String(name.as_bytes()));
            }
            // A dropped trace stands for none, not even for itself.
            let stands_for = if keep.is_dropped() { 0.0 } else { keep.threshold.adjusted_count() };
            write(written, ADJUSTED_COUNT, number(stands_for));
            if keep.rescued {
                write(written, TRIGGER, AnyValue::String(b"rescue"));
            }
            if let Some(parent) = keep.missing_parent {
                write(written, MISSING_PARENT, AnyValue::String(parent.as_str().as_bytes()));
            }
            *written_for = Some(keep);
        }
        written
    }
}

/// Returns a whole number as an integer. Cloud Trace has no doubles, so they would become text.
fn number(value: f64) -> AnyValue<'static> {
    /// 2^53: a double represents every whole number below it exactly.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value < EXACT_MAX { AnyValue::Int(value as i64) } else { AnyValue::Double(value) }
}
