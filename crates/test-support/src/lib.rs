//! Helpers that tests of several packages share. Everything here stands below the daemon: helpers that need the daemon
//! itself are modules of the test programs (`tests/support.rs`), and oracles for one crate are its module `testing`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod authority;
pub mod id_tokens;
pub mod sink;
