//! Keeps on evidence that are on their way to other members.

use std::collections::VecDeque;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;

use super::view::MemberId;
use crate::otlp::TraceId;
use crate::sampling::Keep;
use crate::tail::table::Millis;

/// The time for which a proof goes to a member that is not listed.
const UNLISTED_MS: Millis = 10_000;

/// The steps in which the times of displaced proofs are remembered.
const DISPLACED_MS: Millis = 1_000;

/// A proof that a member has not confirmed.
#[derive(Clone, Copy, Debug)]
struct Unconfirmed {
    keep: Keep,
    relay: bool,
    /// The number of the next attempt.
    attempt: u64,
    /// The time of the first one.
    since_ms: Millis,
}

/// A time at which a proof is sent again. It is stale if the proof has an attempt with another number.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    at_ms: Millis,
    number: u64,
    to: MemberId,
    id: TraceId,
}

type Unconfirmeds = HashMap<(MemberId, TraceId), Unconfirmed, SeedableRandomState>;

/// Returns true if the attempt is not stale.
fn is_live(unconfirmed: &Unconfirmeds, attempt: &Attempt) -> bool {
    unconfirmed.get(&(attempt.to, attempt.id)).is_some_and(|known| known.attempt == attempt.number)
}

/// A proof that is to be sent to a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) to: MemberId,
    pub(super) id: TraceId,
    pub(super) keep: Keep,
    pub(super) relay: bool,
}

/// A trace that was kept on evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) at_ms: Millis,
    pub(super) id: TraceId,
    pub(super) keep: Keep,
}

/// A proof that the log had no room for, and that can help yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Displaced {
    /// Its number in the log.
    pub(super) number: u64,
    at_ms: Millis,
}

/// The proofs that are unconfirmed, and those of the last while.
#[derive(Debug)]
pub(super) struct Proofs {
    unconfirmed: Unconfirmeds,
    /// The attempts, in the order of their times; stale ones included.
    attempts: VecDeque<Attempt>,
    /// The attempts so far.
    attempt_count: u64,
    log: VecDeque<Logged>,
    /// The number of the last proof of each trace in the log.
    log_index: HashMap<TraceId, u64, SeedableRandomState>,
    /// The displaced proofs that are not counted as given up: a time after which none of them came, and how many they are.
    displaced: VecDeque<(Millis, u64)>,
    /// The number of the first proof in the log. They are numbered in the order in which they came.
    log_start: u64,
    /// The proofs that were given up for others since they were counted.
    given_up: u64,
    repeat_ms: Millis,
    retain_ms: Millis,
    /// The most unconfirmed proofs, and the most proofs in the log. The oldest are given up for others.
    proofs_max: usize,
}

impl Proofs {
    pub(super) fn new(repeat_ms: Millis, retain_ms: Millis, proofs_max: usize, hasher: SeedableRandomState) -> Self {
        let (unconfirmed, log_index) = (HashMap::with_hasher(hasher.clone()), HashMap::with_hasher(hasher));
        Proofs {
            unconfirmed,
            attempts: VecDeque::new(),
            attempt_count: 0,
            log: VecDeque::new(),
            log_index,
            displaced: VecDeque::new(),
            log_start: 0,
            given_up: 0,
            repeat_ms,
            retain_ms,
            proofs_max: proofs_max.max(1),
        }
    }

    /// Sets the time for which a proof can help.
    pub(super) fn set_retain_ms(&mut self, retain_ms: Millis) {
        self.retain_ms = retain_ms;
    }

    /// Notes that a proof goes to a member. Returns false if the same one is on its way.
    pub(super) fn send(&mut self, sent: Sent, now_ms: Millis) -> bool {
        let Sent { to, id, keep, relay } = sent;
        let is_same = |known: &Unconfirmed| known.keep == keep && known.relay >= relay;
        if self.unconfirmed.get(&(to, id)).is_some_and(is_same) {
            return false;
        }
        self.make_room();
        let attempt = self.attempt(to, id, now_ms);
        self.unconfirmed.insert((to, id), Unconfirmed { keep, relay, attempt, since_ms: now_ms });
        true
    }

    /// Plans an attempt to send a proof again. Returns its number.
    fn attempt(&mut self, to: MemberId, id: TraceId, now_ms: Millis) -> u64 {
        self.attempt_count += 1;
        let number = self.attempt_count;
        self.attempts.push_back(Attempt { at_ms: now_ms + self.repeat_ms, number, to, id });
        number
    }

    /// Makes room for one more proof. The oldest is given up for it if need be.
    fn make_room(&mut self) {
        let Proofs { unconfirmed, attempts, proofs_max, given_up, .. } = self;
        if attempts.len() >= 2 * *proofs_max {
            attempts.retain(|attempt| is_live(unconfirmed, attempt));
        }
        while unconfirmed.len() >= *proofs_max {
            let Some(oldest) = attempts.pop_front() else { break };
            if is_live(unconfirmed, &oldest) {
                unconfirmed.remove(&(oldest.to, oldest.id));
                *given_up += 1;
            }
        }
    }

    /// Returns true if there is room for proofs that can wait.
    pub(super) fn has_room(&self) -> bool {
        self.unconfirmed.len() < self.proofs_max.div_ceil(2)
    }

