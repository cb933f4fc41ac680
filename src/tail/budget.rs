//! One memory budget in bytes for bodies ([`blocks`](super::blocks)), index and export queue; and beside it, how full the journal's disk is.
//!
//! Beyond the limit lies a reserve, which only requests take of, when they find no room below the limit. A connection holds at most
//! as much of it as it leaves. What is kept may go over the limit, and takes nothing of the reserve: so senders of little get
//! through also while the sink is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::blocks::{BlockId, Blocks};

/// The reserve, as a part of the limit: half of the room that encoded spans have beyond the limit, so that the default limit still
/// leaves some percent of the container free.
const RESERVE_PART: usize = 32;

/// The daemon's memory budget. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit_bytes: usize,
    /// In use, but for the reserve.
    common_bytes: AtomicUsize,
    /// In use of the reserve.
    reserve_bytes: AtomicUsize,
    disk: Disk,
    blocks: Blocks,
}

/// The bytes that one connection holds of the reserve.
#[derive(Debug, Default)]
pub struct Claim(AtomicUsize);

/// The bytes that the journal has on the disk. Never over a limit without a journal.
#[derive(Debug, Default)]
pub struct Disk {
    used_bytes: AtomicU64,
    limit_bytes: AtomicU64,
}

impl Disk {
    /// There are `used_bytes` now, and may be `limit_bytes`.
    pub fn set(&self, used_bytes: u64, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
    }

    /// Whether more than `mark` (a part of 1) of the limit is used.
    #[must_use]
    pub fn is_over(&self, mark: f64) -> bool {
        self.used_bytes() as f64 > self.limit_bytes() as f64 * mark
    }

    /// Bytes in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The most of them; 0 without a journal.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }
}

impl Budget {
    /// A budget of `limit_bytes`, nothing of it used.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let (disk, blocks) = (Disk::default(), Blocks::new(limit_bytes));
        let (common_bytes, reserve_bytes) = Default::default();
        Budget { inner: Arc::new(Inner { limit_bytes, common_bytes, reserve_bytes, disk, blocks }) }
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.inner.limit_bytes
    }

    /// The bytes in use, with those of the reserve. [`Budget::force`] may take more than the limit, too.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.inner.common_bytes.load(Ordering::Relaxed) + self.inner.reserve_bytes.load(Ordering::Relaxed)
    }

    /// The bytes of the reserve.
    fn reserve_limit_bytes(&self) -> usize {
        self.limit_bytes() / RESERVE_PART
    }

    /// The bytes of idle blocks, which are not in use and make way for what is.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.inner.blocks.idle_bytes()
    }

    /// The journal's disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Whether the two count together.
    #[must_use]
    pub fn is(&self, other: &Budget) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// An empty share, to grow.
    #[must_use]
    pub fn share(&self) -> Share {
        Share::new(self.clone(), 0, None, None)
    }

    /// Takes `bytes`, or nothing if they would not fit.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow(bytes).then_some(share)
    }

    /// Takes `bytes` even over the limit: for what has been kept and must not be dropped.
    #[must_use]
    pub fn force(&self, bytes: usize) -> Share {
        self.charge(bytes);
        Share::new(self.clone(), bytes, None, None)
    }

    pub(super) fn blocks(&self) -> &Blocks {
        &self.inner.blocks
    }

    /// Takes `bytes`, which displace idle blocks.
    fn charge(&self, bytes: usize) {
        self.inner.common_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.displace();
    }

    /// Takes `bytes` if they fit beside what is used; idle blocks are not asked to make way.
    pub(super) fn try_charge(&self, bytes: usize) -> bool {
        add_within(&self.inner.common_bytes, bytes, self.inner.limit_bytes)
    }

    /// A body of `bytes` has left its block, which is charged with them until it is free. The share of the body goes as well.
    pub(super) fn charge_block(&self, bytes: usize) {
        self.inner.common_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn uncharge(&self, bytes: usize) {
        self.inner.common_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Idle blocks make way for what is in use.
    fn displace(&self) {
        let idle = self.idle_bytes();
        let excess = (self.used_bytes() + idle).saturating_sub(self.inner.limit_bytes);
        if excess > 0 && idle > 0 {
            self.inner.blocks.give_back(excess);
        }
    }
}

/// A part of the budget in use; it is given back when the share is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
    /// Where the body is that it covers, if that shares a block with others.
    block: Option<BlockId>,
    /// Of the connection that it is for. Without one, nothing can be taken of the reserve.
    claim: Option<Arc<Claim>>,
    /// How many of its bytes are of the reserve.
    reserve_bytes: usize,
}

impl Share {
    fn new(budget: Budget, bytes: usize, block: Option<BlockId>, claim: Option<Arc<Claim>>) -> Self {
        Share { budget, bytes, block, claim, reserve_bytes: 0 }
    }

    /// The part of a block, which is charged already, that a body has.
    pub(super) fn of_block(budget: Budget, bytes: usize, block: BlockId) -> Self {
        Share::new(budget, bytes, Some(block), None)
    }

    pub(super) fn block(&self) -> Option<BlockId> {
        self.block
    }

    /// The body is in `block` now.
    pub(super) fn move_to(&mut self, block: Option<BlockId>) {
        self.block = block;
    }

    /// The bytes of this share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget that it is a part of.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes `bytes` more; false, and nothing taken, if they would not fit.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let is_taken = self.budget.try_charge(bytes);
        if is_taken {
            self.bytes += bytes;
            self.budget.displace();
        }
        is_taken
    }

    /// The same share, for a request of the connection that has `claim`.
    #[must_use]
    pub fn claimed(mut self, claim: &Arc<Claim>) -> Self {
        self.claim.get_or_insert_with(|| Arc::clone(claim));
        self
    }

    /// An empty share for the same request.
    #[must_use]
    pub fn beside(&self) -> Share {
        Share::new(self.budget.clone(), 0, None, self.claim.clone())
    }

    /// Takes `bytes` of the reserve for the same request, if its connection then leaves as much as it holds. Idle blocks make way.
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

    /// Makes the share exactly `bytes`, even over the limit: for the correction of an estimate. What it gives back is of the reserve
    /// first.
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
