//! Built-in conditions: the operator does not have to spell them out.

use super::{Check, Condition, Field, Number, Range, RangeBound, Test};

/// Attribute keys of the HTTP status: since semantic conventions 1.21, and before
/// (opentelemetry.io/docs/specs/semconv/http).
pub const HTTP_STATUS_KEYS: [&str; 2] = ["http.response.status_code", "http.status_code"];
/// Attribute keys of the gRPC status: an integer before semantic conventions 1.38, a string since.
pub const RPC_STATUS_KEYS: [&str; 2] = ["rpc.grpc.status_code", "rpc.response.status_code"];
/// ERROR of `Status.code`.
const STATUS_ERROR: i64 = 2;

impl Condition {
    /// Makes the condition that the span's status code is `code`: 0 unset, 1 ok, 2 error.
    #[must_use]
    pub fn status(code: i64) -> Self {
        Condition::test(Field::StatusCode, Check::Number(Range::exactly(Number::Int(code))))
    }

    /// Makes the condition that the span failed. Each argument adds one sign of a failure:
    /// - `status`: the span's status is an error;
    /// - `http`: the HTTP status is 500 or more, as a number or a string, because some instrumentation sends strings;
    /// - `rpc`: the gRPC status means that the server failed.
    #[must_use]
    pub fn failed(status: bool, http: bool, rpc: bool) -> Self {
        let server_error = Range { min: Some(RangeBound { at: Number::Int(500), inclusive: true }), max: None };
        let any_key = |keys: [&str; 2], check: Check| {
            keys.map(|key| Condition::test(Field::SpanAttribute(key.to_owned()), check.clone()))
        };
        let mut parts = Vec::new();
        if status {
            parts.push(Condition::status(STATUS_ERROR));
        }
        if http {
            parts.extend(any_key(HTTP_STATUS_KEYS, Check::Numeric(server_error)));
        }
        if rpc {
            parts.extend(any_key(RPC_STATUS_KEYS, Check::ServerFault));
        }
        Condition::Any(parts)
    }

    /// Makes a condition of one test.
    #[must_use]
    pub fn test(field: Field, check: Check) -> Self {
        Condition::Test(Test { field, check })
    }
}

impl Range {
    /// Makes the range that contains only the number `at`.
    #[must_use]
    pub fn exactly(at: Number) -> Self {
        let bound = Some(RangeBound { at, inclusive: true });
        Range { min: bound, max: bound }
    }
}
