//! Memory of connections, which is outside of the budget but takes room from it.

use std::sync::atomic::Ordering;

use super::{Budget, Share};

/// Bytes of the limit that a connection has borrowed for its own memory. Spans cannot use them meanwhile. Dropping the
/// loan gives the bytes back.
#[derive(Debug)]
pub struct Loan {
    budget: Budget,
    bytes: usize,
}

impl From<Share> for Loan {
    fn from(share: Share) -> Self {
        let (budget, bytes) = (share.budget().clone(), share.bytes());
        budget.inner.lent_bytes.fetch_add(bytes, Ordering::Relaxed);
        Loan { budget, bytes }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.budget.inner.lent_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
