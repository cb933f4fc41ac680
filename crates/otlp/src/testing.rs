//! Helpers for tests, of this crate and of the crates above it: arbitrary requests, odd encodings of them, and the
//! comparison of field numbers with the `.proto` files.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod arbitrary;
pub mod declared;
pub(crate) mod scramble;

use fastrand::Rng;

/// The folder of the fuzzer's seeds of requests.
pub const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/scan");

/// Returns the request in `body` in an encoding that protobuf allows but no exporter writes.
#[must_use]
pub fn scrambled(body: &[u8], seed: u64) -> Vec<u8> {
    scramble::scramble(&crate::schema::REQUEST, body, &mut Rng::with_seed(seed))
}
