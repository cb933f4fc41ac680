//! Runs the tests of policies, and reports their results.
//!
//! A test has a trace, written by hand or from a file, and the expected result. It runs in a [`super::Replay`], which
//! is empty before each test.

mod compare;
mod coverage;
mod encode;
pub mod report;
mod run;
mod written;

pub use coverage::{Coverage, CoverageGap, CoveredPolicy};
pub use run::{FileTraces, Runner, TestHost, TestResult};
