//! The memory budget: one limit in bytes for bodies ([`blocks`](super::blocks)), indices and the export queue. Beside
//! it, this module tracks how full the journal's disk is.
//!
//! Beyond the limit there is a reserve. Only requests use it, when they find no room below the limit. A connection may
//! hold at most as much of the reserve as it leaves for others. Kept spans may exceed the limit but use nothing of the
//! reserve, so that small senders get through even while the sink is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::blocks::{BlockId, Blocks};

/// The divisor of the limit that gives the size of the reserve: half of the room that encoded spans have beyond the
/// limit, so that the default limit still leaves some percent of the container free.
const RESERVE_PART: usize = 32;

/// The daemon's memory budget. Clones are cheap and share one count.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit_bytes: usize,
    /// Bytes in use outside the reserve.
    common_bytes: AtomicUsize,
    /// Bytes in use of the reserve.
    reserve_bytes: AtomicUsize,
    disk: Disk,
    blocks: Blocks,
}

/// The bytes of the reserve that one connection holds.
#[derive(Debug, Default)]
pub struct Claim(AtomicUsize);

/// The disk usage of the journal. Without a journal it is never over a limit.
#[derive(Debug, Default)]
pub struct Disk {
    used_bytes: AtomicU64,
    limit_bytes: AtomicU64,
}

impl Disk {
    /// Sets the bytes in use and the limit.
    pub fn set(&self, used_bytes: u64, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
    }

    /// Returns true if more than `mark` (0 to 1) of the limit is used.
    #[must_use]
    pub fn is_over(&self, mark: f64) -> bool {
        self.used_bytes() as f64 > self.limit_bytes() as f64 * mark
    }

    /// Returns the bytes of disk that the journal uses.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Returns the most bytes of disk that the journal may use; 0 without a journal.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }
}

impl Budget {
    /// Creates a budget of `limit_bytes` of which nothing is used.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let (disk, blocks) = (Disk::default(), Blocks::new(limit_bytes));
        let (common_bytes, reserve_bytes) = Default::default();
        Budget { inner: Arc::new(Inner { limit_bytes, common_bytes, reserve_bytes, disk, blocks }) }
    }

    /// Returns the limit in bytes, without the reserve.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.inner.limit_bytes
    }

    /// Returns the bytes in use, including the reserve. [`Budget::force`] can exceed the limit, too.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.inner.common_bytes.load(Ordering::Relaxed) + self.inner.reserve_bytes.load(Ordering::Relaxed)
    }

    /// Returns the size of the reserve in bytes.
    fn reserve_limit_bytes(&self) -> usize {
        self.limit_bytes() / RESERVE_PART
    }

    /// Returns the bytes of idle blocks. They are not in use, and any charge that needs the room displaces them.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.inner.blocks.idle_bytes()
    }

    /// Returns the usage of the journal's disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Returns true if the two are clones of the same budget.
    #[must_use]
    pub fn is(&self, other: &Budget) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Returns an empty share, which can grow.
    #[must_use]
    pub fn share(&self) -> Share {
        Share::new(self.clone(), 0, None, None)
    }

    /// Charges `bytes`. Returns `None` and charges nothing if they do not fit.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow(bytes).then_some(share)
    }

    /// Charges `bytes` even beyond the limit, for spans that are kept and must not be dropped.
    #[must_use]
    pub fn force(&self, bytes: usize) -> Share {
        self.charge(bytes);
        Share::new(self.clone(), bytes, None, None)
    }

    pub(super) fn blocks(&self) -> &Blocks {
        &self.inner.blocks
    }

    /// Charges `bytes` without a check. Idle blocks make way.
    fn charge(&self, bytes: usize) {
        self.inner.common_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.displace();
    }

    /// Charges `bytes` if they fit beside the bytes in use, without regard to idle blocks. Returns true if they fit.
    pub(super) fn try_charge(&self, bytes: usize) -> bool {
        add_within(&self.inner.common_bytes, bytes, self.inner.limit_bytes)
    }

    /// Charges `bytes` of a body that has left its block to the block, until the whole block is free. The body's share,
    /// which had them, is released separately.
    pub(super) fn charge_block(&self, bytes: usize) {
        self.inner.common_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn uncharge(&self, bytes: usize) {
        self.inner.common_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives back idle blocks until used and idle bytes together are within the limit.
    fn displace(&self) {
        let idle = self.idle_bytes();
        let excess = (self.used_bytes() + idle).saturating_sub(self.inner.limit_bytes);
        if excess > 0 && idle > 0 {
            self.inner.blocks.give_back(excess);
        }
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
    fn new(budget: Budget, bytes: usize, block: Option<BlockId>, claim: Option<Arc<Claim>>) -> Self {
        Share { budget, bytes, block, claim, reserve_bytes: 0 }
    }

    /// Returns the share of a body in a block. The bytes are already charged with the block.
    pub(super) fn of_block(budget: Budget, bytes: usize, block: BlockId) -> Self {
        Share::new(budget, bytes, Some(block), None)
    }

    pub(super) fn block(&self) -> Option<BlockId> {
        self.block
    }

    /// Notes that the body is now in `block`, or in no block.
    pub(super) fn move_to(&mut self, block: Option<BlockId>) {
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

    /// Charges `bytes` of the reserve for the same request, if at least as much of the reserve then stays free as the
    /// connection holds. Idle blocks make way.
    #[must_use]
    pub fn of_reserve(&self, bytes: usize) -> Option<Share> {
        let claim = self.claim.as_ref()?;
        let own_bytes = claim.0.load(Ordering::Relaxed).saturating_add(bytes);
        let bytes_max = self.budget.reserve_limit_bytes().saturating_sub(own_bytes);
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

/// Adds `more_bytes` to `bytes`, unless the sum is over `limit_bytes`.
fn add_within(bytes: &AtomicUsize, more_bytes: usize, limit_bytes: usize) -> bool {
    let sum = |bytes: usize| bytes.checked_add(more_bytes).filter(|&sum| sum <= limit_bytes);
    bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

#[cfg(test)]
mod tests;
