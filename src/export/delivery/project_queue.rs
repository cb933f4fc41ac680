//! The batches of one project and whether its calls may start. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;
use super::pace::Pace;
use super::project_queues::Class;
use super::suspects::Refusals;
use crate::budget::Budget;
use crate::config::settings;
use crate::export::batch::Batch;
use crate::export::failure::{Failure, Origin};
use crate::export::retry::{self, Action};
use crate::export::spool::QueuedBatch;
use crate::telemetry::log::Throttle;

/// Failures of a batch, each after others of its project went through, until the fault is taken to be its own and it
/// is halved.
const STRIKES_MAX: u32 = 10;
/// The same for a single span, which is dropped then: no brown-out of the service may be taken for it.
pub(super) const BLAME_TIME_MIN: Duration = Duration::from_secs(600);

/// A proxy that refuses even a single span of fewer bytes for its size is set up wrongly: the span waits until it is mended.
/// Larger ones go, as nothing would ever take them.
const SIZE_LIMIT_MIN: usize = 64 << 10;

/// After a message was too large nothing of half its size is sent for so long; then the limit may have been raised.
const SIZE_MEMORY: Duration = Duration::from_secs(600);
/// A single span whose calls fail by its own fault, though the sink has not refused it, is sent again after so long. No other
/// span waits for it.
pub(super) const ASIDE_TIME: Duration = Duration::from_secs(120);
/// Of a batch of suspected spans: most of them are bad, so that halves would take more calls.
const SUSPECTED_PARTS: usize = 8;

/// A batch to deliver.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Batch,
    /// When it came; of joined batches, the last.
    pub(super) since: Instant,
    /// Never sent, no part of one that was, and not of the spool: it may be joined with others.
    fresh: bool,
    /// The queue's closings when its call started: the answers to calls that started before a failure was known say
    /// nothing about what came after it.
    epoch: u64,
    /// See [`STRIKES_MAX`].
    strikes: u32,
    /// The queue's stored batches at the last strike.
    stored_at_strike: u64,
    /// When it, or the batch that it is a part of, had its first strike.
    blamed_since: Option<Instant>,
    pub(super) suspicion: Suspicion,
}

/// Why the spans of a batch are expected to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// They are not.
    None,
    /// The sink has named the span in a refusal.
    Named,
    /// All of them break a known rule of the sink.
    RuleBroken,
    /// They feature like others that were refused.
    Alike,
}

impl Work {
    /// Whether it is a single span that any limit of a message should have room for.
    fn is_small(&self) -> bool {
        self.batch.span_count() == 1 && self.batch.encoded_len() < SIZE_LIMIT_MIN
    }

    /// Whether it is a single span whose calls fail by its own fault.
    fn is_at_fault(&self) -> bool {
        self.batch.span_count() == 1 && self.strikes >= STRIKES_MAX
    }

    /// The parts of a batch that is divided: halves, or more of them if most of its spans are suspected.
    pub(super) fn divided(&self) -> Vec<Work> {
        let spans = self.batch.span_count() as usize;
        let parts = if self.suspicion == Suspicion::None { 2 } else { SUSPECTED_PARTS }.min(spans);
        self.parts(|place| place * parts / spans, |_| self.suspicion)
    }

    /// The spans at `places` as a batch of this suspicion, or each as one of its own, and the others; at least one span is in
    /// each. `places` are in order.
    pub(super) fn set_apart(&self, places: &[usize], suspicion: Suspicion) -> Vec<Work> {
        let part_of = |place: usize| match (places.binary_search(&place), suspicion) {
            (Ok(at), Suspicion::Named) => at,
            (Ok(_), _) => 0,
            (Err(_), _) => places.len(),
        };
        let others = if suspicion == Suspicion::Named { places.len() } else { 1 };
        self.parts(part_of, |part| if part < others { suspicion } else { Suspicion::None })
    }

