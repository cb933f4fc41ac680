use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::condition::{Check, Number, Range};
use crate::otlp::reference::{KeyValue, Request, Resource, ResourceSpans, ScopeSpans, Span, Value};
use crate::otlp::scan::{Scan, scan};
use crate::otlp::testing::{SEEDS, arbitrary, scrambled};
use crate::sampling::reference::assert_agreement;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn compiled_conditions_agree_with_the_reference(request in arbitrary::request(), seed: u64) {
        prop_assert!(assert_agreement(&request.encode_to_vec(), seed));
    }

    #[test]
    fn compiled_conditions_agree_with_the_reference_for_any_valid_encoding(request in arbitrary::request(), seed: u64) {
        prop_assert!(assert_agreement(&scrambled(&request.encode_to_vec(), seed), seed));
    }
}

/// The seeds are the corpus that the fuzzer starts from, and inputs that failed once.
#[test]
fn compiled_conditions_agree_with_the_reference_on_the_seeds() {
    let seeds = std::fs::read_dir(SEEDS).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let agreed = seeds.flat_map(|body| (0..50).map(move |seed| assert_agreement(&body, seed)));
    assert!(agreed.filter(|agreed| *agreed).count() >= 50);
}

/// Returns a test that is different for each `n`.
fn numbered(n: usize) -> Condition {
    Condition::test(Field::Kind, Check::Number(Range::exactly(Number::Int(n as i64))))
}

#[test]
fn equal_conditions_share_one_of_128_bits() {
    let mut predicates = Predicates::default();
    let bits: Vec<_> = (0..129).map(|n| predicates.bit(&numbered(n))).collect();
    assert!(bits[..128].iter().enumerate().all(|(n, bit)| *bit == Some(1 << n)));
    assert_eq!(bits[128], None);
    assert_eq!(predicates.bit(&numbered(7)), Some(1 << 7));
}

#[test]
fn equal_tests_in_trees_share_one_of_384_notes() {
    let tree = |from, to| Condition::All((from..to).map(numbered).collect());
    let mut predicates = Predicates::default();
    assert!(predicates.bit(&tree(0, 384)).is_some());
    assert!(predicates.bit(&Condition::Not(Box::new(tree(100, 384)))).is_some());
    assert!(predicates.bit(&numbered(384)).is_some(), "a condition without a tree needs no note");
    assert!(predicates.bit(&tree(0, 385)).is_none());
}

/// Returns the bits of two spans with these attributes, of the services `cart` and `pay`.
fn bits(predicates: &Predicates, spans: [&[(&str, &str)]; 2]) -> [Bits; 2] {
    let attribute = |&(key, value): &(&str, &str)| KeyValue {
        key: key.into(),
        value: Some(Value::String(value.into()).into()),
        ..KeyValue::default()
    };
    let span = |attributes: &[(&str, &str)]| Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        attributes: attributes.iter().map(attribute).collect(),
        ..Span::default()
    };
    let resource_spans = ["cart", "pay"].iter().zip(spans).map(|(service, attributes)| ResourceSpans {
        resource: Some(Resource { attributes: vec![attribute(&("service.name", service))], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span(attributes)], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    let body = Request { resource_spans: resource_spans.collect() }.encode_to_vec();
    let mut found = Scan::default();
    scan(body.into(), predicates, &mut found).unwrap();
    [found.facts[0].bits, found.facts[1].bits]
}

#[test]
fn a_condition_must_hold_for_a_single_span() {
    let one_of = |text: &str| Check::OneOf(vec![text.to_owned()]);
    let attribute = |key: &str, text: &str| Condition::test(Field::Attribute(key.into()), one_of(text));
    let (cart, slow) = (attribute("service.name", "cart"), attribute("speed", "slow"));
    let neither = Condition::Not(Box::new(Condition::Any(vec![cart.clone(), slow.clone()])));
    let cases = [
        (cart.clone(), [true, false]),
        (slow.clone(), [false, true]),
        (Condition::Any(vec![cart.clone(), slow.clone()]), [true, true]),
        // Each part holds for a span of the trace, but no span has both.
        (Condition::All(vec![cart, slow.clone()]), [false, false]),
        (Condition::All(vec![attribute("service.name", "pay"), slow]), [false, true]),
        (neither, [false, false]),
        (Condition::All(vec![]), [true, true]),
        (Condition::Any(vec![]), [false, false]),
        // The attribute of the span and that of the resource both count.
        (attribute("service.name", "other"), [true, false]),
    ];
    let mut predicates = Predicates::default();
    let asked = cases.map(|(condition, expected)| (predicates.bit(&condition).unwrap(), condition, expected));
    let found = bits(&predicates, [&[("service.name", "other")], &[("speed", "slow"), ("speed", "fast")]]);
    for (bit, condition, expected) in asked {
        assert_eq!(found.map(|bits| bits & bit != 0), expected, "{condition:?}");
    }
}
