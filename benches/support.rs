//! Parts of the benchmarks.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)] // Each benchmark uses some of them.

pub mod client;
pub mod pipeline;
pub mod report;
pub mod template;
pub mod workload;
