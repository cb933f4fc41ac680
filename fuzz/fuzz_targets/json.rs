//! Any bytes as OTLP/JSON: no panic, and what is taken scans without being mended.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use spansieve::otlp::json::to_protobuf;
use spansieve::otlp::scan::{Bits, Probe, Scan, scan};
use spansieve::otlp::view::{AnyValue, StatusCode};

struct NoProbe;

impl Probe for NoProbe {
    fn resource_attribute(&self, _: &[u8], _: AnyValue<'_>) -> Bits {
        0
    }
    fn span_attribute(&self, _: &[u8], _: AnyValue<'_>) -> Bits {
        0
    }
    fn status(&self, _: StatusCode) -> Bits {
        0
    }
}

fuzz_target!(|body: &[u8]| {
    if let Ok(wire) = to_protobuf(body) {
        let wire = Bytes::from(wire);
        let canonical = scan(wire.clone(), &NoProbe, &mut Scan::default());
        assert_eq!(canonical.as_ref(), Ok(&wire));
    }
});
