//! The batches of one project, and the earliest time of its next call. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;
use super::pace::Pace;
use super::project_queues::Class;
use super::suspects::Refusals;
use crate::budget::Budget;
use crate::export::batch::Batch;
use crate::export::failure::{Failure, Origin};
use crate::export::retry::{self, Action};
use crate::export::settings;
use crate::export::spool::QueuedBatch;
use crate::telemetry::log::Throttle;

/// The number of strikes after which a batch is halved because it seems to cause its failures. A failure is a strike if
/// a batch can be its cause, and if other batches of the project have succeeded since the last strike.
const STRIKES_MAX: u32 = 10;
/// The time for which a single span must have had strikes before it is dropped. A partial failure of the service must
/// not be mistaken for a bad span.
pub(super) const BLAME_TIME_MIN: Duration = Duration::from_secs(600);

/// The size of a single span, in bytes, that every proxy should accept. If a proxy refuses a smaller span because of
/// its size, the proxy is misconfigured, and the span waits until that is corrected. A larger span is dropped, because
/// no later attempt would succeed.
const SIZE_LIMIT_MIN: usize = 64 << 10;

/// The time for which batches stay below half the size of a message that was too large. After that, the limit may have
/// been raised.
const SIZE_MEMORY: Duration = Duration::from_secs(600);
/// The time between attempts to send a single span that causes its failures although the sink has not refused it. No
/// other span waits for it.
pub(super) const ASIDE_TIME: Duration = Duration::from_secs(120);
/// The number of parts of a batch of suspected spans. Most of these spans are bad, so halves would need more calls.
const SUSPECTED_PARTS: usize = 8;

/// A batch to deliver.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Batch,
    /// The time at which the batch was added. For joined batches, the time of the last one.
    pub(super) since: Instant,
    /// True if the batch may be joined with others. It was never sent, is not a part of a batch that was sent, and does
    /// not come from the spool.
    fresh: bool,
    /// The value of `epoch` of the queue when the call of the batch started. The answer to a call that started before a
    /// failure was known says nothing about the time after that failure.
    epoch: u64,
    /// See [`STRIKES_MAX`].
    strikes: u32,
    /// The value of `stored` of the queue at the last strike.
    stored_at_strike: u64,
    /// The time of the first strike of this batch, or of the batch that it is a part of.
    blamed_since: Option<Instant>,
    pub(super) suspicion: Suspicion,
}

/// The reason why the sink is expected to refuse the spans of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// There is no such reason.
    None,
    /// The sink named the span in a refusal.
    Named,
    /// All spans break a known rule of the sink.
    RuleBroken,
    /// The spans share features with spans that were refused.
    Alike,
}

impl Work {
    /// Returns true if this is a single span so small that every size limit should allow it.
    fn is_small(&self) -> bool {
        self.batch.span_count() == 1 && self.batch.encoded_len() < SIZE_LIMIT_MIN
    }

    /// Returns true if this is a single span that causes its failures.
    fn is_at_fault(&self) -> bool {
        self.batch.span_count() == 1 && self.strikes >= STRIKES_MAX
    }

    /// Divides the batch: in halves, or in more parts if most of its spans are suspected.
    pub(super) fn divided(&self) -> Vec<Work> {
        let spans = self.batch.span_count() as usize;
        let parts = if self.suspicion == Suspicion::None { 2 } else { SUSPECTED_PARTS }.min(spans);
        self.parts(|place| place * parts / spans, |_| self.suspicion)
    }

    /// Separates the spans at `places` from the others. They become one batch with this suspicion, or single batches if
    /// the sink named them. `places` are in ascending order. Every part has at least one span.
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

/// Holds back the calls of a project while they fail.
#[derive(Debug)]
struct Gate {
    opens: Instant,
    /// The number of failures in a row.
    attempts: u32,
    /// The action after the last failure.
    action: Action,
    /// True while one call tests whether the sink accepts the spans of the project again.
    probing: bool,
}

/// The batches of one project.
#[derive(Debug)]
pub(super) struct ProjectQueue {
    limits: settings::BatchSettings,
    /// The size limit of a message. It is that of `limits`, or less if the sink or a proxy refused a smaller message
    /// lately.
    bytes_max: usize,
    /// The time at which `bytes_max` is set to that of `limits` again.
    bytes_max_until: Option<Instant>,
    waiting: VecDeque<Work>,
    /// Single spans that cause their failures, each with the time of its next call, in the order of these times.
    aside: VecDeque<(Instant, Work)>,
    /// Bytes of the batches in `waiting` and `aside`.
    waiting_bytes: usize,
    calls: usize,
    /// The number of spans in all batches, waiting or in a call.
    spans: u64,
    /// The number of batches that the sink has stored.
    stored: u64,
    pace: Pace,
    refusals: Refusals,
    /// True if a call of the project succeeded, or if the project is the daemon's own. Any other project has one call
    /// at a time.
    is_proven: bool,
    gate: Option<Gate>,
    epoch: u64,
    alarm: Alarm,
}

impl ProjectQueue {
    /// Creates a queue without batches. Batches are joined up to `limits`.
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

    /// Returns true if the queue can be deleted: nothing waits, and a new queue would not start a call earlier.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.is_idle() && self.pace.next_call() <= now
    }

    /// Returns the limit of concurrent calls.
    pub(super) fn calls_limit(&self) -> usize {
        self.pace.limit()
    }

    /// Returns the action for which the batches wait if calls fail, and the number of their spans.
    pub(super) fn held_up(&self) -> Option<(Action, u64)> {
        self.gate.as_ref().map(|gate| (gate.action, self.spans))
    }

