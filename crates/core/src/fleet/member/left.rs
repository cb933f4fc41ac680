//! The members that have said that they leave.

use super::{MEMBERS_MAX, MemberId};
use crate::tail::table::Millis;

/// The most members that are remembered as having left.
pub(super) const LEFT_MAX: usize = MEMBERS_MAX;

/// A member that has said that it leaves.
#[derive(Clone, Copy, Debug)]
struct Left {
    id: MemberId,
    /// The time until which lists may still name it, and messages of it may still come.
    until_ms: Millis,
    /// True if another instance takes its undecided traces, and reports them.
    hands_over: bool,
}

/// The members that have left, in the order of their ids: each summary asks for all holders of a trace.
#[derive(Debug, Default)]
pub(super) struct LeftMembers(Vec<Left>);

impl LeftMembers {
    /// Notes that a member leaves. Returns false if it has said so before.
    pub(super) fn add(&mut self, id: MemberId, hands_over: bool, until_ms: Millis) -> bool {
        if let Some(left) = self.find(id).ok().and_then(|at| self.0.get_mut(at)) {
            let is_new = hands_over && !left.hands_over;
            if is_new {
                (left.hands_over, left.until_ms) = (true, until_ms);
            }
            return is_new;
        }
        if self.0.len() >= LEFT_MAX
            && let Some(first_ms) = self.0.iter().map(|left| left.until_ms).min()
            && let Some(first) = self.0.iter().position(|left| left.until_ms == first_ms)
        {
            self.0.remove(first);
        }
        if let Err(at) = self.find(id) {
            self.0.insert(at, Left { id, until_ms, hands_over });
        }
        true
    }

    /// Forgets those of which nothing comes any more.
    pub(super) fn forget_old(&mut self, now_ms: Millis) {
        self.0.retain(|left| left.until_ms > now_ms);
    }

    fn find(&self, id: MemberId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |left| left.id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, id: MemberId) -> bool {
        self.find(id).is_ok()
    }

    /// Returns true if another instance reports the traces of this member.
    pub(super) fn has_handed_over(&self, id: MemberId) -> bool {
        self.find(id).ok().and_then(|at| self.0.get(at)).is_some_and(|left| left.hands_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_have_left_are_found_by_their_ids_and_the_oldest_makes_room() {
        let mut left = LeftMembers::default();
        let many = u64::try_from(LEFT_MAX).unwrap();
        let id = |n: u64| MemberId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for n in 0..=many {
            assert!(left.add(id(n), n % 2 == 0, n + 1));
        }
        assert_eq!(left.len(), LEFT_MAX);
        assert!(left.0.is_sorted_by_key(|left| left.id));
        for n in 0..=many + 1 {
            assert_eq!(left.contains(id(n)), (1..=many).contains(&n), "{n}");
            assert_eq!(left.has_handed_over(id(n)), (1..=many).contains(&n) && n % 2 == 0, "{n}");
        }
        assert!(!left.add(id(1), false, 9_000) && left.add(id(1), true, 9_000) && !left.add(id(1), true, 9_000));
        left.forget_old(8_000);
        assert_eq!((left.len(), left.has_handed_over(id(1))), (1, true));
    }
}
