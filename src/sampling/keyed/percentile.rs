//! `percentile`.

use crate::config::settings;

/// The state of one policy.
#[derive(Debug)]
pub struct Percentile {}

impl Percentile {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(_settings: &settings::Percentile) -> Self {
        todo!()
    }

    /// Whether a trace of this duration is slow for its key; then learns it.
    pub fn is_slow(&mut self, _key: u64, _duration_ms: u64, _now_ms: u64) -> bool {
        todo!()
    }
}
