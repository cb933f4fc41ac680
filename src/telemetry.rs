//! The daemon's own metrics, logs and health. They stay off the path of single spans: counters are incremented once per
//! request, decision round or batch.

pub mod health;
pub mod labels;
pub mod log;
pub mod metrics;
pub mod process;
pub mod pulse;
pub mod settings;

pub use health::Health;
pub use metrics::Metrics;
pub use pulse::Pulse;
