//! Tests of failed spans and of adjusted counts.

use super::*;
use crate::proto::google::rpc::Status;
use crate::samples::{checked, span, stored_with, string};

#[test]
fn errors() {
    let int = Value::IntValue;
    let cases = [
        ("http.response.status_code", int(499), false),
        ("http.response.status_code", int(500), true),
        ("http.status_code", int(503), true),
        ("/http/status_code", int(504), true),
        // Instrumentation sends status codes as strings and as doubles, too. Cloud Trace stores doubles as strings.
        ("http.response.status_code", string("504"), true),
        ("http.response.status_code", string("504.0"), true),
        ("http.status_code", string("499"), false),
        ("http.status_code", string("teapot"), false),
        ("/http/status_code", string("504"), true),
        ("/http/status_code", string("404"), false),
        ("rpc.grpc.status_code", string("14"), true),
        ("rpc.grpc.status_code", string("5"), false),
        ("rpc.grpc.status_code", string("UNAVAILABLE"), true),
        ("rpc.response.status_code", string("unavailable"), true),
        ("http.response.status_code", Value::BoolValue(true), false),
        ("rpc.grpc.status_code", int(5), false),
        ("rpc.grpc.status_code", int(14), true),
        ("rpc.response.status_code", string("NOT_FOUND"), false),
        ("rpc.response.status_code", string("UNAVAILABLE"), true),
    ];
    for (key, value, expected) in cases {
        assert_eq!(stored_with(1, 1, &[(key, value.clone())]).is_error(), expected, "{key} {value:?}");
    }
    for (code, expected) in [(0, false), (2, true), (5, true)] {
        let status = Some(Status { code, ..Status::default() });
        assert_eq!(checked(Span { status, ..span(1, 1, 0, 0..1) }).is_error(), expected, "{code}");
    }
}

#[test]
fn adjusted_counts() {
    let cases = [
        (Value::IntValue(20), Some(20.0)),
        (string("33.5"), Some(33.5)),
        (string("NaN"), None),
        (string("many"), None),
        (Value::BoolValue(true), None),
    ];
    for (value, expected) in cases {
        assert_eq!(stored_with(1, 1, &[(ADJUSTED_COUNT_KEY, value)]).adjusted_count(), expected);
    }
    assert_eq!(stored_with(1, 1, &[]).adjusted_count(), None);
}
