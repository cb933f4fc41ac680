//! The daemon's own metrics, logs and health. Never on the path of a span: counters are added to once per request,
//! decision round or batch.

pub mod health;
pub mod labels;
pub mod log;
pub mod metrics;
pub mod pulse;

pub use health::Health;
pub use metrics::Metrics;
pub use pulse::Pulse;
