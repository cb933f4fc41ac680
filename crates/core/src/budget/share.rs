//! Shares of the budget, and the claims of connections on its reserve.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::blocks::BlockId;
use super::{Budget, add_within};

/// The least that a connection leaves free of the reserve, as a multiple of what it holds: `n` greedy connections hold
/// an `(n+4)`th each, and the next one finds four of these parts free. With 1 in place of 4, two greedy connections
/// would leave it a third of the reserve, of which it may hold half.
const LEAVES_TIMES: usize = 4;

/// The bytes of the reserve that one connection holds.
#[derive(Debug, Default)]
pub struct Claim(pub(super) AtomicUsize);

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
    /// at least `LEAVES_TIMES` as much of the reserve then stays free as the connection holds. Idle blocks make way.
    #[must_use]
    pub fn of_reserve(&self, bytes: usize) -> Option<Share> {
        let claim = self.claim.as_ref()?;
        if bytes > self.budget.reserve_request_bytes_max() {
            return None;
        }
        let own_bytes = claim.0.load(Ordering::Relaxed).saturating_add(bytes);
        let bytes_max = self.budget.reserve_limit_bytes().saturating_sub(LEAVES_TIMES.saturating_mul(own_bytes));
        if !add_within(&self.budget.inner.reserve_bytes, bytes, bytes_max) {
            return None;
        }
        claim.0.fetch_add(bytes, Ordering::Relaxed);
        self.budget.displace();
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
        if let Some(claim) = self.claim.as_ref().filter(|_| bytes > 0) {
            claim.0.fetch_sub(bytes, Ordering::Relaxed);
            self.budget.inner.reserve_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.reserve_bytes -= bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}
