use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_request_costs_in_proportion_to_its_size_whatever_its_spans_share(shape in vec(any::<u8>(), 1..96)) {
        measure(&Shape::read(&shape)).check();
    }
}
