//! The attributes by which a kept span says why it was kept.

use super::Keep;
use crate::otlp::view::AnyValue;

/// Names the policy that kept the trace.
pub const POLICY: &str = "spansieve.policy";
/// Says how many traces the kept one stands for.
pub const ADJUSTED_COUNT: &str = "spansieve.adjusted_count";

/// Says `rescue` on the spans of a trace that was dropped at first, and that late spans brought back.
pub const TRIGGER: &str = "spansieve.trigger";
/// Says `local` or `remote` on the spans of a trace that is incomplete: [`Keep::missing_parent`].
pub const MISSING_PARENT: &str = "spansieve.missing_parent";
/// Every key. The names are ours: what a sender wrote under them is not passed on.
pub const KEYS: [&str; 4] = [POLICY, ADJUSTED_COUNT, TRIGGER, MISSING_PARENT];

/// The annotations of each policy, as an encoder writes them. A policy nearly always keeps in the same way.
#[derive(Debug, Default)]
pub struct Annotations {
    by_policy: Vec<(Option<Keep>, Vec<u8>)>,
}

impl Annotations {
    /// What `write` makes of the attributes of a span kept by `keep`, remembered from the last time. `policy_names` has
    /// the names by [`Keep::policy`].
    pub fn get(
        &mut self,
        keep: Keep,
        policy_names: &[String],
        mut write: impl FnMut(&mut Vec<u8>, &str, AnyValue<'_>),
    ) -> &[u8] {
        let policy = usize::from(keep.policy);
        if self.by_policy.len() <= policy {
            self.by_policy.resize_with(policy + 1, Default::default);
        }
        let (written_for, written) = &mut self.by_policy[policy];
        if *written_for != Some(keep) {
            written.clear();
            let name = policy_names.get(policy).map_or("", String::as_str);
            write(written, POLICY, AnyValue::String(name.as_bytes()));
            write(written, ADJUSTED_COUNT, number(keep.threshold.adjusted_count()));
            if keep.rescued {
                write(written, TRIGGER, AnyValue::String(b"rescue"));
            }
            if let Some(parent) = keep.missing_parent {
                write(written, MISSING_PARENT, AnyValue::String(parent.label().as_bytes()));
            }
            *written_for = Some(keep);
        }
        written
    }
}

/// A whole number as an integer: Cloud Trace has no doubles, they would become text.
fn number(value: f64) -> AnyValue<'static> {
    /// 2^53: every whole number below it is exact.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value < EXACT_MAX { AnyValue::Int(value as i64) } else { AnyValue::Double(value) }
}
