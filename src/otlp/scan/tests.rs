use fastrand::Rng;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::otlp::reference::assert_agreement;

mod arbitrary;
mod scramble;

use scramble::{damage, scramble};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_prost_on_what_prost_writes(request in arbitrary::request()) {
        prop_assert!(assert_agreement(&request.encode_to_vec()));
    }

    #[test]
    fn agrees_with_prost_on_legal_encodings(request in arbitrary::request(), seed: u64) {
        let body = scramble(&schema::REQUEST, &request.encode_to_vec(), &mut Rng::with_seed(seed));
        prop_assert!(assert_agreement(&body));
    }

    #[test]
    fn agrees_with_prost_on_damaged_bytes(request in arbitrary::request(), seed: u64, damages in 1..4) {
        let mut rng = Rng::with_seed(seed);
        let mut body = scramble(&schema::REQUEST, &request.encode_to_vec(), &mut rng);
        (0..damages).for_each(|_| damage(&mut body, &mut rng));
        assert_agreement(&body);
    }
}
