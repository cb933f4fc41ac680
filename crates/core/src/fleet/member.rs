//! The state machine of a member.

mod change;
mod left;
mod proof;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use self::left::LeftMembers;
use self::telling::Telling;
use super::message::{FleetKeep, FleetVerdict, Message};
use super::owned::{Entry, Holder, Known, Owned, Phase};
use super::proofs::Proofs;
use super::view::{MEMBERS_MAX, MemberFacts, MemberId, View};
use crate::otlp::TraceId;
use crate::sampling::{ConfigMark, Keep, Policies, ShadowEffect, Summary, Threshold, Verdict};
use crate::tail::fleet::{Followed, Report, needs_answer};
use crate::tail::table::Millis;
use crate::tail::tally::Trigger;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// The time after which all members know of a change of the list.
const LIST_MS: Millis = 1_000;

/// The settings of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// The time that an owner waits for summaries that are on their way, after the wait of a trace is over.
    pub grace_ms: Millis,
    /// The time after which an unconfirmed proof is sent again.
    pub repeat_ms: Millis,
    /// The least time between two reports of a trace by its holder.
    pub report_ms: Millis,
    /// The waits, which can change.
    pub waits: MemberWaits,
    /// The most traces with summaries.
    pub traces_max: usize,
    /// The most bytes that they take.
    pub trace_bytes_max: usize,
    /// The most unconfirmed proofs.
    pub proofs_max: usize,
    /// The number of ids of kept traces that are remembered.
    pub kept_ids: usize,
    /// The number of ids of dropped traces that are remembered.
    pub dropped_ids: usize,
}

/// The waits of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberWaits {
    /// The time for which late spans can rescue a dropped trace; `None` if they cannot.
    pub rescue_ms: Option<Millis>,
    /// The time for which a proof can help: a part of the trace may be held for that long.
    pub retain_ms: Millis,
    /// The longest wait of a trace. A longer one of another member counts as this one.
    pub trace_wait_ms_max: Millis,
}

/// Counts of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Traces that it decided as their owner.
    pub decided_traces: u64,
    /// Traces that it decided before their time, because it remembers no more of them.
    pub early_traces: u64,
    /// Proofs that it gave up before they were confirmed, because it remembers no more of them, or that it could not tell after
    /// a change of the members.
    pub given_up_proofs: u64,
    /// Messages that make no sense to it: of other policies, or of members that have left.
    pub foreign_messages: u64,
}

/// A change of the owners of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The members before; `None` if all traces are to be reported again.
    before: Option<View>,
    after: View,
}

impl Moved {
    /// Returns true if the trace has another owner.
    #[must_use]
    pub fn concerns(&self, id: TraceId) -> bool {
        self.before.as_ref().is_none_or(|before| before.owner(id) != self.after.owner(id))
    }
}

/// The outputs of a member. The caller takes them out after each input.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Messages to other members.
    pub messages: Vec<(MemberId, Message)>,
    /// Verdicts for the member's own table.
    pub verdicts: Vec<Followed>,
    /// Traces to which shadow policies would have given another verdict: policy, change and spans.
    pub shadowed: Vec<(u16, ShadowEffect, u32)>,
    /// The undecided traces that the own table is to report again.
    pub moved: Option<Moved>,
    /// Counts since they were taken out.
    pub counts: Counts,
}

/// A list of members that was in force a short time ago.
#[derive(Clone, Debug)]
struct Past {
    until_ms: Millis,
    /// `None` for a time in which no other member could be reached.
    view: Option<View>,
}

/// A member of a fleet.
#[derive(Debug)]
pub struct Member {
    own: MemberId,
    config: ConfigMark,
    policies: Arc<Policies>,
    settings: MemberSettings,
    /// The members as they were listed last.
    listed: Vec<MemberFacts>,
    /// The members with the policies of this one.
    view: View,
    /// The members with other policies.
    others: View,
    past: VecDeque<Past>,
    left: LeftMembers,
    owned: Owned,
    proofs: Proofs,
    /// The proofs that are to be told after changes of the members.
    tellings: VecDeque<Telling>,
    /// The time since which the others cannot be reached.
    down_since_ms: Option<Millis>,
    /// The time of the last change of the owners. `None` if there was none.
    moved_ms: Option<Millis>,
    /// The number of such changes.
    moves: u32,
    /// True once this member has said that it leaves. Then it is in no view of its own.
    is_leaving: bool,
    out: Outputs,
}

