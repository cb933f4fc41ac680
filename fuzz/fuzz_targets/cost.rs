//! Any bytes as the shape of a request: its cost stays in proportion to its size, whatever its spans share.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::cost::{Shape, measure};

fuzz_target!(|shape: &[u8]| measure(&Shape::read(shape)).check());
