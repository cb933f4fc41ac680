//! An embedded Cloud Trace v2 server with a store, for local runs and tests.
//!
//! It is not a mock: it enforces the limits of the real API ([`check`]), keeps what it accepted within a bound in bytes
//! ([`store`]), and shows it as JSON and as a page ([`page`]). One port speaks gRPC and HTTP.
//!
//! Invariants
//! - A batch is stored whole or not at all.
//! - Nothing that a span carries reaches a browser as markup: the HTML is static, the data comes as JSON.

pub mod check;
mod health;
mod host;
pub mod json;
pub mod origin;
pub mod page;
mod rest;
#[cfg(test)]
mod samples;
pub mod server;
pub mod service;
pub mod store;
pub mod stored;
pub mod waterfall;

pub use server::Emulator;
pub use store::{Filter, Query, Status, Store, TraceSummary};
pub use stored::StoredSpan;
