//! `adaptive`.

use crate::config::settings;
use crate::sampling::Threshold;

/// The state of one policy.
#[derive(Debug)]
pub struct Adaptive {}

impl Adaptive {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(_settings: &settings::Adaptive) -> Self {
        todo!()
    }

    /// The threshold of the next trace, which has this key and so many spans.
    pub fn threshold(&mut self, _key: u64, _span_count: u32, _now_ms: u64) -> Threshold {
        todo!()
    }
}
