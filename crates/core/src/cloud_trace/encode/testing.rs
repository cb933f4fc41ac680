//! An oracle for the encoder, and generators of its input: for the tests of this crate, the benchmark, the fuzz target
//! and the comparison with the Collector.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod generate;
pub mod reference;
