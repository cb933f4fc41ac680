//! The bodies of OTLP replies, made from the outcome of a request.
//!
//! The reply to a success is an `ExportTraceServiceResponse`, which has a `partial_success` only if spans were
//! rejected. The reply to a failure is a `google.rpc.Status`, which has a `RetryInfo` if retrying can help. An HTTP
//! reply has the content type of the request (OTLP specification, "OTLP/HTTP Response" and "OTLP/gRPC Response",
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>). gRPC carries the same `Status` in
//! `grpc-status-details-bin`.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use prost_types::Duration as ProtobufDuration;
use serde_json::{Value, json};

use super::scan::RejectReason;
use spansieve_proto::google::rpc;

/// The type URL of `RetryInfo` inside a `google.protobuf.Any`.
const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The longest `google.protobuf.Duration`: 10,000 years (duration.proto).
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

/// gRPC status codes by number, under their names in the gRPC specification.
pub const STATUS_CODES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The encoding of an HTTP request and of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf, `application/x-protobuf`.
    Protobuf,
    /// OTLP/JSON, `application/json`.
    Json,
}

impl Encoding {
    /// Returns the value of the header `content-type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        }
    }

    /// Returns the encoding that a `content-type` names. Upper and lower case are equal, and parameters are ignored
    /// (RFC 9110, 8.3.1).
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next()?.trim();
        [Encoding::Protobuf, Encoding::Json]
            .into_iter()
            .find(|encoding| encoding.content_type().eq_ignore_ascii_case(essence))
    }
}

/// Returns the body of a 200: the request was accepted, except for the `rejected` spans, counted by [`RejectReason`].
#[must_use]
pub fn success(encoding: Encoding, rejected: &[u32; RejectReason::ALL.len()]) -> Bytes {
    let Some(partial) = partial_success(rejected) else {
        return match encoding {
            Encoding::Protobuf => Bytes::new(),
            Encoding::Json => Bytes::from_static(b"{}"),
        };
    };
    match encoding {
        Encoding::Protobuf => ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec().into(),
        Encoding::Json => json_bytes(&json!({
            // proto3 JSON writes 64-bit integers as strings.
            "partialSuccess": {
                "rejectedSpans": partial.rejected_spans.to_string(),
                "errorMessage": partial.error_message,
            }
        })),
    }
}

/// Returns the number of rejected spans and the reasons in words, or `None` if none was rejected. The gRPC reply uses
/// it as well.
#[must_use]
pub fn partial_success(rejected: &[u32; RejectReason::ALL.len()]) -> Option<ExportTracePartialSuccess> {
    let reasons = RejectReason::ALL.into_iter().zip(rejected).filter(|&(_, &count)| count > 0);
    let words: Vec<_> = reasons.map(|(reason, &count)| words(reason, count)).collect();
    (!words.is_empty()).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected.iter().map(|&count| i64::from(count)).sum(),
        error_message: words.join("; "),
    })
}

/// Returns a phrase such as `2 spans have a trace id that is not 16 bytes or is zero`.
fn words(reason: RejectReason, count: u32) -> String {
    let subject = if count == 1 { "span has" } else { "spans have" };
    let object = match reason {
        RejectReason::TraceId => "a trace id that is not 16 bytes or is zero",
        RejectReason::SpanId => "a span id that is not 8 bytes or is zero",
        RejectReason::ParentSpanId => "a parent span id that is neither empty nor 8 bytes",
    };
    format!("{count} {subject} {object}")
}

/// Returns the body of a 4xx or 5xx. With a `retry_after`, the sender may retry, but not before that time has passed.
#[must_use]
pub fn failure(encoding: Encoding, code: impl Into<i32>, message: &str, retry_after: Option<Duration>) -> Bytes {
    match encoding {
        Encoding::Protobuf => status_details(code, message, retry_after),
        Encoding::Json => {
            let mut status = json!({ "code": code.into(), "message": message });
            if let Some(delay) = retry_after {
                // proto3 JSON writes a Duration as prost displays it: `1.500s`.
                status["details"] =
                    json!([{ "@type": RETRY_INFO_TYPE, "retryDelay": protobuf_duration(delay).to_string() }]);
            }
            json_bytes(&status)
        }
    }
}

/// Returns the `google.rpc.Status` of a failure. gRPC carries these bytes in `grpc-status-details-bin`
/// (`tonic::Status::with_details` accepts them unchanged). A sender may retry RESOURCE_EXHAUSTED only if there is a
/// `retry_after` (OTLP specification, "OTLP/gRPC Throttling").
#[must_use]
pub fn status_details(code: impl Into<i32>, message: &str, retry_after: Option<Duration>) -> Bytes {
    let retry_info = |delay: Duration| prost_types::Any {
        type_url: RETRY_INFO_TYPE.to_owned(),
        value: rpc::RetryInfo { retry_delay: Some(protobuf_duration(delay)) }.encode_to_vec(),
    };
    let details = retry_after.map(retry_info).into_iter().collect();
    rpc::Status { code: code.into(), message: message.to_owned(), details }.encode_to_vec().into()
}

fn protobuf_duration(duration: Duration) -> ProtobufDuration {
    ProtobufDuration::try_from(duration).unwrap_or(ProtobufDuration { seconds: DURATION_SECONDS_MAX, nanos: 0 })
}

fn json_bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

#[cfg(test)]
mod tests;
