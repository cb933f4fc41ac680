//! The scan and prost accept the same bytes, and read the same facts from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::otlp::reference::assert_agreement;

fuzz_target!(|body: &[u8]| {
    assert_agreement(body);
});
