//! Tests that load both processors. They are a program of their own, so that they do not take the time of other tests.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod overload;
mod resident;
mod support;
