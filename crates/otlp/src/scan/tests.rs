use fastrand::Rng;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use prost::Message;

use super::*;
use crate::reference::{Fingerprint, Span, assert_agreement};
use crate::testing::scramble::damage;
use crate::testing::{SEEDS, arbitrary, scrambled};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_prost_on_what_prost_writes(request in arbitrary::request()) {
        prop_assert!(assert_agreement(&request.encode_to_vec()));
    }

    #[test]
    fn agrees_with_prost_on_legal_encodings(request in arbitrary::request(), seed: u64) {
        let body = scrambled(&request.encode_to_vec(), seed);
        prop_assert!(assert_agreement(&body));
    }

    #[test]
    fn agrees_with_prost_on_damaged_bytes(request in arbitrary::request(), seed: u64, damages in 1..4) {
        let mut rng = Rng::with_seed(seed);
        let mut body = scrambled(&request.encode_to_vec(), seed);
        (0..damages).for_each(|_| damage(&mut body, &mut rng));
        assert_agreement(&body);
    }

    #[test]
    fn buffers_grow_only_as_far_as_memory_is_granted(request in arbitrary::request(), seed: u64, limit in 0..40_000usize) {
        let body = Bytes::from(scrambled(&request.encode_to_vec(), seed));
        let (mut found, mut held_bytes) = (Scan::default(), 0);
        let result = scan_within(body.clone(), &Fingerprint, &mut found, &mut |bytes| {
            held_bytes = if bytes <= limit { bytes } else { held_bytes };
            bytes <= limit
        });
        prop_assert_eq!(found.heap_bytes(), held_bytes);
        if let Err(ScanError::NoRoom(bytes)) = result {
            prop_assert!(bytes > limit);
            prop_assert_eq!(found.span_count(), 0);
        } else {
            let mut free = Scan::default();
            prop_assert_eq!(result, Ok(scan(body, &Fingerprint, &mut free).unwrap()));
            prop_assert_eq!((found.facts, found.scopes), (free.facts, free.scopes));
        }
    }
}

/// The fast path for attributes agrees with prost for every value of every byte.
#[test]
fn agrees_with_prost_on_every_byte_of_an_attribute() {
    let values = [
        len(1, b"text"),
        vec![0x10, 1],
        vec![0x18, 0xac, 0x02],
        [&[0x21][..], &2.5f64.to_le_bytes()].concat(),
        len(7, b"bytes"),
        vec![],
    ];
    for value in values {
        let attribute = [len(1, b"key"), len(2, &value)].concat();
        let cases = (0..attribute.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte)));
        for (at, byte) in cases {
            let mut attribute = attribute.clone();
            attribute[at] = byte;
            assert_agreement(&request_of(&[valid_span().encode_to_vec(), len(9, &attribute)].concat()));
        }
    }
}

const SEED_COUNT: usize = 12;

/// The seeds are the inputs that the fuzzer starts from, and inputs that it found earlier.
#[test]
fn agrees_with_prost_on_the_seeds() {
    let seeds: Vec<_> = std::fs::read_dir(SEEDS).unwrap().map(|entry| std::fs::read(entry.unwrap().path())).collect();
    let accepted = seeds.iter().filter(|seed| assert_agreement(seed.as_ref().unwrap())).count();
    assert!(accepted >= SEED_COUNT, "{accepted} of {} seeds accepted", seeds.len());
}

#[test]
#[ignore = "writes the fuzzer's seeds anew: cargo test --lib write_seeds -- --ignored"]
fn write_seeds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let bodies =
        std::iter::repeat_with(|| arbitrary::request().new_tree(&mut runner).unwrap().current().encode_to_vec());
    std::fs::create_dir_all(SEEDS).unwrap();
    for (n, body) in bodies.filter(|body| (100..700).contains(&body.len())).take(SEED_COUNT).enumerate() {
        let (name, body) = match n % 2 {
            0 => ("request", body),
            _ => ("scrambled", scrambled(&body, n as u64)),
        };
        std::fs::write(format!("{SEEDS}/{name}-{n}"), body).unwrap();
    }
}

/// Returns the field `number` with length-delimited `content`.
fn len(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(number, &content.to_vec(), &mut out);
    out
}

