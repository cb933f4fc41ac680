//! The scan and prost accept the same bytes, read the same facts from them, and give the same answers to conditions.
#![no_main]

use std::hash::{DefaultHasher, Hasher};

use libfuzzer_sys::fuzz_target;
use spansieve::{otlp, sampling};

fuzz_target!(|body: &[u8]| {
    otlp::reference::assert_agreement(body);
    // The body selects the conditions, so that a finding can be repeated.
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    sampling::reference::assert_agreement(body, hasher.finish());
});
