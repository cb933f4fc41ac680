//! Proofs that are told after a change of the members: some at a time, so that they do not displace one another.

use super::proof::Targets;
use super::{Member, View};
use crate::fleet::proofs::Logged;
use crate::otlp::TraceId;
use crate::sampling::Keep;
use crate::tail::table::Millis;

/// The most changes whose proofs are not told yet.
const TELLINGS_MAX: usize = 64;

/// A change of the members.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// These members, which have other policies, have come.
    Joined(View),
    /// Traces have other owners.
    View { before: View, after: View },
}

/// The proofs of the log that are to be told after a change.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    /// The number of the next proof.
    next: u64,
    /// The number of the first proof after the change.
    end: u64,
    change: Change,
}

impl Telling {
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.change {
            Change::Joined(joined) => joined.heap_bytes(),
            Change::View { before, after } => before.heap_bytes() + after.heap_bytes(),
        }
    }
}

impl Member {
    /// Plans to tell the proofs of the last while to those that a change concerns.
    pub(super) fn tell_later(&mut self, change: Change, now_ms: Millis) {
        self.proofs.give_up_displaced(now_ms);
        let (next, end) = self.proofs.log_range();
        if next == end {
            return;
        }
        if self.tellings.len() >= TELLINGS_MAX
            && let Some(oldest) = self.tellings.pop_front()
        {
            self.proofs.give_up(oldest.end - oldest.next);
        }
        self.tellings.push_back(Telling { next, end, change });
    }

    /// Remembers a proof. One that is forgotten for it before it was told after a change is given up.
    pub(super) fn log_proof(&mut self, id: TraceId, keep: Keep, now_ms: Millis) {
        let Some(displaced) = self.proofs.log(id, keep, now_ms) else { return };
        let is_due = |telling: &Telling| (telling.next..telling.end).contains(&displaced.number);
        match self.tellings.iter().rev().any(is_due) {
            true => self.proofs.give_up(1),
            false => self.proofs.note_displaced(displaced),
        }
    }

    /// Tells up to `proofs_max` proofs after changes, while there is room for unconfirmed ones. Returns true if there is
    /// more to do at once.
    pub(super) fn tell_changes(&mut self, proofs_max: usize, now_ms: Millis) -> bool {
        for _ in 0..proofs_max {
            if self.tellings.is_empty() || !self.proofs.has_room() {
                return false;
            }
            self.tell_next(now_ms);
        }
        true
    }

    fn tell_next(&mut self, now_ms: Millis) {
        let Some(telling) = self.tellings.front_mut() else { return };
        let found = self.proofs.logged(telling.next).filter(|(number, _)| *number < telling.end);
        // Those in between cannot help any more, or were given up when the log had no room for them.
        telling.next = found.map_or(telling.end, |(number, _)| number + 1);
        let Some((_, logged)) = found else {
            self.tellings.pop_front();
            return;
        };
        let targets = self.tellings.front().map(|telling| self.targets(&telling.change, logged));
        self.send_proofs(&targets.unwrap_or_default(), logged.id, logged.keep, now_ms);
    }

    /// Returns the members that are told a proof after a change.
    fn targets(&self, change: &Change, logged: Logged) -> Targets {
        match change {
            Change::Joined(joined) => joined.ids().iter().copied().collect(),
            Change::View { before, after } => match (before.owner(logged.id), after.owner(logged.id)) {
                (before, after) if before == after => Targets::new(),
                (Some(before), after) if self.is_live(before) => after.into_iter().collect(),
                // The holders are not known.
                _ => self.everybody(),
            },
        }
    }
}
