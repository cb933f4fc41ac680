//! One memory budget in bytes for bodies, index and export queue; and beside it, how full the journal's disk is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
        Budget { inner: Arc::new(Inner { limit_bytes, used_bytes: AtomicUsize::new(0), disk: Disk::default() }) }
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
        Share { budget: self.clone(), bytes: 0 }
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
        self.inner.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Share { budget: self.clone(), bytes }
    }
}

/// A part of the budget in use; it is given back when the share is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
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
        let limit = self.budget.limit_bytes();
        let taken = self.budget.inner.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|&sum| sum <= limit)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Takes over the bytes of `other`, a share of the same budget.
    pub fn absorb(&mut self, mut other: Share) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Makes the share exactly `bytes`, even over the limit: for the correction of an estimate.
    pub fn resize(&mut self, bytes: usize) {
        let used = &self.budget.inner.used_bytes;
        if bytes >= self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.inner.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