    fn parts(&self, part_of: impl Fn(usize) -> usize, suspicion_of: impl Fn(usize) -> Suspicion) -> Vec<Work> {
        let parts = self.batch.parts(part_of).into_iter().enumerate();
        let work = |(part, batch)| Work { batch, fresh: false, strikes: 0, suspicion: suspicion_of(part), ..*self };
        parts.map(work).collect()
    }
}

/// A gate before the calls of a project that fail.
#[derive(Debug)]
struct Gate {
    opens: Instant,
    /// Failures in a row.
    attempts: u32,
    /// What the last one asked for.
    action: Action,
    /// One call is under way to see whether the project is back.
    probing: bool,
}

/// The batches of one project.
#[derive(Debug)]
pub(super) struct ProjectQueue {
    limits: settings::BatchSettings,
    /// The most that a message has: that of `limits`, or what the sink and the proxies before it took lately.
    bytes_max: usize,
    /// When `bytes_max` is that of `limits` again.
    bytes_max_until: Option<Instant>,
    waiting: VecDeque<Work>,
    /// Single spans at fault, each with the time of its next call, in its order.
    aside: VecDeque<(Instant, Work)>,
    /// Of the waiting batches, and those aside.
    waiting_bytes: usize,
    calls: usize,
    /// Spans of all batches, waiting or under way.
    spans: u64,
    /// Batches stored so far.
    stored: u64,
    pace: Pace,
    refusals: Refusals,
    /// A call was answered well, or the project is the daemon's own. Others are tried with one call at a time.
    is_proven: bool,
    gate: Option<Gate>,
    epoch: u64,
    alarm: Alarm,
}

impl ProjectQueue {
    /// Returns a queue without batches. Batches are joined up to `limits`.
    pub(super) fn new(alarm: Alarm, limits: settings::BatchSettings, pace: Pace, is_proven: bool) -> Self {
        ProjectQueue {
            bytes_max: limits.max_bytes,
            bytes_max_until: None,
            limits,
            waiting: VecDeque::new(),
            aside: VecDeque::new(),
            waiting_bytes: 0,
            calls: 0,
            spans: 0,
            stored: 0,
            pace,
            refusals: Refusals::default(),
            is_proven,
            gate: None,
            epoch: 0,
            alarm,
        }
    }

    pub(super) fn class(&self) -> Class {
        match (self.is_proven, &self.gate) {
            (true, None) => Class::Proven,
            (true, Some(_)) => Class::Away,
            (false, _) => Class::Trial,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.aside.is_empty() && self.calls == 0
    }

    /// Whether it may be forgotten: nothing waits, and the first call of a new queue would be no sooner than its own.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.is_idle() && self.pace.next_call() <= now
    }

    /// Calls that may be under way at a time.
    pub(super) fn calls_limit(&self) -> usize {
        self.pace.limit()
    }

    /// What the batches wait for if calls fail, and the number of their spans.
    pub(super) fn held_up(&self) -> Option<(Action, u64)> {
        self.gate.as_ref().map(|gate| (gate.action, self.spans))
    }

    /// Appends a batch; unless it is `fresh`, it stays as it is.
    pub(super) fn push(&mut self, QueuedBatch { batch, since }: QueuedBatch, fresh: bool) {
        self.push_work(Work {
            batch,
            since,
            fresh,
            epoch: 0,
            strikes: 0,
            stored_at_strike: self.stored,
            blamed_since: None,
            suspicion: Suspicion::None,
        });
    }

    /// Appends a part of a batch that was taken out.
    pub(super) fn push_work(&mut self, work: Work) {
        self.spans += u64::from(work.batch.span_count());
        self.append(work);
    }

    fn append(&mut self, work: Work) {
        self.waiting_bytes += work.batch.encoded_len();
        self.waiting.push_back(work);
    }

    fn take_first(&mut self) -> Option<Work> {
        let work = self.waiting.pop_front()?;
        self.waiting_bytes -= work.batch.encoded_len();
        Some(work)
    }

