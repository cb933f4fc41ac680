//! The colors of services. Each service gets the next number when it first arrives, so that services share a color only
//! if there are very many.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Maximum services with a color of their own: far more than a page can show, at 24 B each.
const SERVICES_MAX: usize = 4_096;

/// A color number for each service. The map holds hashes of services, because their names may be long.
#[derive(Debug, Default)]
pub(super) struct Colors {
    hasher: RandomState,
    by_service: HashMap<u64, u32>,
}

impl Colors {
    /// Gives `service` the next number if it has none.
    pub(super) fn see(&mut self, service: &str) {
        let next = self.by_service.len();
        if next < SERVICES_MAX {
            self.by_service.entry(self.hasher.hash_one(service)).or_insert(next as u32);
        }
    }

    /// Returns the number of `service`, below [`SERVICES_MAX`]. Services beyond the first [`SERVICES_MAX`] share
    /// numbers.
    pub(super) fn of(&self, service: &str) -> u32 {
        let hash = self.hasher.hash_one(service);
        self.by_service.get(&hash).copied().unwrap_or((hash % SERVICES_MAX as u64) as u32)
    }
}

#[cfg(test)]
mod tests;
