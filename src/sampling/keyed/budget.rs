//! `budget`.

use crate::config::settings;
use crate::sampling::Threshold;

/// The state of one policy.
#[derive(Debug)]
pub struct Budget {}

impl Budget {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(_settings: &settings::Budget) -> Self {
        todo!()
    }

    /// The threshold of the next trace, which has this key and so many spans.
    pub fn threshold(&mut self, _key: u64, _span_count: u32, _now_ms: u64) -> Threshold {
        todo!()
    }

    /// A trace was kept, by whatever policy.
    pub fn kept(&mut self, _span_count: u32, _now_ms: u64) {
        todo!()
    }

    /// Spans a month at the present pace.
    pub fn month_estimate(&mut self, _now_ms: u64) -> f64 {
        todo!()
    }
}
