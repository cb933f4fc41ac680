//! The memory budget: one limit in bytes for bodies (`blocks`), indices and the export queue. Beside it, this module
//! tracks how full the journal's disk is. [`ladder`] has the marks at which the daemon takes measures.
//!
//! This module is at the bottom of the crate: it knows no other module, does no I/O and reads no clock. Time is an
//! argument.
//!
//! Beyond the limit there is a reserve. Only requests use it, when they find no room below the limit. The larger the part
//! of a connection in what is asked of the reserve, the more of it the connection leaves free. Kept spans may exceed the
//! limit but use nothing of the reserve, so that small senders get through even while the sink is away.

mod blocks;
mod disk;
pub mod ladder;
mod loan;
mod share;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use self::blocks::Blocks;
pub use self::blocks::ENTRY_BYTES;
pub(crate) use self::blocks::block_bytes;
pub use self::blocks::{BodyOwner, Room};
pub use self::disk::Disk;
use self::ladder::Part;
pub use self::loan::Loan;
pub use self::share::{Claim, Share};

/// The daemon's memory budget. Clones are cheap and share one count.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<BudgetInner>,
}

#[derive(Debug)]
struct BudgetInner {
    limit_bytes: usize,
    /// Bytes in use outside the reserve.
    common_bytes: AtomicUsize,
    /// Bytes in use of the reserve.
    reserve_bytes: AtomicUsize,
    /// Bytes that connections have borrowed.
    lent_bytes: AtomicUsize,
    /// All bytes that requests have ever asked of the reserve, granted or not.
    asked_bytes: AtomicU64,
    /// The usage of the journal's disk; not set without a journal.
    disk: OnceLock<Disk>,
    blocks: Blocks,
}

impl Budget {
    /// Creates a budget of `limit_bytes` of which nothing is used.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let (disk, blocks) = (OnceLock::new(), Blocks::new(limit_bytes));
        let (common_bytes, reserve_bytes, lent_bytes, asked_bytes) = Default::default();
        let inner = BudgetInner { limit_bytes, common_bytes, reserve_bytes, lent_bytes, asked_bytes, disk, blocks };
        Budget { inner: Arc::new(inner) }
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

    /// Returns the bytes in use with those that connections have [borrowed](Loan). Their sum is held to the limit.
    #[must_use]
    pub fn filled_bytes(&self) -> usize {
        self.used_bytes() + self.inner.lent_bytes.load(Ordering::Relaxed)
    }

    /// Returns the filled bytes above `mark`; 0 if the fill is at or below it.
    #[must_use]
    pub fn over(&self, mark: Part) -> usize {
        self.filled_bytes().saturating_sub(mark.of(self.limit_bytes()))
    }

    /// Returns true if `bytes` more would leave the fill below `mark`.
    pub fn stays_below(&self, mark: Part, bytes: usize) -> bool {
        ((self.filled_bytes() + bytes) as f64) < mark.exactly_of(self.limit_bytes() as f64)
    }

    /// Returns the size of the reserve in bytes.
    fn reserve_limit_bytes(&self) -> usize {
        ladder::RESERVE.of(self.limit_bytes())
    }

    /// Returns the most bytes of the reserve that a request takes at once.
    fn reserve_request_bytes_max(&self) -> usize {
        ladder::RESERVE_REQUEST.of(self.reserve_limit_bytes())
    }

    /// Returns the bytes of the reserve that a connection leaves free. `part` is its part in what all connections ask
    /// of the reserve, from 0 to 1. The fourth root leaves a clear distance between connections that ask for a half, a
    /// fortieth and a thousandth: they leave 63 %, 30 % and 13 %.
    fn reserve_left_free(&self, part: f64) -> usize {
        (ladder::RESERVE_ALONE.exactly_of(self.reserve_limit_bytes() as f64) * part.sqrt().sqrt()) as usize
    }

    /// Returns the bytes of idle blocks. They are not in use, and any charge that needs the room displaces them.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        self.inner.blocks.idle_bytes()
    }

    /// Returns the usage of the journal's disk; `None` without a journal.
    #[must_use]
    pub fn disk(&self) -> Option<&Disk> {
        self.inner.disk.get()
    }

    /// Notes that there is a journal, whose files have `used_bytes` of at most `limit_bytes`.
    pub fn set_disk(&self, used_bytes: u64, limit_bytes: u64) {
        self.inner.disk.get_or_init(Disk::default).set(used_bytes, limit_bytes);
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

    fn blocks(&self) -> &Blocks {
        &self.inner.blocks
    }

    /// Charges `bytes` without a check. Idle blocks make way.
    fn charge(&self, bytes: usize) {
        self.inner.common_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.displace();
    }

    /// Charges `bytes` if they fit beside the bytes in use, without regard to idle blocks. Returns true if they fit.
    fn try_charge(&self, bytes: usize) -> bool {
        let lent_bytes = self.inner.lent_bytes.load(Ordering::Relaxed);
        add_within(&self.inner.common_bytes, bytes, self.inner.limit_bytes.saturating_sub(lent_bytes))
    }

    /// Charges `bytes` of a body that has left its block to the block, until the whole block is free. The body's share,
    /// which had them, is released separately.
    fn charge_block(&self, bytes: usize) {
        self.inner.common_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn uncharge(&self, bytes: usize) {
        self.inner.common_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives back idle blocks until used and idle bytes together are within the limit.
    fn displace(&self) {
        let idle = self.idle_bytes();
        let excess = (self.filled_bytes() + idle).saturating_sub(self.inner.limit_bytes);
        if excess > 0 && idle > 0 {
            self.inner.blocks.give_back(excess);
        }
    }
}

/// Adds `more_bytes` to `bytes`, unless the sum is over `limit_bytes`.
fn add_within(bytes: &AtomicUsize, more_bytes: usize, limit_bytes: usize) -> bool {
    let sum = |bytes: usize| bytes.checked_add(more_bytes).filter(|&sum| sum <= limit_bytes);
    bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

#[cfg(test)]
mod tests;
