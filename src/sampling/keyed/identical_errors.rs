//! `identical_errors`.

use crate::config::settings;
use crate::sampling::Threshold;

/// The state of one policy.
#[derive(Debug)]
pub struct IdenticalErrors {}

impl IdenticalErrors {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(_settings: &settings::IdenticalErrors) -> Self {
        todo!()
    }

    /// The threshold of the next error, which has this key.
    pub fn threshold(&mut self, _key: u64, _now_ms: u64) -> Threshold {
        todo!()
    }
}
