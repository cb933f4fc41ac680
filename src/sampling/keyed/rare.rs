//! `rare`.

use crate::config::settings;

/// The state of one policy.
#[derive(Debug)]
pub struct Rare {}

impl Rare {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new(_settings: &settings::Rare) -> Self {
        todo!()
    }

    /// Whether the next trace, which has this key, is among the first of its minute.
    pub fn keeps(&mut self, _key: u64, _now_ms: u64) -> bool {
        todo!()
    }
}