    /// Appends a batch. If it is not `fresh`, it is not joined with others.
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

    /// Appends a batch, or a part of one, that was taken out before.
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

    /// Returns the time at which the next call may start. Returns `None` if nothing waits, or if a call has to end
    /// first.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        let probing = self.gate.as_ref().map_or(!self.is_proven && self.calls > 0, |gate| gate.probing);
        if probing || self.calls >= self.pace.limit() {
            return None;
        }
        let first = if self.waiting.is_empty() { self.aside.front()?.0 } else { self.pace.next_call() };
        self.gate.as_ref().map(|gate| gate.opens).max(Some(self.pace.next_call().max(first)))
    }

    /// Moves the spans in `aside` whose time has come by `now` back to the waiting batches.
    fn bring_back(&mut self, now: Instant) {
        let count = self.aside.iter().take_while(|(at, _)| *at <= now).count();
        self.waiting.extend(self.aside.drain(..count).map(|(_, work)| work));
    }

    /// Returns the next batch if a call may start now. Batches behind it are joined to it. The joined batch is charged
    /// to `budget`.
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

    /// Returns the first part of a batch that is larger than the size limit. The other parts are next in the queue.
    fn cut_down(&mut self, work: Work) -> Work {
        let spans = work.batch.span_count() as usize;
        let parts = work.batch.encoded_len().div_ceil(self.bytes_max).min(spans);
        let mut parts = work.parts(|place| place * parts / spans, |_| work.suspicion);
        while parts.len() > 1 {
            parts.pop().into_iter().for_each(|part| self.prepend(part));
        }
        parts.pop().unwrap_or(work)
    }

    /// Lowers the size limit after a message of this many bytes was too large, but not below [`SIZE_LIMIT_MIN`]. A
    /// proxy that refuses everything for a moment must not lead to one call for each span.
    fn too_large(&mut self, bytes: usize, now: Instant) {
        self.bytes_max = self.bytes_max.min((bytes / 2).max(SIZE_LIMIT_MIN));
        self.bytes_max_until = Some(now + SIZE_MEMORY);
    }

    /// Separates the spans that share features with refused ones. They are next in the queue, in a batch of their own.
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

    /// Remembers the features of a single span that was refused.
    pub(super) fn refused(&mut self, batch: &Batch, now: Instant) {
        batch.descriptions().iter().for_each(|span| self.refusals.refused(span, now));
    }

    /// Joins waiting batches to `work`, up to the limits. Batches wait only where calls are limited.
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

    /// Lets the next call start at once, and every span be sent again.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.bring_back(now + ASIDE_TIME);
        if let Some(gate) = &mut self.gate {
            gate.opens = gate.opens.min(now);
        }
    }

    /// Records that the call of `work` ended. `asked` is the action that the answer asks for. Returns the action for
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

    /// Returns true if the batch is at least half full.
    fn is_full(&self, batch: &Batch) -> bool {
        2 * batch.span_count() as usize >= self.limits.max_spans || 2 * batch.encoded_len() >= self.bytes_max
    }

    /// Records a strike if there is one, and returns true if the batch itself is taken to be the cause of its failures.
    /// A single span is given up only because of answers of the sink.
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

    /// Returns the number of failures in a row. For [`Action::SignIn`], failures that asked for another action do not
    /// count.
    pub(super) fn attempts(&self, action: Action) -> u32 {
        let gate = self.gate.as_ref().filter(|gate| action != Action::SignIn || gate.action == action);
        gate.map_or(0, |gate| gate.attempts)
    }

    /// Appends the batch of a failed call to the queue, and holds back calls for `delay`, or for longer if the server
    /// asks for it. Several calls that were running together count as one failure. A single span that causes its
    /// failures is put aside instead; then the result is true.
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
            // A single test call says nothing about the pace.
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

    /// Puts the batch of an aborted call at the front of the queue.
    pub(super) fn cut_off(&mut self, work: Work) {
        self.calls -= 1;
        self.prepend(work);
    }

    /// Logs that calls of the project fail, if an alarm is due.
    pub(super) fn alarm(&mut self, failure: &Failure, now: Instant, advice: Option<&str>, throttle: &Throttle) {
        if let Some(gate) = &self.gate
            && self.alarm.is_due(gate.action, gate.attempts, now)
            && let Some(others) = throttle.pass(now)
        {
            self.alarm.away(gate.action, failure, now, advice, others);
        }
    }

    /// Removes and returns the waiting batches that were added at least `age` ago.
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

    /// Returns the bytes of the waiting batches.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Returns the time at which the first waiting batch was added that is not in the spool.
    pub(super) fn next_spilled(&self) -> Option<Instant> {
        let mut all = self.waiting.iter().chain(self.aside.iter().map(|(_, work)| work));
        all.find(|work| work.batch.record().is_none()).map(|work| work.since)
    }

    /// Removes and returns the batch of [`ProjectQueue::next_spilled`]. Batches behind it are joined to it.
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

    /// Puts a batch back that did not fit into the spool.
    pub(super) fn unspill(&mut self, aged: QueuedBatch) {
        self.push(aged, false);
        self.waiting.rotate_right(1);
    }

    /// Returns true if a batch from the spool would be sent soon.
    pub(super) fn needs_batches(&self) -> bool {
        let flows = self.gate.is_none() && self.calls < self.pace.limit();
        self.waiting.is_empty() && (self.calls == 0 || flows)
    }
}
