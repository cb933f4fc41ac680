//! Facts about a decision that are remembered with its verdict, packed into 64 bits.
//!
//! From the high bits to the low ones: the time in seconds plus 1 (27 bits, four years), the trigger (3), the number of
//! spans (16), the number of late spans (8), and the number of the policy of type `drop` plus 1 (10). Numbers that are
//! too large are stored as the largest one that fits.

use super::table::Millis;
use super::tally::Trigger;

const AT_SHIFT: u32 = 37;
const TRIGGER_SHIFT: u32 = 34;
const SPANS_SHIFT: u32 = 18;
const LATE_SHIFT: u32 = 10;

const AT_MAX: u64 = (1 << (u64::BITS - AT_SHIFT)) - 1;
const LATE_MAX: u64 = (1 << (SPANS_SHIFT - LATE_SHIFT)) - 1;
const POLICY_MAX: u64 = (1 << LATE_SHIFT) - 1;

const _: () = assert!(Trigger::ALL.len() <= 1 << (AT_SHIFT - TRIGGER_SHIFT));

/// Facts about a decision, beside its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionFacts {
    /// The time of the decision, in milliseconds of the table's clock. The caches remember whole seconds.
    pub at_ms: Millis,
    /// The reason why the trace was decided when it was.
    pub trigger: Trigger,
    /// The number of spans that have come, including the late ones. The caches remember [`DecisionFacts::SPANS_MAX`] at
    /// most.
    pub spans: u32,
    /// The number of late spans that have come. The caches remember [`DecisionFacts::LATE_SPANS_MAX`] at most.
    pub late_spans: u32,
    /// The policy of type `drop` that dropped the trace, as an index into the names of the policies. Not known for a
    /// policy after the first thousand.
    pub drop_policy: Option<u16>,
}

impl DecisionFacts {
    /// The largest number of spans that a cache remembers. It stands for that many or more.
    pub const SPANS_MAX: u32 = (1 << (TRIGGER_SHIFT - SPANS_SHIFT)) - 1;
    /// The largest number of late spans that a cache remembers. It stands for that many or more.
    pub const LATE_SPANS_MAX: u32 = LATE_MAX as u32;

    /// Returns the form that a cache remembers. It is never 0.
    pub(super) fn pack(self) -> u64 {
        let at_s = (self.at_ms / 1_000 + 1).min(AT_MAX);
        let policy = self.drop_policy.map_or(0, |policy| (u64::from(policy) + 1).min(POLICY_MAX));
        at_s << AT_SHIFT
            | (self.trigger as u64) << TRIGGER_SHIFT
            | u64::from(self.spans.min(Self::SPANS_MAX)) << SPANS_SHIFT
            | u64::from(self.late_spans.min(Self::LATE_SPANS_MAX)) << LATE_SHIFT
            | policy
    }

    /// Returns the facts of a cache; `None` if it remembers none, because it does not keep facts, or because the verdict
    /// is that of an earlier process.
    pub(super) fn unpack(packed: u64) -> Option<Self> {
        let at_s = (packed >> AT_SHIFT).checked_sub(1)?;
        let trigger = *Trigger::ALL.get((packed >> TRIGGER_SHIFT & 7) as usize)?;
        let policy = packed & POLICY_MAX;
        Some(DecisionFacts {
            at_ms: at_s * 1_000,
            trigger,
            spans: (packed >> SPANS_SHIFT) as u32 & Self::SPANS_MAX,
            late_spans: (packed >> LATE_SHIFT & LATE_MAX) as u32,
            drop_policy: policy.checked_sub(1).filter(|_| policy < POLICY_MAX).map(|policy| policy as u16),
        })
    }

    /// Returns the packed facts with `spans` more late spans. Leaves 0, which stands for no facts, as it is.
    pub(super) fn with_late(packed: u64, spans: u32) -> u64 {
        DecisionFacts::unpack(packed).map_or(packed, |facts| facts.and_late(spans).pack())
    }

    /// Returns the facts after `spans` more late spans have come.
    pub(super) fn and_late(self, spans: u32) -> Self {
        DecisionFacts {
            spans: self.spans.saturating_add(spans),
            late_spans: self.late_spans.saturating_add(spans),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
