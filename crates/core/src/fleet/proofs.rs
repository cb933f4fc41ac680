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

/// A proof that a member has not confirmed.
#[derive(Clone, Copy, Debug)]
struct Unconfirmed {
    keep: Keep,
    relay: bool,
    /// The time of the next attempt.
    next_ms: Millis,
    /// The time of the first one.
    since_ms: Millis,
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

/// The proofs that are unconfirmed, and those of the last while.
#[derive(Debug)]
pub(super) struct Proofs {
    unconfirmed: HashMap<(MemberId, TraceId), Unconfirmed, SeedableRandomState>,
    /// The attempts, in the order of their times; stale ones included.
    attempts: VecDeque<(Millis, MemberId, TraceId)>,
    log: VecDeque<Logged>,
    repeat_ms: Millis,
    retain_ms: Millis,
    /// The most unconfirmed proofs, and the most proofs in the log. The oldest are given up for others.
    proofs_max: usize,
}

impl Proofs {
    pub(super) fn new(repeat_ms: Millis, retain_ms: Millis, proofs_max: usize, hasher: SeedableRandomState) -> Self {
        let unconfirmed = HashMap::with_hasher(hasher);
        let (attempts, log) = (VecDeque::new(), VecDeque::new());
        Proofs { unconfirmed, attempts, log, repeat_ms, retain_ms, proofs_max: proofs_max.max(1) }
    }

    /// Notes that a proof goes to a member. Returns false if the same one is on its way.
    pub(super) fn send(&mut self, sent: Sent, now_ms: Millis) -> bool {
        let Sent { to, id, keep, relay } = sent;
        let is_same = |known: &Unconfirmed| known.keep == keep && known.relay >= relay;
        if self.unconfirmed.get(&(to, id)).is_some_and(is_same) {
            return false;
        }
        while self.unconfirmed.len() >= self.proofs_max || self.attempts.len() >= 2 * self.proofs_max {
            let Some((at_ms, to, id)) = self.attempts.pop_front() else { break };
            if self.unconfirmed.get(&(to, id)).is_some_and(|known| known.next_ms == at_ms) {
                self.unconfirmed.remove(&(to, id));
            }
        }
        let next_ms = now_ms + self.repeat_ms;
        self.unconfirmed.insert((to, id), Unconfirmed { keep, relay, next_ms, since_ms: now_ms });
        self.attempts.push_back((next_ms, to, id));
        true
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
        while let Some(&(at_ms, to, id)) = self.attempts.front().filter(|(at_ms, ..)| *at_ms <= now_ms) {
            self.attempts.pop_front();
            let Some(known) = self.unconfirmed.get_mut(&(to, id)).filter(|known| known.next_ms == at_ms) else {
                continue;
            };
            // A member that has just come may not be listed yet.
            let is_gone = known.since_ms + UNLISTED_MS <= now_ms && !is_live(to);
            if is_gone || known.since_ms + self.retain_ms <= now_ms {
                self.unconfirmed.remove(&(to, id));
                continue;
            }
            known.next_ms = now_ms + self.repeat_ms;
            let sent = Sent { to, id, keep: known.keep, relay: known.relay };
            self.attempts.push_back((known.next_ms, to, id));
            return Some(sent);
        }
        None
    }

    /// Remembers a proof, for owners that come later.
    pub(super) fn log(&mut self, id: TraceId, keep: Keep, now_ms: Millis) {
        self.forget_old(now_ms);
        if self.log.len() >= self.proofs_max {
            self.log.pop_front();
        }
        self.log.push_back(Logged { at_ms: now_ms, id, keep });
    }

    /// Returns the proofs since `from_ms` that can still help.
    pub(super) fn since(&self, from_ms: Millis) -> Vec<Logged> {
        self.log.iter().filter(|logged| logged.at_ms >= from_ms).copied().collect()
    }

    pub(super) fn forget_old(&mut self, now_ms: Millis) {
        while self.log.front().is_some_and(|logged| logged.at_ms + self.retain_ms <= now_ms) {
            self.log.pop_front();
        }
    }

    /// Returns the number of unconfirmed proofs.
    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.unconfirmed.allocation_size()
            + self.attempts.capacity() * size_of::<(Millis, MemberId, TraceId)>()
            + self.log.capacity() * size_of::<Logged>()
    }
}
