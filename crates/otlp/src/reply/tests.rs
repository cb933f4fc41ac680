use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;

use super::{Encoding, failure, partial_success, status_details, success};
use spansieve_proto::google::rpc;

/// Codes of `google.rpc.Code`.
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;

#[test]
fn content_types_are_recognised_whatever_their_case_and_parameters() {
    for (content_type, encoding) in [
        ("application/x-protobuf", Some(Encoding::Protobuf)),
        ("application/json", Some(Encoding::Json)),
        ("Application/JSON; charset=utf-8", Some(Encoding::Json)),
        (" application/json ;charset=\"utf-8\"", Some(Encoding::Json)),
        ("application/x-protobuf;", Some(Encoding::Protobuf)),
        ("application/jsonl", None),
        ("application/grpc", None),
        ("text/plain", None),
        ("", None),
    ] {
        assert_eq!(Encoding::from_content_type(content_type), encoding, "{content_type}");
    }
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        assert_eq!(Encoding::from_content_type(encoding.content_type()), Some(encoding));
    }
}

/// The number of rejected spans by reason, and the expected message.
const REJECTED: [([u32; 3], &str); 5] = [
    ([2, 0, 0], "2 spans have a trace id that is not 16 bytes or is zero"),
    ([0, 1, 0], "1 span has a span id that is not 8 bytes or is zero"),
    ([0, 0, 1], "1 span has a parent span id that is neither empty nor 8 bytes"),
    (
        [1, 3, 0],
        "1 span has a trace id that is not 16 bytes or is zero; 3 spans have a span id that is not 8 bytes or is zero",
    ),
    (
        [u32::MAX, u32::MAX, 0],
        "4294967295 spans have a trace id that is not 16 bytes or is zero; \
         4294967295 spans have a span id that is not 8 bytes or is zero",
    ),
];

#[test]
fn a_success_mentions_only_what_was_rejected() {
    assert_eq!(success(Encoding::Protobuf, &[0, 0, 0]), "");
    assert_eq!(success(Encoding::Json, &[0, 0, 0]), "{}");
    assert_eq!(partial_success(&[0, 0, 0]), None);
    for (rejected, message) in REJECTED {
        let count = rejected.iter().map(|&n| i64::from(n)).sum();
        let partial = ExportTracePartialSuccess { rejected_spans: count, error_message: message.to_owned() };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) };

        let protobuf = success(Encoding::Protobuf, &rejected);
        assert_eq!(ExportTraceServiceResponse::decode(protobuf).unwrap(), response);

        let json = success(Encoding::Json, &rejected);
        let expected = json!({"partialSuccess": {"rejectedSpans": count.to_string(), "errorMessage": message}});
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), expected);
    }
}

fn json_failure(code: i32, message: &str, retry_after: Option<Duration>) -> serde_json::Value {
    serde_json::from_slice(&failure(Encoding::Json, code, message, retry_after)).unwrap()
}

#[test]
fn a_failure_that_is_final_has_no_details() {
    let message = "expected `,` or `}` at line 1 column 7: \"\u{1}é";
    let status = rpc::Status { code: 3, message: message.to_owned(), details: vec![] };
    let protobuf = failure(Encoding::Protobuf, INVALID_ARGUMENT, message, None);
    assert_eq!(rpc::Status::decode(protobuf).unwrap(), status);
    assert_eq!(json_failure(INVALID_ARGUMENT, message, None), json!({"code": 3, "message": message}));
}

#[test]
fn a_failure_that_may_be_retried_says_when() {
    for (delay, seconds, nanos, text) in [
        (Duration::from_secs(1), 1, 0, "1s"),
        (Duration::from_millis(1_500), 1, 500_000_000, "1.500s"),
        (Duration::from_nanos(5), 0, 5, "0.000000005s"),
        (Duration::ZERO, 0, 0, "0s"),
        (Duration::MAX, 315_576_000_000, 0, "315576000000s"),
    ] {
        let status = rpc::Status::decode(status_details(RESOURCE_EXHAUSTED, "full", Some(delay))).unwrap();
        assert_eq!((status.code, &*status.message, status.details.len()), (8, "full", 1));
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let retry_delay = Some(prost_types::Duration { seconds, nanos });
        assert_eq!(rpc::RetryInfo::decode(&*status.details[0].value).unwrap(), rpc::RetryInfo { retry_delay });

        let protobuf = failure(Encoding::Protobuf, RESOURCE_EXHAUSTED, "full", Some(delay));
        assert_eq!(rpc::Status::decode(protobuf).unwrap(), status);

        let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text}]);
        let expected = json!({"code": 8, "message": "full", "details": details});
        assert_eq!(json_failure(RESOURCE_EXHAUSTED, "full", Some(delay)), expected);
    }
}
