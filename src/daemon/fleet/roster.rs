//! The members of a fleet for people.

use spansieve_core::fleet::{MemberId, View};

/// The most members that are named. A line of the log or of `/readyz` has room for them.
const NAMED_MAX: usize = 12;

/// The members as one of them sees them, each with a flag that is true if it has other policies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Roster(Vec<(MemberId, bool)>);

impl Roster {
    /// Returns the roster of the member `own`: the members with its policies, and those with others.
    pub(super) fn of(own: MemberId, same: &View, others: &View) -> Self {
        let ids = |view: &View, has_others: bool| view.ids().iter().map(|&id| (id, has_others)).collect::<Vec<_>>();
        let mut all = [ids(same, false), ids(others, true)].concat();
        all.retain(|(id, _)| *id != own);
        Roster(all)
    }

    /// Returns the number of members with the policies of this one, itself included, and of the others.
    pub(super) fn counts(&self) -> (usize, usize) {
        let others = self.0.iter().filter(|(_, has_others)| *has_others).count();
        (self.0.len() - others + 1, others)
    }

    /// Names the members that `before` has not.
    pub(super) fn beyond(&self, before: &Self) -> String {
        named(self.0.iter().filter(|entry| !before.0.contains(entry)))
    }
}

impl std::fmt::Display for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no other member");
        }
        write!(f, "with {}", named(self.0.iter()))
    }
}

fn named<'a>(mut members: impl Iterator<Item = &'a (MemberId, bool)>) -> String {
    let name =
        |(id, has_others): &(MemberId, bool)| format!("{id}{}", if *has_others { " (other policies)" } else { "" });
    let mut text = members.by_ref().take(NAMED_MAX).map(name).collect::<Vec<_>>().join(", ");
    let more = members.count();
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

#[cfg(test)]
mod tests;