    /// Notes that proofs were not sent where they should have been.
    pub(super) fn give_up(&mut self, proofs: u64) {
        self.given_up += proofs;
    }

    /// Returns the number of proofs that were given up since the last call.
    pub(super) fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    pub(super) fn confirmed(&mut self, by: MemberId, id: TraceId) {
        self.unconfirmed.remove(&(by, id));
    }

    /// Gives up the proofs for members for which `is_live` returns false.
    pub(super) fn retain_members(&mut self, is_live: impl Fn(MemberId) -> bool) {
        self.unconfirmed.retain(|(to, _), _| is_live(*to));
    }

    /// Returns the next proof that is to be sent again.
    pub(super) fn next_attempt(&mut self, now_ms: Millis, is_live: impl Fn(MemberId) -> bool) -> Option<Sent> {
        while let Some(&Attempt { number, to, id, .. }) = self.attempts.front().filter(|next| next.at_ms <= now_ms) {
            self.attempts.pop_front();
            let Some(&known) = self.unconfirmed.get(&(to, id)).filter(|known| known.attempt == number) else {
                continue;
            };
            // A member that has just come may not be listed yet.
            let is_gone = known.since_ms + UNLISTED_MS <= now_ms && !is_live(to);
            if is_gone || known.since_ms + self.retain_ms <= now_ms {
                self.unconfirmed.remove(&(to, id));
                continue;
            }
            let attempt = self.attempt(to, id, now_ms);
            self.unconfirmed.insert((to, id), Unconfirmed { attempt, ..known });
            return Some(Sent { to, id, keep: known.keep, relay: known.relay });
        }
        None
    }

    /// Remembers a proof, for owners that come later. One that says nothing new is as good as the earlier one, while that has
    /// half of its time to go. Returns the one that is forgotten for it.
    #[must_use]
    pub(super) fn log(&mut self, id: TraceId, keep: Keep, now_ms: Millis) -> Option<Displaced> {
        self.forget_old(now_ms);
        let known = self.log_index.get(&id).and_then(|&number| self.logged(number));
        let is_known = |(_, known): (u64, Logged)| {
            known.keep.threshold <= keep.threshold && now_ms < known.at_ms + self.retain_ms / 2
        };
        if known.is_some_and(is_known) {
            return None;
        }
        self.log_index.insert(id, self.log_range().1);
        self.log.push_back(Logged { at_ms: now_ms, id, keep });
        if self.log.len() <= self.proofs_max {
            return None;
        }
        let number = self.log_start;
        // If it was not the last one of its trace, that one is told.
        self.forget_first().filter(|(_, is_last)| *is_last).map(|(first, _)| Displaced { number, at_ms: first.at_ms })
    }

    /// Notes a displaced proof that no change so far concerns.
    pub(super) fn note_displaced(&mut self, displaced: Displaced) {
        let until_ms = displaced.at_ms.next_multiple_of(DISPLACED_MS);
        match self.displaced.back_mut() {
            Some((last_ms, proofs)) if *last_ms == until_ms => *proofs += 1,
            _ => self.displaced.push_back((until_ms, 1)),
        }
    }

    /// Gives up the displaced proofs: those that a change concerns are not told of them. Each one is counted once, however
    /// many changes follow.
    pub(super) fn give_up_displaced(&mut self, now_ms: Millis) {
        self.forget_old(now_ms);
        self.given_up += self.displaced.drain(..).map(|(_, proofs)| proofs).sum::<u64>();
    }

    /// Returns the numbers of the first proof in the log and of the next one that comes.
    pub(super) fn log_range(&self) -> (u64, u64) {
        (self.log_start, self.log_start + self.log.len() as u64)
    }

    /// Returns the first proof in the log from this number on, with its number.
    pub(super) fn logged(&self, from: u64) -> Option<(u64, Logged)> {
        let number = from.max(self.log_start);
        self.log.get((number - self.log_start) as usize).map(|logged| (number, *logged))
    }

    /// Forgets the proofs that cannot help any more.
    pub(super) fn forget_old(&mut self, now_ms: Millis) {
        while self.log.front().is_some_and(|logged| logged.at_ms + self.retain_ms <= now_ms) {
            self.forget_first();
        }
        while self.displaced.front().is_some_and(|(until_ms, _)| until_ms + self.retain_ms <= now_ms) {
            self.displaced.pop_front();
        }
    }

    /// Returns the first proof in the log, which is forgotten, and true if it was the last one of its trace.
    fn forget_first(&mut self) -> Option<(Logged, bool)> {
        let first = self.log.pop_front()?;
        let is_last = self.log_index.get(&first.id) == Some(&self.log_start);
        if is_last {
            self.log_index.remove(&first.id);
        }
        self.log_start += 1;
        Some((first, is_last))
    }

    /// Returns the number of unconfirmed proofs.
    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.unconfirmed.allocation_size()
            + self.attempts.capacity() * size_of::<Attempt>()
            + self.log.capacity() * size_of::<Logged>()
            + self.log_index.allocation_size()
            + self.displaced.capacity() * size_of::<(Millis, u64)>()
    }
}
