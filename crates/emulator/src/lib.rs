//! An embedded Cloud Trace v2 server with a store, for local runs and tests.
//!
//! The server is not a mock. It enforces the limits of the real API ([`check`]), keeps the accepted spans within a
//! limit in bytes ([`store`]), and shows them as JSON and as web pages ([`page`]). One port serves both gRPC and HTTP.
//!
//! Invariants
//! - A batch is stored whole or not at all.
//! - Nothing in a span reaches a browser as markup: the HTML is static, and the data comes as JSON.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

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
pub mod settings;
pub mod store;
pub mod stored;
pub mod waterfall;

pub use server::Emulator;
pub use store::{Filter, Query, StoreStatus, TraceStore, TraceSummary};
pub use stored::StoredSpan;

use spansieve_core::condition;
use spansieve_otlp as otlp;
use spansieve_proto as proto;
