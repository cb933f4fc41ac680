//! Any bytes as OTLP/JSON: no panic, and an accepted request is protobuf that the scan does not need to repair.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use spansieve::otlp::json::to_protobuf;
use spansieve::otlp::scan::{NoProbe, Scan, scan};

fuzz_target!(|body: &[u8]| {
    if let Ok(wire) = to_protobuf(body) {
        let wire = Bytes::from(wire);
        let canonical = scan(wire.clone(), &NoProbe, &mut Scan::default());
        assert_eq!(canonical.as_ref(), Ok(&wire));
    }
});
