//! Conditions that need no words of the operator's.

use super::{Bound, Check, Condition, Field, Number, Range, Test};

/// Semantic conventions 1.21 and later, and before (opentelemetry.io/docs/specs/semconv/http).
pub(crate) const HTTP_STATUS_KEYS: [&str; 2] = ["http.response.status_code", "http.status_code"];
/// `rpc.grpc.status_code` (int) until semantic conventions 1.38; `rpc.response.status_code` (string) since.
pub(crate) const RPC_STATUS_KEYS: [&str; 2] = ["rpc.grpc.status_code", "rpc.response.status_code"];
/// `Status.code` ERROR.
const STATUS_ERROR: i64 = 2;

impl Condition {
    /// The span's status code is this: 0 unset, 1 ok, 2 error.
    #[must_use]
    pub fn status(code: i64) -> Self {
        Condition::test(Field::StatusCode, Check::Number(Range::exactly(Number::Int(code))))
    }

    /// The span failed: by its status, by an HTTP status of 500 or more (some instrumentation sends it as a string), by
    /// a gRPC status that means a server's fault; each of the three if asked for.
    #[must_use]
    pub fn failed(status: bool, http: bool, rpc: bool) -> Self {
        let server_error = Range { min: Some(Bound { at: Number::Int(500), inclusive: true }), max: None };
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

    /// One test.
    #[must_use]
    pub fn test(field: Field, check: Check) -> Self {
        Condition::Test(Test { field, check })
    }
}

impl Range {
    /// One number alone.
    #[must_use]
    pub fn exactly(at: Number) -> Self {
        let bound = Some(Bound { at, inclusive: true });
        Range { min: bound, max: bound }
    }
}