impl Member {
    /// Creates a member that knows no other one and can reach none. `seed` is the seed of its hashes.
    #[must_use]
    pub fn new(
        own: MemberId,
        config: ConfigMark,
        policies: Arc<Policies>,
        settings: MemberSettings,
        seed: u64,
    ) -> Self {
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        let MemberSettings { repeat_ms, waits, proofs_max, .. } = settings;
        Member {
            own,
            config,
            policies,
            settings,
            listed: Vec::new(),
            view: View::new([own]),
            others: View::default(),
            past: VecDeque::new(),
            left: LeftMembers::default(),
            owned: Owned::new(settings.kept_ids, settings.dropped_ids, hasher.clone()),
            proofs: Proofs::new(repeat_ms, waits.retain_ms, proofs_max, hasher),
            tellings: VecDeque::new(),
            down_since_ms: Some(0),
            moved_ms: None,
            moves: 0,
            is_leaving: false,
            out: Outputs::default(),
        }
    }

    /// Returns the number of the member.
    #[must_use]
    pub fn own(&self) -> MemberId {
        self.own
    }

    /// Returns the mark of the policies in force.
    #[must_use]
    pub fn config(&self) -> ConfigMark {
        self.config
    }

    /// Returns the generation of the policies in force, with which summaries of others are read.
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.policies.generation()
    }

    /// Returns the members with the policies of this one, itself included.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns the members with other policies.
    #[must_use]
    pub fn others(&self) -> &View {
        &self.others
    }

    /// Returns the number of traces with summaries.
    #[must_use]
    pub fn owned_traces(&self) -> usize {
        self.owned.len()
    }

    /// Returns the number of proofs that are not confirmed.
    #[must_use]
    pub fn unconfirmed_proofs(&self) -> usize {
        self.proofs.unconfirmed()
    }

    /// Returns the bytes of memory that the member takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let past: usize = self.past.iter().flat_map(|past| &past.view).map(View::heap_bytes).sum();
        let tellings: usize = self.tellings.iter().map(Telling::heap_bytes).sum();
        let remembered = self.owned.heap_bytes() + self.owned.cache_bytes() + self.proofs.heap_bytes();
        remembered + past + tellings + self.out_bytes()
    }

    /// Returns the bytes of memory that the outputs take, with the keys of summaries.
    #[must_use]
    pub fn out_bytes(&self) -> usize {
        let Outputs { messages, verdicts, .. } = &self.out;
        let summaries = messages.len() * self.policies.summary_heap_bytes();
        let messages = messages.capacity() * size_of::<(MemberId, Message)>();
        summaries + messages + verdicts.capacity() * size_of::<Followed>()
    }

    /// Returns the outputs. The caller takes them out.
    pub fn out(&mut self) -> &mut Outputs {
        &mut self.out
    }

    /// Takes a report of the own table.
    pub fn report(&mut self, report: Report, now_ms: Millis) {
        let Report { id, summary, due_in_ms, trigger, waits } = report;
        // Made before or after a change of the policies. All is reported again after it.
        if summary.generation != self.policies.generation() {
            return;
        }
        match self.view.owner(id).filter(|&owner| owner != self.own) {
            Some(owner) => self.send(owner, Message::Summary { id, due_in_ms, trigger, waits, summary }),
            None => {
                let holder = Holder { id: self.own, summary, waits, may_grow: due_in_ms > 0 };
                self.take_summary(id, holder, (due_in_ms, trigger), now_ms);
            }
        }
    }

    /// Takes a message of another member, whose policies have the mark `config`.
    pub fn receive(&mut self, from: MemberId, config: ConfigMark, message: Message, now_ms: Millis) {
        let is_same = config == self.config;
        match message {
            _ if from == self.own => self.out.counts.foreign_messages += 1,
            Message::Summary { .. } if self.left.has_handed_over(from) => self.out.counts.foreign_messages += 1,
            Message::Summary { id, due_in_ms, trigger, waits, summary } if is_same => {
                let holder = Holder { id: from, summary, waits, may_grow: due_in_ms > 0 };
                self.take_summary(id, holder, (due_in_ms, trigger), now_ms);
            }
            Message::Verdict { id, verdict, trigger, spans } if is_same => {
                let Some(verdict) = self.local_verdict(verdict) else {
                    return self.out.counts.foreign_messages += 1;
                };
                if let Verdict::Kept(keep) = verdict
                    && keep.threshold == Threshold::ALWAYS
                {
                    // If the owner goes, its successor is told.
                    self.log_proof(id, keep, now_ms);
                }
                self.follow(id, (verdict, spans), trigger);
            }
            Message::Summary { .. } | Message::Verdict { .. } => self.out.counts.foreign_messages += 1,
            Message::Proof { id, keep, relay } => {
                self.send(from, Message::Ack { id });
                let keep = self.local_keep(keep);
                self.log_proof(id, keep, now_ms);
                self.take_proof(Some(from), id, keep, relay, now_ms);
            }
            Message::Ack { id } => self.proofs.confirmed(from, id),
            Message::Leaving { hands_over } => self.goes(from, hands_over, now_ms),
        }
    }

    /// Decides the traces whose time has come, up to `traces_max`, and repeats what was not confirmed. Returns true if
    /// there may be more to do.
    pub fn tick(&mut self, traces_max: usize, now_ms: Millis) -> bool {
        self.past.retain(|past| past.until_ms > now_ms);
        self.left.forget_old(now_ms);
        self.proofs.forget_old(now_ms);
        let more = self.tell_changes(traces_max, now_ms);
        self.out.counts.given_up_proofs += self.proofs.take_given_up();
        for _ in 0..traces_max {
            match self.owned.pop_due(now_ms) {
                Some(id) if self.put_off(id) => {}
                Some(id) => self.end_wait(id, now_ms),
                None => return self.repeat_proofs(traces_max, now_ms) || more,
            }
        }
        true
    }

    /// Takes the summary of a holder. `due` is the time after which the wait of the trace is over there, and its reason.
    fn take_summary(&mut self, id: TraceId, holder: Holder, due: (Millis, Trigger), now_ms: Millis) {
        let (from, waits, spans) = (holder.id, holder.waits, holder.summary.span_count);
        let due = (due.0.min(self.settings.waits.trace_wait_ms_max), due.1);
        let asks = waits || needs_answer(due.1);
        let answer = if waits { due.1 } else { Trigger::DecisionWait };
        if self.owned.get(id).is_none() {
            match self.owned.known(id) {
                Some(Known::Kept(keep)) => {
                    let amended = self.policies.amended(keep, &holder.summary, id);
                    self.owned.remember_kept(id, amended);
                    return self.tell(from, id, (Verdict::Kept(amended), 0), answer);
                }
                Some(Known::Dropped) if asks => return self.tell(from, id, (Verdict::Dropped, spans), answer),
                Some(Known::DroppedByPolicy(policy)) if asks => {
                    return self.tell(from, id, (Verdict::DroppedByPolicy(policy), spans), answer);
                }
                Some(_) => return,
                None => return self.begin(id, holder, due, now_ms),
            }
        }
        let Some((is_new, phase)) = self.owned.take(id, holder) else { return };
        self.heard(id, due.0, now_ms);
        match phase {
            Phase::Waiting => {
                if waits {
                    self.owned.bring_forward(id, now_ms + due.0 + self.grace_ms(), due.1);
                }
                if is_new {
                    self.prove(id, now_ms);
                }
            }
            Phase::Dropped if is_new && self.rescue(id, now_ms) => {}
            Phase::Dropped if asks => {
                self.tell(from, id, (Verdict::Dropped, spans), answer);
                self.owned.get_mut(id).into_iter().for_each(Entry::end_waits);
            }
            Phase::Dropped => {}
        }
        self.make_room(usize::MAX, now_ms);
    }

    fn begin(&mut self, id: TraceId, holder: Holder, due: (Millis, Trigger), now_ms: Millis) {
        self.make_room(self.settings.traces_max.max(1) - 1, now_ms);
        // A holder that has dropped the trace does not wait for a verdict.
        let (phase, due_ms) = match (holder.waits, self.settings.waits.rescue_ms) {
            (true, _) => (Phase::Waiting, now_ms + due.0 + self.grace_ms()),
            (false, Some(rescue_ms)) => (Phase::Dropped, now_ms + rescue_ms),
            (false, None) => return,
        };
        let (from, spans) = (holder.id, holder.summary.span_count);
        let mut entry = Entry::new(phase, due_ms, due.1);
        entry.take(holder);
        self.owned.insert(id, entry);
        self.heard(id, due.0, now_ms);
        match phase {
            Phase::Waiting => self.prove(id, now_ms),
            Phase::Dropped if self.rescue(id, now_ms) => {}
            Phase::Dropped if needs_answer(due.1) => {
                self.tell(from, id, (Verdict::Dropped, spans), Trigger::DecisionWait);
            }
            Phase::Dropped => {}
        }
    }

    /// Notes that a holder has reported a trace, whose wait is over there after `due_in_ms`.
    fn heard(&mut self, id: TraceId, due_in_ms: Millis, now_ms: Millis) {
        if let Some(entry) = self.owned.get_mut(id) {
            entry.view = self.moves;
            if due_in_ms > 0 {
                entry.active_ms = now_ms;
            }
        }
    }

    /// Makes the traces that are remembered at most `traces_max`, and their bytes as few as they may be. Dropped ones are
    /// forgotten first. Then undecided ones are decided before their time.
    fn make_room(&mut self, traces_max: usize, now_ms: Millis) {
        while self.owned.len() > traces_max || self.owned.entry_bytes() > self.settings.trace_bytes_max {
            let Some((first, phase)) = self.owned.pop_first() else { return };
            self.out.counts.early_traces += u64::from(phase == Phase::Waiting && !self.is_lost(first));
            // If the verdict is a drop, its next turn comes at once.
            self.end_wait(first, now_ms);
        }
    }

    /// Returns the time for summaries that are on their way. It is zero if there is no other member.
    fn grace_ms(&self) -> Millis {
        if self.view.ids().len() > 1 { self.settings.grace_ms } else { 0 }
    }

    /// Keeps an undecided trace at once if all its summaries together are evidence.
    fn prove(&mut self, id: TraceId, now_ms: Millis) {
        let Some(merged) = self.merged(id) else { return };
        if let Some(keep) = self.policies.proven(&merged) {
            self.shadow(&merged, id, Verdict::Kept(keep), now_ms);
            self.conclude(id, Verdict::Kept(keep), Trigger::Evidence, now_ms);
        }
    }

    /// Keeps a dropped trace if all its summaries together say so. Returns true if they do.
    fn rescue(&mut self, id: TraceId, now_ms: Millis) -> bool {
        let keep = self.merged(id).and_then(|merged| self.policies.rescue(&merged, id));
        if let Some(keep) = keep {
            self.take_proof(None, id, keep, true, now_ms);
            self.follow(id, (Verdict::Kept(keep), 0), Trigger::Rescue);
            self.log_proof(id, keep, now_ms);
        }
        keep.is_some()
    }

    /// Returns the summary of all spans of a trace, without those that another instance reports now.
    fn merged(&mut self, id: TraceId) -> Option<Summary> {
        if self.owned.get(id)?.phase == Phase::Waiting && self.left.len() > 0 {
            let left = &self.left;
            self.owned.retain_holders(id, |holder| !left.has_handed_over(holder));
        }
        self.owned.get(id).map(|entry| entry.merged(self.policies.generation()))
    }

    /// Returns true if an undecided trace has got another owner since its last report. Its holders report it there.
    fn is_lost(&self, id: TraceId) -> bool {
        let entry = self.owned.get(id).filter(|entry| entry.phase == Phase::Waiting && entry.view != self.moves);
        entry.is_some() && self.view.owner(id) != Some(self.own)
    }

    /// Puts the decision on a trace off, once, if a holder may have spans that came before the wait was over and that it
    /// could not report yet: it has reported a short time ago, or the trace has got another owner. Returns true if it does.
    fn put_off(&mut self, id: TraceId) -> bool {
        let MemberSettings { grace_ms, report_ms, .. } = self.settings;
        let Some(entry) = self.owned.get(id).filter(|_| self.view.ids().len() > 1) else { return false };
        if entry.phase != Phase::Waiting || entry.is_put_off {
            return false;
        }
        let over_ms = entry.due_ms.saturating_sub(grace_ms);
        let is_active = entry.holders.iter().any(|holder| holder.may_grow);
        let active_ms = is_active.then_some(entry.active_ms);
        let Some(last_ms) = active_ms.max(self.moved_ms.map(|moved_ms| moved_ms + LIST_MS)) else { return false };
        let until_ms = last_ms.min(over_ms) + report_ms + grace_ms;
        let is_later = until_ms > entry.due_ms;
        if is_later {
            self.owned.put_off(id, until_ms);
        }
        is_later
    }

    /// Decides a trace whose wait is over, or forgets the summaries of a dropped one.
    fn end_wait(&mut self, id: TraceId, now_ms: Millis) {
        let Some((phase, trigger)) = self.owned.get(id).map(|entry| (entry.phase, entry.trigger)) else { return };
        if phase == Phase::Dropped {
            self.owned.remove(id);
            return self.owned.remember_dropped(id, None);
        }
        if self.is_lost(id) {
            self.owned.remove(id);
            return;
        }
        let Some(merged) = self.merged(id) else { return };
        let verdict = self.policies.decide(&merged, id, now_ms);
        self.shadow(&merged, id, verdict, now_ms);
        self.conclude(id, verdict, trigger, now_ms);
    }

    fn shadow(&mut self, merged: &Summary, id: TraceId, verdict: Verdict, now_ms: Millis) {
        let shadowed = &mut self.out.shadowed;
        self.policies.shadow(merged, id, now_ms, verdict, |policy, effect| {
            shadowed.push((policy, effect, merged.span_count));
        });
    }

    /// Tells the holders of a trace its verdict, and remembers it.
    fn conclude(&mut self, id: TraceId, verdict: Verdict, trigger: Trigger, now_ms: Millis) {
        let Some(mut entry) = self.owned.remove(id) else { return };
        self.out.counts.decided_traces += 1;
        for holder in &entry.holders {
            match verdict {
                // It has dropped the trace by itself, and asks no more.
                Verdict::Kept(keep) if !holder.waits && holder.id != self.own => {
                    self.send_proof(holder.id, id, keep, false, now_ms);
                }
                _ => self.tell(holder.id, id, (verdict, holder.summary.span_count), trigger),
            }
        }
        match verdict {
            Verdict::Kept(keep) => {
                self.owned.remember_kept(id, keep);
                if trigger == Trigger::Evidence || keep.threshold == Threshold::ALWAYS {
                    // The own table may have followed another owner before.
                    if entry.holders.iter().all(|holder| holder.id != self.own) {
                        self.follow(id, (verdict, 0), Trigger::Evidence);
                    }
                    self.pass_on(id, keep, now_ms);
                }
            }
            Verdict::DroppedByPolicy(policy) => self.owned.remember_dropped(id, Some(policy)),
            Verdict::Dropped => match self.settings.waits.rescue_ms {
                Some(rescue_ms) => {
                    entry.end_waits();
                    (entry.phase, entry.due_ms) = (Phase::Dropped, now_ms + rescue_ms);
                    self.owned.insert(id, entry);
                }
                None => self.owned.remember_dropped(id, None),
            },
        }
    }

    /// Sends a verdict to a holder. `spans` is the number of its spans that a drop took into account.
    fn tell(&mut self, to: MemberId, id: TraceId, (verdict, spans): (Verdict, u32), trigger: Trigger) {
        if to == self.own {
            self.follow(id, (verdict, spans), trigger);
        } else {
            let verdict = self.fleet_verdict(verdict);
            self.send(to, Message::Verdict { id, verdict, trigger, spans });
        }
    }

    /// Has the own table follow a verdict.
    fn follow(&mut self, id: TraceId, (verdict, spans): (Verdict, u32), trigger: Trigger) {
        let generation = self.policies.generation();
        self.out.verdicts.push(Followed { id, verdict, trigger, spans, generation });
    }

    fn send(&mut self, to: MemberId, message: Message) {
        if self.down_since_ms.is_none() {
            self.out.messages.push((to, message));
        }
    }

    fn fleet_verdict(&self, verdict: Verdict) -> FleetVerdict {
        match verdict {
            Verdict::Kept(keep) => FleetVerdict::Kept(self.fleet_keep(keep)),
            Verdict::Dropped => FleetVerdict::Dropped,
            Verdict::DroppedByPolicy(policy) => FleetVerdict::DroppedByPolicy(self.policies.mark(policy)),
        }
    }

    fn fleet_keep(&self, keep: Keep) -> FleetKeep {
        FleetKeep { policy: self.policies.mark(keep.policy), threshold: keep.threshold, rescued: keep.rescued }
    }

    fn local_keep(&self, keep: FleetKeep) -> Keep {
        Keep { rescued: keep.rescued, ..self.policies.kept_elsewhere(keep.policy, keep.threshold) }
    }

    /// Returns the verdict for this instance; `None` if it names a policy that does not exist here.
    fn local_verdict(&self, verdict: FleetVerdict) -> Option<Verdict> {
        Some(match verdict {
            FleetVerdict::Kept(keep) => {
                self.policies.number_of(keep.policy)?;
                Verdict::Kept(self.local_keep(keep))
            }
            FleetVerdict::Dropped => Verdict::Dropped,
            FleetVerdict::DroppedByPolicy(policy) => Verdict::DroppedByPolicy(self.policies.number_of(policy)?),
        })
    }
}
