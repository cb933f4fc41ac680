//! A verdict packed into 64 bits, the form in which the cache of kept traces remembers it.
//!
//! The high 16 bits are the policy and the next two are the mark. The other 46 are the share of the traces that is
//! kept, as a shortened `f64`: without the sign, without the five bits of the exponent that are the same for all such
//! numbers, and with 40 bits of the mantissa. The rounding error is at most half a unit in the 12th digit of an
//! adjusted count. Adjusted counts have 12 digits.

use crate::sampling::{Keep, Parent, Threshold};

const POLICY_SHIFT: u32 = 48;
const MARK_SHIFT: u32 = 46;
/// Low bits of the mantissa that are not stored.
const CUT_BITS: u32 = 12;
/// The bits of 1.0, the smallest share that is packed. The bits of 2^56, the largest, are less than 2^58 more.
const ONE_BITS: u64 = 1f64.to_bits();

/// The marks by number. Rescued traces are not checked for missing parents, so the two facts exclude each other.
const MARKS: [(bool, Option<Parent>); 4] =
    [(false, None), (true, None), (false, Some(Parent::Remote)), (false, Some(Parent::Local))];

pub(crate) fn pack(keep: Keep) -> u64 {
    let mark = MARKS.iter().position(|&mark| mark == (keep.rescued, keep.missing_parent)).unwrap_or(0) as u64;
    let kept = (Threshold::NEVER.get() - keep.threshold.get()).max(1) as f64;
    let part = (kept.to_bits() - ONE_BITS + (1 << (CUT_BITS - 1))) >> CUT_BITS;
    u64::from(keep.policy) << POLICY_SHIFT | mark << MARK_SHIFT | part
}

pub(crate) fn unpack(packed: u64) -> Keep {
    let part = packed & ((1 << MARK_SHIFT) - 1);
    let kept = f64::from_bits((part << CUT_BITS) + ONE_BITS) as u64;
    let (rescued, missing_parent) = MARKS[(packed >> MARK_SHIFT & 3) as usize];
    let threshold = Threshold::from_bits(Threshold::NEVER.get() - kept);
    Keep { rescued, missing_parent, ..Keep::new((packed >> POLICY_SHIFT) as u16, threshold) }
}

#[cfg(test)]
mod tests;