    /// When the next call may start; `None` if nothing waits, or only for calls to end.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        let probing = self.gate.as_ref().map_or(!self.is_proven && self.calls > 0, |gate| gate.probing);
        if probing || self.calls >= self.pace.limit() {
            return None;
        }
        let first = if self.waiting.is_empty() { self.aside.front()?.0 } else { self.pace.next_call() };
        self.gate.as_ref().map(|gate| gate.opens).max(Some(self.pace.next_call().max(first)))
    }

    /// Lets the spans aside wait with the others whose time has come by `now`.
    fn bring_back(&mut self, now: Instant) {
        let count = self.aside.iter().take_while(|(at, _)| *at <= now).count();
        self.waiting.extend(self.aside.drain(..count).map(|(_, work)| work));
    }

    /// The next batch, if a call may start now, filled up with those that wait behind it. What is joined counts in
    /// `budget`.
    pub(super) fn start(&mut self, now: Instant, budget: &Budget) -> Option<Work> {
        self.ready_at().filter(|&at| at <= now)?;
        if self.bytes_max_until.take_if(|until| *until <= now).is_some() {
            self.bytes_max = self.limits.max_bytes;
        }
        self.bring_back(now);
        let mut work = self.take_first()?;
        self.fill(&mut work, budget);
        if work.batch.encoded_len() > self.bytes_max && work.batch.span_count() > 1 {
            work = self.cut_down(work);
        }
        if work.fresh && !self.refusals.is_empty() {
            work = self.without_suspects(work);
        }
        work.fresh = false;
        work.epoch = self.epoch;
        self.calls += 1;
        self.pace.started(now, self.calls);
        if let Some(gate) = &mut self.gate {
            gate.probing = true;
        }
        Some(work)
    }

    /// A part of a batch that is larger than what the sink takes; the other parts go next.
    fn cut_down(&mut self, work: Work) -> Work {
        let spans = work.batch.span_count() as usize;
        let parts = work.batch.encoded_len().div_ceil(self.bytes_max).min(spans);
        let mut parts = work.parts(|place| place * parts / spans, |_| work.suspicion);
        while parts.len() > 1 {
            parts.pop().into_iter().for_each(|part| self.prepend(part));
        }
        parts.pop().unwrap_or(work)
    }

    /// Takes note that a message of so many bytes was too large. What a proxy says that refuses everything for a moment must
    /// not make a call of each span for long.
    fn too_large(&mut self, bytes: usize, now: Instant) {
        self.bytes_max = self.bytes_max.min((bytes / 2).max(SIZE_LIMIT_MIN));
        self.bytes_max_until = Some(now + SIZE_MEMORY);
    }

    /// Sets the spans apart that feature like others that were refused: they go next, in a batch of their own.
    fn without_suspects(&mut self, work: Work) -> Work {
        let descriptions = work.batch.descriptions();
        let is_suspected = |&place: &usize| self.refusals.suspects(&descriptions[place]);
        let suspects: Vec<usize> = (0..descriptions.len()).filter(is_suspected).collect();
        if suspects.is_empty() {
            return work;
        }
        let mut parts = work.set_apart(&suspects, Suspicion::Alike).into_iter();
        match (parts.next(), parts.next()) {
            (Some(suspects), Some(others)) => {
                self.prepend(suspects);
                others
            }
            (Some(suspects), None) => suspects,
            (None, _) => work,
        }
    }

    fn prepend(&mut self, work: Work) {
        self.waiting_bytes += work.batch.encoded_len();
        self.waiting.push_front(work);
    }

    /// Takes note that a single span was refused.
    pub(super) fn refused(&mut self, batch: &Batch, now: Instant) {
        batch.descriptions().iter().for_each(|span| self.refusals.refused(span, now));
    }

    /// Calls are scarce where batches wait: as many as fit become one.
    fn fill(&mut self, work: &mut Work, budget: &Budget) {
        let (mut spans, mut bytes) = (work.batch.span_count() as usize, work.batch.encoded_len());
        let fits = |next: &&Work| {
            spans += next.batch.span_count() as usize;
            bytes += next.batch.encoded_len();
            next.fresh && spans <= self.limits.max_spans && bytes <= self.bytes_max
        };
        let count = if work.fresh { self.waiting.iter().take_while(fits).count() } else { 0 };
        let joined: Vec<Work> = self.waiting.drain(..count).collect();
        self.waiting_bytes -= joined.iter().map(|work| work.batch.encoded_len()).sum::<usize>();
        if let Some(last) = joined.last() {
            work.since = last.since;
            work.batch = work.batch.join(joined.iter().map(|work| &work.batch), budget);
        }
    }

    /// Lets the project be probed at once, and every span be sent.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.bring_back(now + ASIDE_TIME);
        if let Some(gate) = &mut self.gate {
            gate.opens = gate.opens.min(now);
        }
    }

    /// Takes note that the call of `work` ended, and that its answer asks for the action `asked`. Returns the action for
    /// the batch.
    pub(super) fn ended(
        &mut self,
        work: &mut Work,
        failure: Option<&Failure>,
        asked: Action,
        elapsed: Duration,
        now: Instant,
    ) -> Action {
        self.calls -= 1;
        let action = failure.map_or(asked, |failure| self.action(work, failure, asked, now));
        if matches!(action, Action::Done | Action::Search | Action::Halve) {
            self.spans -= u64::from(work.batch.span_count());
            if work.epoch == self.epoch {
                self.is_proven = true;
                self.gate = None;
                self.alarm.back();
            }
        }
        if failure.is_some_and(Failure::is_size) && work.batch.span_count() > 1 {
            self.too_large(work.batch.encoded_len(), now);
        }
        if action == Action::Done {
            self.stored += 1;
            if !self.refusals.is_empty() {
                self.refusals.stored(&work.batch.descriptions(), now);
            }
            self.pace.stored(self.is_full(&work.batch), elapsed);
        }
        action
    }

    fn action(&self, work: &mut Work, failure: &Failure, asked: Action, now: Instant) -> Action {
        let action = match asked {
            Action::Halve if work.is_small() && failure.origin() != Origin::Sink => Action::Hold,
            action => action,
        };
        match action {
            Action::Retry | Action::Hold | Action::SignIn if self.strike_out(work, failure, now) => Action::Halve,
            action => action,
        }
    }

    /// At least half full.
    fn is_full(&self, batch: &Batch) -> bool {
        2 * batch.span_count() as usize >= self.limits.max_spans || 2 * batch.encoded_len() >= self.bytes_max
    }

    /// Whether the fault is taken to be the batch's own. A single span is given up for what the sink says alone.
    fn strike_out(&self, work: &mut Work, failure: &Failure, now: Instant) -> bool {
        let others_went_through = self.stored > work.stored_at_strike;
        if others_went_through && retry::blames_batch(failure) {
            work.strikes += 1;
            work.stored_at_strike = self.stored;
            work.blamed_since.get_or_insert(now);
        }
        let blame_time = work.blamed_since.map_or(Duration::ZERO, |since| now - since);
        let is_proved = failure.origin() == Origin::Sink && blame_time >= BLAME_TIME_MIN;
        work.strikes >= STRIKES_MAX && (work.batch.span_count() > 1 || is_proved)
    }

    /// Failures in a row. To sign in again comes first whatever failed before.
    pub(super) fn attempts(&self, action: Action) -> u32 {
        let gate = self.gate.as_ref().filter(|gate| action != Action::SignIn || gate.action == action);
        gate.map_or(0, |gate| gate.attempts)
    }

    /// Puts the batch of a call that failed behind the others, and closes the gate for `delay`, or longer if the server
    /// asks for it. Calls that were under way together fail together: that is one failure. A span that is at fault is put
    /// aside in place of that, and returned as true.
    pub(super) fn failed(
        &mut self,
        work: Work,
        action: Action,
        failure: &Failure,
        now: Instant,
        delay: Duration,
    ) -> bool {
        if self.gate.is_none() && work.is_at_fault() {
            self.waiting_bytes += work.batch.encoded_len();
            self.aside.push_back((now + ASIDE_TIME, work));
            return true;
        }
        let asked = now + retry::server_wait(failure.status()).unwrap_or_default();
        if work.epoch == self.epoch {
            self.epoch += 1;
            let attempts = self.gate.as_ref().map_or(0, |gate| gate.attempts) + 1;
            // What a probe meets says nothing about the pace: it was alone.
            match action {
                Action::SlowDown if attempts == 1 => self.pace.quota_used_up(),
                Action::Retry if attempts == 1 => self.pace.slower(),
                _ => {}
            }
            self.gate = Some(Gate { opens: asked.max(now + delay), attempts, action, probing: false });
        } else if let Some(gate) = self.gate.as_mut().filter(|gate| !gate.probing) {
            gate.opens = gate.opens.max(asked);
        }
        self.append(work);
        false
    }

    /// Puts the batch of a call that was cut off before the others.
    pub(super) fn cut_off(&mut self, work: Work) {
        self.calls -= 1;
        self.prepend(work);
    }

    /// Says that the project is away, if that is due.
    pub(super) fn alarm(&mut self, failure: &Failure, now: Instant, advice: Option<&str>, throttle: &Throttle) {
        if let Some(gate) = &self.gate
            && self.alarm.is_due(gate.action, gate.attempts, now)
            && let Some(others) = throttle.pass(now)
        {
            self.alarm.away(gate.action, failure, now, advice, others);
        }
    }

    /// Lets the waiting batches go that came `age` ago or earlier.
    pub(super) fn give_up(&mut self, now: Instant, age: Duration) -> Vec<Batch> {
        let mut given_up = Vec::new();
        let mut is_young = |work: &Work| {
            let is_young = now.saturating_duration_since(work.since) < age;
            given_up.extend((!is_young).then(|| work.batch.clone()));
            is_young
        };
        self.waiting.retain(&mut is_young);
        self.aside.retain(|(_, work)| is_young(work));
        self.spans -= given_up.iter().map(|batch| u64::from(batch.span_count())).sum::<u64>();
        self.waiting_bytes -= given_up.iter().map(Batch::encoded_len).sum::<usize>();
        given_up
    }

    /// Bytes of the waiting batches.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// When the first waiting batch came that the spool does not have yet.
    pub(super) fn next_spilled(&self) -> Option<Instant> {
        let mut all = self.waiting.iter().chain(self.aside.iter().map(|(_, work)| work));
        all.find(|work| work.batch.record().is_none()).map(|work| work.since)
    }

    /// Takes out the batch of [`ProjectQueue::next_spilled`], filled up with those that wait behind it.
    pub(super) fn spill(&mut self, budget: &Budget) -> Option<QueuedBatch> {
        let Some(at) = self.waiting.iter().position(|work| work.batch.record().is_none()) else {
            return self.spill_aside();
        };
        self.waiting.rotate_left(at);
        let mut work = self.take_first()?;
        self.fill(&mut work, budget);
        self.waiting.rotate_right(at);
        self.spans -= u64::from(work.batch.span_count());
        Some(QueuedBatch { batch: work.batch, since: work.since })
    }

    fn spill_aside(&mut self) -> Option<QueuedBatch> {
        let at = self.aside.iter().position(|(_, work)| work.batch.record().is_none())?;
        let (_, Work { batch, since, .. }) = self.aside.remove(at)?;
        self.waiting_bytes -= batch.encoded_len();
        self.spans -= u64::from(batch.span_count());
        Some(QueuedBatch { batch, since })
    }

    /// Takes back a batch that the spool has no room for.
    pub(super) fn unspill(&mut self, aged: QueuedBatch) {
        self.push(aged, false);
        self.waiting.rotate_right(1);
    }

    /// Whether a batch of the spool would be sent soon: at once, or as a probe.
    pub(super) fn needs_batches(&self) -> bool {
        let flows = self.gate.is_none() && self.calls < self.pace.limit();
        self.waiting.is_empty() && (self.calls == 0 || flows)
    }
}
