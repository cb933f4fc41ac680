//! Shares of the budget, and the claims of connections on its reserve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::blocks::BlockId;
use super::{Budget, add_within};

/// Once requests have asked for this many times the reserve, earlier asks count half. So the part of a connection in
/// all asks is that of its latest ones. No clock is needed: while nothing asks, nothing changes.
const ASKED_TIMES: u64 = 16;

/// The first ask of a connection counts with additional bytes: those of [`ASKED_TIMES`], divided by this number. So a
/// sender does not look small because it has connected again. The addition also counts in what all connections ask for,
/// and fades with the next asks of all.
const NEW_PART: u64 = 512;

/// The bytes of the reserve that one connection has asked for, granted or not.
#[derive(Debug, Default)]
pub struct Claim(Mutex<Option<Asked>>);

/// A sum of bytes of which earlier ones count less, and the generation of asks in which it was last changed.
#[derive(Clone, Copy, Debug)]
struct Asked {
    generation: u64,
    bytes: u64,
}

impl Claim {
    /// Notes that the connection asks for `bytes`. Returns its part of what all connections have asked for, from 0 to 1.
    /// `all_bytes` is the sum that all have ever asked for, and it halves each time that it grows by `window_bytes`.
    fn ask(&self, bytes: usize, all_bytes: &AtomicU64, window_bytes: u64) -> f64 {
        let window_bytes = window_bytes.max(1);
        let mut own = self.0.lock();
        let bytes = bytes as u64 + if own.is_none() { window_bytes / NEW_PART } else { 0 };
        let before = all_bytes.fetch_add(bytes, Ordering::Relaxed);
        let (generation, bytes_in_it) = (before / window_bytes, before % window_bytes + bytes);
        let own = own.get_or_insert(Asked { generation, bytes: 0 });
        let age = generation.saturating_sub(own.generation);
        own.bytes = own.bytes.checked_shr(u32::try_from(age).unwrap_or(u32::MAX)).unwrap_or(0) + bytes;
        own.generation = own.generation.max(generation);
        // The generations before this one count 1/2, 1/4 and so on, together nearly one window.
        let earlier_bytes =
            window_bytes - window_bytes.checked_shr(u32::try_from(generation).unwrap_or(u32::MAX)).unwrap_or(0);
        (own.bytes as f64 / (earlier_bytes + bytes_in_it) as f64).min(1.0)
    }
}

/// A part of the budget in use. Dropping the share gives it back.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
    /// The block of the body that the share covers, if that body shares a block with others.
    block: Option<BlockId>,
    /// The claim of the connection that the share is for. Without one, the share cannot use the reserve.
    claim: Option<Arc<Claim>>,
    /// Bytes of the share that are from the reserve.
    reserve_bytes: usize,
}

impl Share {
    pub(super) fn new(budget: Budget, bytes: usize, block: Option<BlockId>, claim: Option<Arc<Claim>>) -> Self {
        Share { budget, bytes, block, claim, reserve_bytes: 0 }
    }

    /// Returns the share of a body in a block. The bytes are already charged with the block.
    pub(super) fn of_block(budget: Budget, bytes: usize, block: BlockId) -> Self {
        Share::new(budget, bytes, Some(block), None)
    }

    /// Returns the block of the body that the share covers; `None` if the body has an allocation of its own.
    pub(crate) fn block(&self) -> Option<BlockId> {
        self.block
    }

    /// Notes that the body is now in `block`, or in no block.
    pub(crate) fn move_to(&mut self, block: Option<BlockId>) {
        self.block = block;
    }

    /// Returns the bytes of this share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the budget that the share is a part of.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Adds `bytes` to the share. Returns false and adds nothing if they do not fit.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let is_taken = self.budget.try_charge(bytes);
        if is_taken {
            self.bytes += bytes;
            self.budget.displace();
        }
        is_taken
    }

    /// Returns the share, assigned to the connection that has `claim` unless it already belongs to one.
    #[must_use]
    pub fn claimed(mut self, claim: &Arc<Claim>) -> Self {
        self.claim.get_or_insert_with(|| Arc::clone(claim));
        self
    }

    /// Returns an empty share for the same request.
    #[must_use]
    pub fn beside(&self) -> Share {
        Share::new(self.budget.clone(), 0, None, self.claim.clone())
    }

    /// Charges `bytes` of the reserve for the same request, if they are few (`Budget::reserve_request_bytes_max`) and
    /// leave free as much as the connection must leave (`Budget::reserve_left_free`). Idle blocks make way.
    #[must_use]
    pub fn of_reserve(&self, bytes: usize) -> Option<Share> {
        let (claim, budget) = (self.claim.as_ref()?, &self.budget);
        // A large request counts with the most that it could take, so that announcing much does not make all others
        // look small.
        let counted_bytes = bytes.min(budget.reserve_request_bytes_max());
        let window_bytes = ASKED_TIMES * budget.reserve_limit_bytes() as u64;
        let part = claim.ask(counted_bytes, &budget.inner.asked_bytes, window_bytes);
        let bytes_max = budget.reserve_limit_bytes() - budget.reserve_left_free(part);
        if bytes > counted_bytes || !add_within(&budget.inner.reserve_bytes, bytes, bytes_max) {
            return None;
        }
        budget.displace();
        let mut share = self.beside();
        (share.bytes, share.reserve_bytes) = (bytes, bytes);
        Some(share)
    }

    /// Takes over the bytes of `other`, a share for the same request.
    pub fn absorb(&mut self, mut other: Share) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.reserve_bytes += std::mem::take(&mut other.reserve_bytes);
        self.claim = self.claim.take().or_else(|| other.claim.take());
    }

    /// Sets the share to exactly `bytes`, even beyond the limit, to correct an estimate. A smaller share gives back
    /// bytes of the reserve first.
    pub fn resize(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.budget.charge(bytes - self.bytes);
        } else {
            let less_bytes = self.bytes - bytes;
            let of_reserve_bytes = less_bytes.min(self.reserve_bytes);
            self.give_back_reserve(of_reserve_bytes);
            self.budget.uncharge(less_bytes - of_reserve_bytes);
        }
        self.bytes = bytes;
    }

    fn give_back_reserve(&mut self, bytes: usize) {
        self.budget.inner.reserve_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.reserve_bytes -= bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}
