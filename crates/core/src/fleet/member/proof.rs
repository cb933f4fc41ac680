//! Keeps on evidence: they are passed on until they have reached each member that may hold a part of the trace.

use smallvec::SmallVec;

use super::{Member, MemberId, Message};
use crate::fleet::owned::Known;
use crate::fleet::proofs::Sent;
use crate::otlp::TraceId;
use crate::sampling::{Keep, Verdict};
use crate::tail::fleet::Proof;
use crate::tail::table::Millis;
use crate::tail::tally::Trigger;

pub(super) type Targets = SmallVec<[MemberId; 4]>;

impl Member {
    /// Takes a proof of the own table.
    pub fn proof(&mut self, proof: Proof, now_ms: Millis) {
        let Proof { id, keep, was_dropped } = proof;
        self.log_proof(id, keep, now_ms);
        // Where a trace was dropped, others have dropped it, too, and do not ask again.
        let targets = if was_dropped { self.everybody() } else { self.keepers(id) };
        let is_owner = self.view.owner(id) == Some(self.own);
        self.send_proofs(&targets, id, keep, now_ms);
        if is_owner {
            self.take_proof(Some(self.own), id, keep, true, now_ms);
        } else {
            self.owned.remember_kept(id, keep);
        }
    }

    /// Passes a keep on evidence of this owner on to those that others may take for the owner.
    pub(super) fn pass_on(&mut self, id: TraceId, keep: Keep, now_ms: Millis) {
        self.log_proof(id, keep, now_ms);
        let targets = self.keepers(id);
        self.send_proofs(&targets, id, keep, now_ms);
    }

    /// Takes a proof as one that others may take for the owner of the trace. `from` is the member that sent it, `None` if
    /// it was found here.
    pub(super) fn take_proof(&mut self, from: Option<MemberId>, id: TraceId, keep: Keep, relay: bool, now_ms: Millis) {
        if from.is_some_and(|from| from != self.own) {
            self.follow(id, (Verdict::Kept(keep), 0), Trigger::Evidence);
        }
        let entry = self.owned.remove(id);
        let was_dropped = entry.is_none() && matches!(self.owned.known(id), Some(Known::Dropped));
        let is_new = self.owned.remember_kept(id, keep);
        for holder in entry.into_iter().flat_map(|entry| entry.holders) {
            if Some(holder.id) == from || holder.id == self.own {
                // A proof that was found here is told by who found it.
            } else if holder.waits {
                // If this is lost, the holder asks again when the wait of the trace is over.
                self.tell(holder.id, id, (Verdict::Kept(keep), 0), Trigger::Evidence);
            } else {
                self.send_proof(holder.id, id, keep, false, now_ms);
            }
        }
        if !is_new {
            return;
        }
        let targets = match relay {
            // The summaries are forgotten, and with them the holders. One of a short time ago is the only one that knew them.
            _ if was_dropped => self.everybody(),
            true => self.keepers(id),
            // The sender may be gone before the owner has confirmed it.
            false => self.view.owner(id).into_iter().collect(),
        };
        let targets: Targets = targets.into_iter().filter(|&to| Some(to) != from).collect();
        self.send_proofs(&targets, id, keep, now_ms);
    }

    pub(super) fn send_proofs(&mut self, to: &[MemberId], id: TraceId, keep: Keep, now_ms: Millis) {
        let owner = self.view.owner(id);
        to.iter().for_each(|&to| self.send_proof(to, id, keep, owner == Some(to), now_ms));
    }

    /// Sends a proof to a member. One of a policy that is not known yet, because policies are being replaced, is sent when it
    /// is repeated.
    pub(super) fn send_proof(&mut self, to: MemberId, id: TraceId, keep: Keep, relay: bool, now_ms: Millis) {
        if to != self.own
            && self.proofs.send(Sent { to, id, keep, relay }, now_ms)
            && self.policies.has_name(keep.policy)
        {
            let keep = self.fleet_keep(keep);
            self.send(to, Message::Proof { id, keep, relay });
        }
    }

    /// Sends proofs again that were not confirmed, up to `proofs_max`. Returns true if there may be more of them.
    pub(super) fn repeat_proofs(&mut self, proofs_max: usize, now_ms: Millis) -> bool {
        if self.down_since_ms.is_some() {
            return false;
        }
        for _ in 0..proofs_max {
            let (view, others) = (&self.view, &self.others);
            let is_live = |id| view.contains(id) || others.contains(id);
            let Some(Sent { to, id, keep, relay }) = self.proofs.next_attempt(now_ms, is_live) else {
                return false;
            };
            let keep = self.fleet_keep(keep);
            self.send(to, Message::Proof { id, keep, relay });
        }
        true
    }

    /// Returns the members that a proof goes to: the owner, those that were the owner a short time ago, and all members
    /// with other policies, because they send no reports to this one. If an owner has gone, the holders of the trace are
    /// not known, so the proof goes to all members.
    fn keepers(&self, id: TraceId) -> Targets {
        let mut keepers: Targets = self.view.owner(id).into_iter().chain(self.others.ids().iter().copied()).collect();
        for past in &self.past {
            let owner = past.view.as_ref().and_then(|view| view.owner(id));
            match owner.filter(|&owner| self.is_live(owner)) {
                Some(owner) if keepers.contains(&owner) => {}
                Some(owner) => keepers.push(owner),
                None => return self.everybody(),
            }
        }
        keepers
    }

    pub(super) fn everybody(&self) -> Targets {
        self.view.ids().iter().chain(self.others.ids()).copied().collect()
    }

    /// Returns true if the number is that of a listed member.
    #[must_use]
    pub fn is_live(&self, member: MemberId) -> bool {
        self.view.contains(member) || self.others.contains(member)
    }
}
