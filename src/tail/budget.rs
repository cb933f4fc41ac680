//! One memory budget in bytes for bodies ([`blocks`](super::blocks)), index and export queue; and beside it, how full the journal's disk is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::blocks::{BlockId, Blocks};

/// When less than this part of the limit is left, it goes to those that take no more than they leave: to connections that
/// took the least lately, and to requests with a small index.
const LAST_PART: usize = 32;

/// The daemon's memory budget. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    disk: Disk,
    blocks: Blocks,
}

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
        let (used_bytes, disk, blocks) = (AtomicUsize::new(0), Disk::default(), Blocks::new(limit_bytes));
        Budget { inner: Arc::new(Inner { limit_bytes, used_bytes, disk, blocks }) }
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.inner.limit_bytes
    }

    /// The bytes in use, which [`Budget::force`] may take over the limit.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.inner.used_bytes.load(Ordering::Relaxed)
    }

    /// The bytes that are left.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.limit_bytes().saturating_sub(self.used_bytes())
    }

    /// So little is left that it has to be shared.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.left_bytes() < self.limit_bytes() / LAST_PART
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
        Share { budget: self.clone(), bytes: 0, block: None }
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
        Share { budget: self.clone(), bytes, block: None }
    }

    pub(super) fn blocks(&self) -> &Blocks {
        &self.inner.blocks
    }

    /// Takes `bytes`, which displace idle blocks.
    fn charge(&self, bytes: usize) {
        let used = self.inner.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.displace(used);
    }

    /// Takes `bytes` if they fit beside what is used; idle blocks are not asked to make way.
    pub(super) fn try_charge(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.inner.limit_bytes);
        self.inner.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// A body of `bytes` has left its block, which is charged with them until it is free. The share of the body goes as well.
    pub(super) fn charge_block(&self, bytes: usize) {
        self.inner.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn uncharge(&self, bytes: usize) {
        self.inner.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Idle blocks make way for `used` bytes.
    fn displace(&self, used: usize) {
        let idle = self.idle_bytes();
        let excess = (used + idle).saturating_sub(self.inner.limit_bytes);
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
}

impl Share {
    /// The part of a block, which is charged already, that a body has.
    pub(super) fn of_block(budget: Budget, bytes: usize, block: BlockId) -> Self {
        Share { budget, bytes, block: Some(block) }
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
            self.budget.displace(self.budget.used_bytes());
        }
        is_taken
    }

    /// Takes over the bytes of `other`, a share of the same budget.
    pub fn absorb(&mut self, mut other: Share) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Makes the share exactly `bytes`, even over the limit: for the correction of an estimate.
    pub fn resize(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.budget.charge(bytes - self.bytes);
        } else {
            self.budget.uncharge(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.uncharge(self.bytes);
    }
}
