use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::otlp::write;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_cost_is_at_most_in_proportion_to_the_size_of_the_request(shape in vec(any::<u8>(), 1..96)) {
        measure(&Shape::read(&shape)).check();
    }
}

/// The resources together are larger than the caches of the encoders, which get the spans in the order of their traces.
#[test]
fn resources_that_do_not_fit_the_caches_are_not_read_again_for_each_span() {
    for is_alone in [false, true] {
        measure_body(many_resources(is_alone).into()).check();
    }
}

/// Returns a request with 70 resources. If `is_alone`, each trace has one span; otherwise each trace has one span below
/// each resource.
fn many_resources(is_alone: bool) -> Vec<u8> {
    const RESOURCES: u64 = 70;
    const SPANS: u64 = 60;
    const VALUE_BYTES: usize = 60 << 10;
    let mut body = Vec::new();
    for resource in 0..RESOURCES {
        write::message(&mut body, 1, |out| {
            write::message(out, 1, |out| {
                (0..4).for_each(|key| attribute(out, &format!("key-{key}"), &vec![b'v'; VALUE_BYTES]));
                attribute(out, "number", resource.to_string().as_bytes());
            });
            write::message(out, 2, |out| {
                for span in 0..SPANS {
                    let number = resource * SPANS + span;
                    write::message(out, 2, |out| failed_span(out, if is_alone { number } else { span }, number));
                }
            });
        });
    }
    body
}

fn attribute(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    write::message(out, 1, |out| {
        write::bytes(out, 1, key.as_bytes());
        write::message(out, 2, |out| write::bytes(out, 1, value));
    });
}

fn failed_span(out: &mut Vec<u8>, trace: u64, number: u64) {
    write::bytes(out, 1, &(1 << 127 | u128::from(trace)).to_be_bytes());
    write::bytes(out, 2, &(number + 1).to_be_bytes());
    for field in [7, 8] {
        write::fixed64(out, field, shape::BEGIN_UNIX_NANO);
    }
    write::message(out, 15, |out| write::int(out, 3, 2));
}
