//! A verdict in 64 bits, as the cache of kept traces remembers it.
//!
//! Policy in the high 16 bits, then two for the mark, then the part of the traces that is kept: an `f64` without its sign
//! and the five bits of the exponent that tell no two such numbers apart, and with 40 bits behind the point. That is half
//! a unit in the 12th digit of an adjusted count, which has 12.

use crate::sampling::{Keep, Parent, Threshold};

const POLICY_SHIFT: u32 = 48;
const MARK_SHIFT: u32 = 46;
/// Bits of a mantissa that are not remembered.
const CUT_BITS: u32 = 12;
/// What the bits of 1.0 are; those of 2^56 are less than 2^58 more.
const ONE_BITS: u64 = 1f64.to_bits();

/// A trace that was rescued is not looked at for missing parents, so these exclude one another.
const MARKS: [(bool, Option<Parent>); 4] =
    [(false, None), (true, None), (false, Some(Parent::Remote)), (false, Some(Parent::Local))];

pub(super) fn pack(keep: Keep) -> u64 {
    let mark = MARKS.iter().position(|&mark| mark == (keep.rescued, keep.missing_parent)).unwrap_or(0) as u64;
    let kept = (Threshold::NEVER.get() - keep.threshold.get()).max(1) as f64;
    let part = (kept.to_bits() - ONE_BITS + (1 << (CUT_BITS - 1))) >> CUT_BITS;
    u64::from(keep.policy) << POLICY_SHIFT | mark << MARK_SHIFT | part
}

pub(super) fn unpack(packed: u64) -> Keep {
    let part = packed & ((1 << MARK_SHIFT) - 1);
    let kept = f64::from_bits((part << CUT_BITS) + ONE_BITS) as u64;
    let (rescued, missing_parent) = MARKS[(packed >> MARK_SHIFT & 3) as usize];
    let threshold = Threshold::from_bits(Threshold::NEVER.get() - kept);
    Keep { rescued, missing_parent, ..Keep::new((packed >> POLICY_SHIFT) as u16, threshold) }
}

#[cfg(test)]
mod tests;