/// Returns a request with one span, whose message is `span`.
fn request_of(span: &[u8]) -> Vec<u8> {
    len(1, &len(2, &len(2, span)))
}

fn valid_span() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Default::default() }
}

/// Scans `body` and asserts that prost agrees.
fn scanned(body: &[u8]) -> Result<Scan, WireError> {
    let mut result = Scan::default();
    assert_agreement(body);
    scan(body.to_vec().into(), &Fingerprint, &mut result).map(|_| result)
}

#[test]
fn refuses_what_is_not_a_request() {
    let ten = [0xff; 10];
    let in_span = |bytes: &[u8]| request_of(&[&valid_span().encode_to_vec(), bytes].concat());
    let cases: [(&str, Vec<u8>, WireError); 17] = [
        ("a key alone", vec![0x0a], WireError::Truncated),
        ("a length past the end", vec![0x0a, 2, 0], WireError::Truncated),
        ("a length of 2^64 - 1", [&[0x0a][..], &ten[..9], &[1]].concat(), WireError::Truncated),
        ("half a key", vec![0x80], WireError::Truncated),
        ("an unknown fixed64 past the end", vec![0x11, 0, 0, 0, 0, 0, 0, 0], WireError::Truncated),
        ("an unknown fixed32 past the end", vec![0x15, 0, 0, 0], WireError::Truncated),
        (
            "a length past its message, not past the body",
            [&in_span(&[0x2a, 1])[..], &[0x10, 0]].concat(),
            WireError::Truncated,
        ),
        ("a varint of 65 bits", [&[0x10][..], &ten[..9], &[2]].concat(), WireError::Varint),
        ("a varint of 11 bytes", [&[0x10][..], &ten, &[1]].concat(), WireError::Varint),
        ("field number 0", vec![0x00, 0], WireError::Key),
        ("a key beyond 32 bits", vec![0x82, 0x80, 0x80, 0x80, 0x10, 0], WireError::Key),
        ("wire type 6", vec![0x16], WireError::Key),
        ("wire type 7 in a span", in_span(&[0x8f, 0x02]), WireError::Key),
        ("an unknown group", in_span(&[0x9b, 0x06, 0x9c, 0x06]), WireError::Group),
        ("an end of a group", vec![0x0c], WireError::Group),
        ("resource_spans as a varint", vec![0x08, 0], WireError::WireType),
        ("a start time as a varint", in_span(&[0x38, 0]), WireError::WireType),
    ];
    for (name, body, error) in cases {
        assert_eq!(scanned(&body).err(), Some(error), "{name}");
    }
}

/// A part must be well-formed even if a later part replaces it.
#[test]
fn refuses_malformed_parts_that_merging_would_drop() {
    let value = [len(5, &[0xff]), len(1, b"text")].concat();
    let attribute = [len(1, b"key"), len(2, &value)].concat();
    let resource = len(1, &attribute);
    let bodies = [
        len(1, &[len(1, &resource), len(1, &[])].concat()),
        request_of(&[len(9, &attribute), len(15, &[]), len(15, &[])].concat()),
    ];
    for body in bodies {
        assert_eq!(scanned(&body).err(), Some(WireError::Truncated));
    }
}

#[test]
fn messages_nest_as_deep_as_prost_lets_them() {
    // prost accepts 100 nested messages below the request. The value of an attribute is the fifth. An array of values
    // takes two levels, a list of key-value pairs three.
    let (empty, text, unknown, array) = (vec![], len(1, b"text"), len(1000, b"?"), len(5, &[]));
    let cases = [
        (46, 1, &empty, true),
        (46, 1, &text, true),
        (46, 1, &unknown, false),
        (46, 1, &array, false),
        (47, 0, &unknown, true),
        (47, 0, &array, true),
        (48, 0, &empty, false),
        (0, 31, &unknown, true),
        (0, 32, &empty, false),
    ];
    for (arrays, lists, innermost, accepted) in cases {
        let value = (0..lists).fold(innermost.clone(), |value, _| len(6, &len(1, &len(2, &value))));
        let value = (0..arrays).fold(value, |value, _| len(5, &len(1, &value)));
        let result = scanned(&request_of(&len(9, &len(2, &value))));
        let expected = if accepted { None } else { Some(WireError::Depth) };
        assert_eq!(result.err(), expected, "{arrays} arrays, {lists} lists, {innermost:?}");
    }
}

