//! Any bytes as the shape of a request: the cost stays in proportion to the request's size, for any parts that spans
//! share.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::cost::{Shape, measure};

fuzz_target!(|shape: &[u8]| measure(&Shape::read(shape)).check());
