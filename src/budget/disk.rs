//! The disk of the journal.

use std::sync::atomic::{AtomicU64, Ordering};

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
