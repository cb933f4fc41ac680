//! Changes of the fleet: members come and go, the engine goes away and comes back, other policies come into force.

use std::sync::Arc;

use super::telling::Change;
use super::{MEMBERS_MAX, Member, MemberFacts, MemberId, MemberSettings, MemberWaits, Message, Moved, Past, View};
use crate::sampling::{ConfigMark, Policies};
use crate::tail::table::Millis;

/// The most lists of members that are remembered. Older ones count as a time in which no other member could be reached.
const PAST_MAX: usize = 64;

/// The least time for which a member that has left may still be in lists.
const LEFT_MS: Millis = 10_000;

impl Member {
    /// Takes the list of all members; see [`MEMBERS_MAX`]. This member counts whether it is listed or not.
    pub fn set_members(&mut self, mut listed: Vec<MemberFacts>, now_ms: Millis) {
        listed.sort_unstable();
        listed.truncate(MEMBERS_MAX);
        self.listed = listed;
        let (left, own) = (&self.left, self.own);
        let is_there = |id: MemberId| id != own && !left.contains(id);
        let listed = self.listed.iter().filter(|facts| is_there(facts.id));
        let (same, others): (Vec<&MemberFacts>, Vec<&MemberFacts>) =
            listed.partition(|facts| facts.config == self.config);
        let own = (!self.is_leaving).then_some(own);
        let view = View::new(same.iter().map(|facts| facts.id).chain(own));
        let others = View::new(others.iter().map(|facts| facts.id));
        if view == self.view && others == self.others {
            return;
        }
        self.proofs.retain_members(|id| view.contains(id) || others.contains(id));
        let has_gone = self.others.ids().iter().any(|&id| !others.contains(id) && !view.contains(id));
        let joined = others.ids().iter().copied().filter(|&id| has_gone || !self.others.contains(id));
        let joined = View::new(joined);
        self.others = others;
        self.change_view(view, now_ms);
        // Members with other policies send no reports to this one, so they are told what was kept before they came. If one has
        // gone, it may have told the others nothing.
        if !joined.ids().is_empty() {
            self.tell_later(Change::Joined(joined), now_ms);
        }
    }

    fn change_view(&mut self, view: View, now_ms: Millis) {
        if view == self.view {
            return;
        }
        let before = std::mem::replace(&mut self.view, view);
        self.policies.share_among(u32::try_from(self.view.ids().len()).unwrap_or(u32::MAX));
        // Undecided traces with another owner are forgotten when their time comes: looking at all of them takes long.
        (self.moved_ms, self.moves) = (Some(now_ms), self.moves.wrapping_add(1));
        self.remember_past(Some(before.clone()), now_ms);
        let view = self.view.clone();
        self.tell_later(Change::View { before: before.clone(), after: view }, now_ms);
        let known = self.out.moved.take();
        // Two changes in a row: whatever has moved in between is reported, too.
        let before = if known.is_none() { Some(before) } else { None };
        self.out.moved = Some(Moved { before, after: self.view.clone() });
    }

    fn remember_past(&mut self, view: Option<View>, now_ms: Millis) {
        let until_ms = now_ms + self.settings.waits.retain_ms;
        if self.past.len() >= PAST_MAX {
            self.past.clear();
            self.past.push_back(Past { until_ms, view: None });
        }
        self.past.push_back(Past { until_ms, view });
    }

    /// Notes that a member leaves. If it hands its undecided traces over, the summaries of the instance that takes them count.
    pub(super) fn goes(&mut self, from: MemberId, hands_over: bool, now_ms: Millis) {
        let is_listed = self.listed.iter().any(|facts| facts.id == from);
        if !is_listed && !self.past.iter().flat_map(|past| &past.view).any(|view| view.contains(from)) {
            self.out.counts.foreign_messages += 1;
            return;
        }
        // As long as a trace can wait that it has reported.
        let MemberSettings { waits, grace_ms, report_ms, .. } = self.settings;
        let until_ms = now_ms + LEFT_MS.max(waits.trace_wait_ms_max + grace_ms + report_ms);
        if !self.left.add(from, hands_over, until_ms) {
            return;
        }
        let listed = std::mem::take(&mut self.listed);
        self.set_members(listed, now_ms);
    }

    /// Notes that the others can or cannot be reached.
    pub fn set_up(&mut self, is_up: bool, now_ms: Millis) {
        match (self.down_since_ms, is_up) {
            (None, false) => self.down_since_ms = Some(now_ms),
            (Some(_), true) => {
                self.down_since_ms = None;
                // Others have owned its traces meanwhile, and may have decided some.
                let without_own = View::new(self.view.ids().iter().copied().filter(|&id| id != self.own));
                if !without_own.ids().is_empty() {
                    self.remember_past(Some(without_own), now_ms);
                }
                // The own table has decided alone meanwhile. The owners may know better.
                self.out.moved = Some(Moved { before: None, after: self.view.clone() });
            }
            (None, true) | (Some(_), false) => {}
        }
    }

    /// Puts other waits in force, for what comes from now on.
    pub fn set_waits(&mut self, waits: MemberWaits) {
        self.settings.waits = waits;
        self.proofs.set_retain_ms(waits.retain_ms);
    }

    /// Puts other policies in force.
    pub fn replace(&mut self, config: ConfigMark, policies: Arc<Policies>, now_ms: Millis) {
        (self.config, self.policies) = (config, policies);
        // Their summaries are of the earlier policies.
        self.owned.clear();
        self.out.moved = Some(Moved { before: None, after: self.view.clone() });
        let listed = std::mem::take(&mut self.listed);
        self.set_members(listed, now_ms);
    }

    /// Tells all members that this one leaves, and what it has kept on evidence to those that own it from now on.
    pub fn leave(&mut self, hands_over: bool, now_ms: Millis) {
        for to in self.everybody() {
            if to != self.own {
                self.send(to, Message::Leaving { hands_over });
            }
        }
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        let (before, listed) = (self.view.clone(), std::mem::take(&mut self.listed));
        self.set_members(listed, now_ms);
        // Its own traces are decided or reported elsewhere.
        self.out.moved = None;
        let mut next = 0;
        while let Some((number, logged)) = self.proofs.logged(next) {
            next = number + 1;
            if let Some(owner) = self.view.owner(logged.id)
                && before.owner(logged.id) == Some(self.own)
            {
                self.send_proof(owner, logged.id, logged.keep, true, now_ms);
            }
        }
    }
}
