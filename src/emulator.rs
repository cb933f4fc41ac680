//! An embedded Cloud Trace v2 server with a store, for local runs and tests.
//!
//! It is not a mock: it enforces the limits of the real API ([`check`]), and keeps what it accepted within a bound in bytes
//! ([`store`]).
//!
//! Invariants
//! - A batch is stored whole or not at all.

pub mod check;
#[cfg(test)]
mod samples;
pub mod store;
pub mod stored;
pub mod waterfall;

pub use store::{Filter, Query, Status, Store, TraceSummary};
pub use stored::StoredSpan;