#[test]
fn spans_with_bad_ids_are_rejected_alone() {
    let (trace, id) = (vec![1; 16], vec![2; 8]);
    let cases = [
        (&trace, &id, vec![], Ok(true)),
        (&trace, &id, vec![0; 8], Ok(true)),
        (&trace, &id, vec![3; 8], Ok(false)),
        (&trace, &id, vec![3; 7], Err(RejectReason::ParentSpanId)),
        (&trace, &id, vec![0; 16], Err(RejectReason::ParentSpanId)),
        (&trace, &vec![0; 8], vec![], Err(RejectReason::SpanId)),
        (&trace, &vec![2; 9], vec![], Err(RejectReason::SpanId)),
        (&trace, &vec![], vec![], Err(RejectReason::SpanId)),
        (&vec![0; 16], &id, vec![], Err(RejectReason::TraceId)),
        (&vec![1; 8], &id, vec![], Err(RejectReason::TraceId)),
        (&vec![], &vec![], vec![3; 7], Err(RejectReason::TraceId)),
    ];
    let neighbour = len(2, &valid_span().encode_to_vec());
    for (trace_id, span_id, parent_span_id, expected) in cases {
        let (trace_id, span_id) = (trace_id.clone(), span_id.clone());
        let span = Span { trace_id, span_id, parent_span_id, ..Default::default() }.encode_to_vec();
        let body = len(1, &len(2, &[&neighbour[..], &len(2, &span), &neighbour].concat()));
        let result = scanned(&body).unwrap();
        let mut rejected = [0; RejectReason::ALL.len()];
        match expected {
            Ok(root) => assert_eq!((result.facts.len(), result.facts[1].root), (3, root)),
            Err(reason) => rejected[reason as usize] = 1,
        }
        assert_eq!((result.rejected, result.span_count()), (rejected, 3), "{span:?}");
    }
}

#[test]
fn scopes_without_an_accepted_span_have_no_entry() {
    let body = len(1, &[len(2, &[]), len(2, &len(2, &[])), len(2, &len(2, &valid_span().encode_to_vec()))].concat());
    let result = scanned(&body).unwrap();
    assert_eq!((result.scopes.len(), result.facts[0].scope, result.rejected_count()), (1, 0, 1));
}

#[test]
fn split_submessages_are_merged_without_touching_strings() {
    let attribute = |key: &[u8]| len(1, &len(1, key));
    let (first, second) = (attribute(b"a\xff"), attribute(b"b\xff"));
    let span = len(2, &len(2, &valid_span().encode_to_vec()));
    let body = len(1, &[len(1, &first), span, len(1, &second)].concat());
    assert!(assert_agreement(&body));
    let mut result = Scan::default();
    let canonical = scan(body.clone().into(), &Fingerprint, &mut result).unwrap();
    assert_ne!(canonical, body);
    assert_eq!(result.scopes[0].resource.of(&canonical), [first, second].concat());
}

#[test]
fn a_canonical_body_is_not_copied() {
    let body = Bytes::from(request_of(&valid_span().encode_to_vec()));
    let same = scan(body.clone(), &Fingerprint, &mut Scan::default()).unwrap();
    assert_eq!(same.as_ptr(), body.as_ptr());
}

#[test]
fn the_last_of_a_repeated_scalar_wins() {
    let earlier = Span {
        trace_state: b"ot=rv:0123456789abcd".to_vec(),
        parent_span_id: vec![3; 8],
        start_time_unix_nano: 1,
        ..valid_span()
    };
    let later = Span { trace_id: vec![9; 16], start_time_unix_nano: 5, end_time_unix_nano: 6, ..Default::default() };
    let empty = [len(3, &[]), len(4, &[])].concat();
    let body = request_of(&[earlier.encode_to_vec(), later.encode_to_vec(), empty].concat());
    let fact = scanned(&body).unwrap().facts[0];
    let expected = (TraceId([9; 16]), 5, 6, None, true);
    assert_eq!((fact.trace_id, fact.start_unix_nano, fact.end_unix_nano, fact.randomness, fact.root), expected);
}
