use tonic::{Code, Status};

use super::*;

fn span(span_id: u64, name: u64, keys: u64) -> SpanDescription {
    SpanDescription { span_id, features: [name, keys] }
}

fn spans(count: u64) -> Vec<SpanDescription> {
    (0..count).map(|n| span(0xa000_0000_0000_0000 + n, 1, 2)).collect()
}

#[test]
fn the_spans_that_a_refusal_names_are_found() {
    let many = "spans[".repeat(10_000);
    let cases: [(&str, &[usize]); 12] = [
        (&many, &[]),
        ("spans[7], spans[4", &[7]),
        ("spans[0000007], spans[+5]", &[]),
        ("spans[3] \"projects/p/traces/0/spans/0\": end_time is before start_time", &[3]),
        ("Invalid value at 'spans[0].display_name' and spans[7].name", &[0, 7]),
        ("projects/p/traces/00000000000000000000000000000001/spans/a000000000000005 has no sense", &[5]),
        ("span A000000000000002, trace 0123456789abcdef0123456789abcdef", &[2]),
        ("resource_spans[0].scope_spans[0].spans[3] is bad", &[]),
        ("spans[99] spans[] spans[x] spans[-1] spans[", &[]),
        ("ffffffffffffffff is not here", &[]),
        ("some span has no sense", &[]),
        ("", &[]),
    ];
    for (message, expected) in cases {
        let failure = Failure::sink(Status::invalid_argument(message));
        assert_eq!(named(&failure, &spans(10)), expected, "{message}");
    }
    let all = (0..10).map(|n| format!("spans[{n}]")).collect::<String>();
    assert_eq!(named(&Failure::sink(Status::invalid_argument(all)), &spans(10)).len(), NAMED_MAX);
}

#[test]
fn the_fields_of_a_bad_request_are_read_too() {
    let violation = rpc::bad_request::FieldViolation { field: "spans[4].name".to_owned(), ..Default::default() };
    let request = rpc::BadRequest { field_violations: vec![violation] };
    let type_url = "type.googleapis.com/google.rpc.BadRequest".to_owned();
    let details = vec![prost_types::Any { type_url, value: request.encode_to_vec() }];
    let status = rpc::Status { code: 3, message: String::new(), details };
    let status = Status::with_details(Code::InvalidArgument, "bad request", status.encode_to_vec().into());
    assert_eq!(named(&Failure::sink(status), &spans(10)), [4]);
}

#[test]
fn a_feature_is_suspected_while_its_spans_are_mostly_refused() {
    let now = Instant::now();
    let mut refusals = Refusals::default();
    assert!(refusals.is_empty() && !refusals.suspects(&span(1, 10, 20)));
    refusals.refused(&span(1, 10, 20), now);
    // The first span has the same name, the second one the same keys.
    assert!(refusals.suspects(&span(2, 10, 99)) && refusals.suspects(&span(3, 99, 20)));
    assert!(!refusals.suspects(&span(4, 98, 99)));
    // Other spans with its keys are stored, so only the name is still suspected.
    refusals.stored(&[span(5, 97, 20); SUSPECTED_SHARE as usize], now);
    assert!(refusals.suspects(&span(2, 10, 99)) && !refusals.suspects(&span(3, 99, 20)));
    refusals.stored(&[span(5, 10, 96); SUSPECTED_SHARE as usize], now);
    assert!(!refusals.suspects(&span(2, 10, 20)));
    refusals.refused(&span(1, 10, 20), now);
    assert!(refusals.suspects(&span(2, 10, 20)));
    (0..1_000).for_each(|n| refusals.refused(&span(n, 100 + n, 10_000 + n), now));
    assert_eq!(refusals.features.len(), FEATURES_MAX);
    assert!(!refusals.suspects(&span(2, 10, 20)) && refusals.suspects(&span(2, 1_099, 0)));
    refusals.stored(&[], now + REFUSAL_MEMORY);
    assert!(refusals.is_empty());
}
