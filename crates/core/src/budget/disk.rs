//! The disk of the journal.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ladder::Part;

/// The disk usage of the journal.
#[derive(Debug, Default)]
pub struct Disk {
    used_bytes: AtomicU64,
    limit_bytes: AtomicU64,
}

impl Disk {
    /// Sets the bytes in use and the limit.
    pub(super) fn set(&self, used_bytes: u64, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
    }

    /// Returns true if more than `mark` of the limit is used.
    #[must_use]
    pub fn is_over(&self, mark: Part) -> bool {
        self.used_bytes() as f64 > mark.exactly_of(self.limit_bytes() as f64)
    }

    /// Returns the bytes of disk that the journal uses.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Returns the most bytes of disk that the journal may use.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }
}
