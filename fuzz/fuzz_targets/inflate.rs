//! Any bytes as a compressed body: no panic, and never more memory than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::receiver::inflate::{Coding, inflate};

const CAP: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    for coding in Coding::ALL {
        let mut granted = 0;
        let mut windows = 0;
        let grant = |bytes| {
            granted += bytes;
            true
        };
        let grant_window = |bytes| {
            windows += bytes;
            true
        };
        let result = inflate(coding, input, CAP, grant, grant_window);
        assert!(windows <= 9 << 20);
        assert!(granted <= CAP);
        if let Ok(bytes) = result {
            assert!(bytes.capacity() <= granted);
        }
    }
});
